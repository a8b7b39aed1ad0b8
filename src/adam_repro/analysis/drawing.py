"""From a figure's records to its picture and verdicts, in a process of its own: beside what trains the next figure."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from adam_repro.analysis import report
from adam_repro.analysis.gather import gather
from adam_repro.errors import UserError, of_the_disk


def draw(folder: Path, results: Path, gathered: dict[str, Any] | None) -> None:
    """Draw what ``folder`` has and decide its claims, after ``gather`` with the keywords ``gathered``, if any.

    The process's exit status is 1 where that cannot be, which is told.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; what has been trained is drawn
    try:
        if gathered is not None:
            gather(folder, results, **gathered)
        report.build(folder)
    except (UserError, OSError) as error:
        message = str(error) if isinstance(error, UserError) else of_the_disk(error)
        if message is None:
            raise
        sys.exit(f"Error: {message}")
