"""Pages of docs/ are run: their blocks as a reader would, in a copy of the project that trains small runs on stand-ins.

A block of ``console`` or ``sh`` is run by bash, one of ``python`` in the page's one namespace. In ``console`` a line
``$ command`` is followed by what it prints, ``...`` standing for anything; without such lines nothing is compared. A
block with a file's name behind its language (``python my_optimizer.py``, ``yaml configs/x.yaml``) makes that file; the
text above it names the file, because what stands behind a language is not shown. A block of ``text`` right behind one
of ``python`` is what that prints. Other blocks are for reading. A comment on the line before a block says what is
special about it:

``<!-- needs: account -->`` each command must fail with the sentence that names `wandb login`;
``<!-- needs: slurm -->`` likewise with one that names Slurm, where none answers;
``<!-- keys: q -->`` each command is run in a terminal of 80 by 24 characters, and gets these keys until it ends;
``<!-- not run: a reason -->`` only that its script or make target exists is checked.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import forking

from adam_repro.data import digits
from adam_repro.surroundings import PROJECT_ROOT

COPIED = ("src", "configs", "experiments", "scripts", "results/reference")
COPIED += ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "results/README.md")
BLOCK = re.compile(r"^(?:<!-- (needs|keys|not run): ([^\n]+) -->\n)?```(\w+)[ ]?(\S*)\n(.*?)^```$", re.M | re.S)
PRINTED = re.compile(r"\n\n```text\n(.*?)^```$", re.M | re.S)
NO_ROUTE = "http://127.0.0.1:9"  # nobody listens there
SECONDS = 200
EXAMPLES = 200  # to train on


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it makes (or ""), its text, its line, and what a comment says of it.

    ``prints``: of a block of Python, what the page says that it prints (or "").
    """

    language: str
    file: str
    text: str
    line: int
    about: str | None
    what: str
    prints: str

    def commands(self) -> list[tuple[str, str]]:
        """Each command with what the page says that it prints; a block of ``sh`` is one command."""
        if self.language == "sh":
            return [(self.text, "")]
        parts = re.split(r"^\$ ", self.text, flags=re.M)
        assert not parts[0].strip(), f"line {self.line}: a console block begins with a command, as in `$ make help`"
        joined = [re.sub(r"\\\n", "", part) for part in parts[1:]]
        return [(command, shown) for command, _, shown in (part.partition("\n") for part in joined)]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in BLOCK.finditer(text):
        line = text[: match.start(5)].count("\n") + 1
        behind = PRINTED.match(text, match.end())
        assert f"`{match[4]}`" in text[: match.start()] or not match[4], f"line {line}: nothing names {match[4]}"
        found.append(Block(*match.group(3, 4, 5), line, match[1], match[2] or "", behind[1] if behind else ""))
    fences = len(re.findall(r"^```", text, re.M))
    assert 2 * len(found) == fences, f"{page}: a fenced block has no language, or no end"
    return found


def small_copy(folder: Path) -> Path:
    """A copy of the project in which every scale is as small as can be and data sets are their stand-ins."""
    for name in COPIED:
        source, target = PROJECT_ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "wandb"))
        else:
            shutil.copyfile(source, target)
    (folder / ".venv").symlink_to(sys.prefix)
    scales = folder / "configs" / "scale"
    for name in ("paper", "quick"):
        (scales / f"{name}.yaml").write_text(
            (scales / "smoke.yaml").read_text().replace("name: smoke", f"name: {name}")
        )
    edit(folder / "configs" / "base.yaml", "train_examples: 2000", f"train_examples: {EXAMPLES}")
    edit(folder / "configs" / "base.yaml", "workers: null", "workers: 1")  # to start one takes longer than its work
    edit(folder / "src" / "adam_repro" / "data" / "digits.py", "TRAIN, TEST = 12_000, 2_000", "TRAIN, TEST = 400, 100")
    edit(folder / "src" / "adam_repro" / "protocol.py", "TUNING_SEEDS = (100, 101, 102)", "TUNING_SEEDS = (100,)")
    for path in (folder / "configs" / "dataset").glob("*.yaml"):
        edit(path, "stand_in: allow", "stand_in: only")
    edit(folder / "Makefile", "@$(PYTHON) scripts/setup.py", "@true")
    shutil.copy(forking.__file__, folder / "src")
    (folder / "src" / "sitecustomize.py").write_text("import forking\n\nforking.install()\n")
    _terms_of_the_copy(folder / "results" / "reference" / "fig1_mnist" / "provenance.json")
    return folder


def _terms_of_the_copy(provenance: Path) -> None:
    """Have the committed curves be on what the copy trains on, so that `make compare` holds its runs against them."""
    data = digits.load()
    facts = {"name": data.name, "provenance": data.provenance, "checksum": data.checksum, "train_examples": EXAMPLES}
    terms = {"dataset": facts, "provenance": data.provenance, "epochs": 2, "seeds": [0, 1]}
    provenance.write_text(json.dumps(json.loads(provenance.read_text()) | terms))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a reader who has the project's .venv active, no account and no network."""
    ours = ("WANDB_", "ADAM_REPRO_", "MAKE", "MFLAGS")  # the tests themselves may run under make
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    proxies = {name: NO_ROUTE for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
    return (
        kept
        | proxies
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "PYTHONPATH": str(folder / "src"),
            "TORCHDYNAMO_DISABLE": "1",
            "TERM": "xterm-256color",
        }
    )


REFUSALS = {"account": "wandb login", "slurm": "Slurm"}
"""What a command says that lacks what its page says it needs."""


def run_page(page: Path, folder: Path, *, there: Collection[str] = ()) -> None:
    """Run the blocks of ``page`` in ``folder``, the current one, from first to last; AssertionError names the line.

    ``there``: which of the things that a block may need there are.
    """
    namespace: dict = {}
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)
        elif block.language in ("console", "sh"):
            for command, shown in block.commands():
                _run(command, shown, block, folder, where, there)
        elif block.language == "python" and block.about != "not run":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
            _compare(block.prints, printed.getvalue(), where)


def _run(command: str, shown: str, block: Block, folder: Path, where: str, there: Collection[str]) -> None:
    if block.about == "not run":
        for missing in _missing(command, folder):
            raise AssertionError(f"{where}: there is no {missing}")
        return
    if block.about == "keys":
        status, printed = in_terminal(command, block.what, folder)
    else:
        status, printed = _in_bash(command, folder)
    if block.about == "needs" and block.what not in there:
        refused = status != 0 and REFUSALS[block.what] in printed and "Traceback" not in printed
        assert refused, f"{where}: {command}\n{printed}"
        return
    assert status == 0, f"{where}: {command}\nleft with {status}:\n{printed}"
    _compare(shown, printed, f"{where}: {command}")


def _compare(shown: str, printed: str, where: str) -> None:
    if shown.strip():
        same = doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert same, f"{where}\nprinted:\n{printed}\nand the page has:\n{shown}"


def _in_bash(command: str, folder: Path) -> tuple[int, str]:
    bash = ["bash", "-eu", "-o", "pipefail", "-c", command]
    done = subprocess.run(
        bash, cwd=folder, env=surroundings(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
    )  # fmt: skip
    return done.returncode, done.stdout


def in_terminal(command: str, keys: str, folder: Path) -> tuple[int, str]:
    """The exit status of a command that gets ``keys`` in a terminal, and all that it wrote there, colours left out.

    It gets them a second after it has written something, and again each second until it ends.
    """
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=folder, env=surroundings(folder), stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    for _ in range(SECONDS):
        written += b"".join(_written(ours, 1.0))
        if process.poll() is not None:
            break
        if written:
            os.write(ours, keys.encode())
    process.kill()
    os.close(ours)
    return process.wait(), re.sub(r"\x1b(\[[0-9;?=>]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>])", "", written.decode())


def _written(terminal: int, seconds: float) -> Iterator[bytes]:
    """What is written to the terminal in so many seconds, or until its last process has closed it."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                yield os.read(terminal, 65536)
            except OSError:
                return


def _missing(command: str, folder: Path) -> list[str]:
    """The scripts and make targets in ``command`` that the project has not."""
    makefile = (folder / "Makefile").read_text()
    targets = [name for name in re.findall(r"\bmake ([a-z-]+)", command) if f"\n{name}:" not in makefile]
    scripts = [path for path in re.findall(r"\bpython (\S+\.py)", command) if not (folder / path).is_file()]
    return [f"make {name}" for name in targets] + scripts
