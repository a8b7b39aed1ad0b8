"""Commands of the project as a user gives them, each in a process of its own that finds its imports done.

They take four seconds, and most commands that tests give not much more. A server has them, uncompiled, and is forked
for each command: it computes nothing, so it has one thread and no state that a fork could break. What a command's own
workers are forked from is a fork of the command (see forking.py); the commands that torture.py disturbs start as a
user's do, with all that they start.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import forking

UNCOMPILED = {"TORCHDYNAMO_DISABLE": "1"}


def run(script: Path, *arguments: str, cwd: Path, environment: Mapping[str, str] = {}) -> subprocess.CompletedProcess:
    """What ``python script arguments`` does in the folder ``cwd``, with ``environment`` added to this process's."""
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        said = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        command, surroundings = [str(script), *arguments], {**os.environ, **UNCOMPILED, **environment}
        request = {"command": command, "cwd": str(cwd), "said": said, "environment": surroundings}
        print(json.dumps(request), file=server.stdin, flush=True)
        try:
            status = int(server.stdout.readline())
        except BaseException:  # a test that is out of time; what its command answers is for nobody else
            _end()
            raise
        return subprocess.CompletedProcess(command, status, *(Path(path).read_text() for path in said))


@functools.cache
def _server() -> subprocess.Popen:
    """Starts with the first command and ends with this process."""
    command, pipe = [sys.executable, __file__], subprocess.PIPE
    server = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=os.environ | UNCOMPILED, start_new_session=True
    )
    atexit.register(_end)
    return server


def _end() -> None:
    """End the server, and with it the command that it waits for; the next command starts another."""
    if _server.cache_info().currsize:
        server = _server()
        _server.cache_clear()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.communicate()


def serve() -> None:
    """Take requests from standard input, one at a time, and answer each with its exit status."""
    import adam_repro.analysis.page
    import adam_repro.analysis.report
    import adam_repro.search  # noqa: F401 - and with it the rest

    gc.freeze()  # what is imported is shared, as long as nobody counts it anew
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            become(**request)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def become(command: list[str], cwd: str, said: list[str], environment: dict[str, str]) -> None:
    """Run a script as Python does that is started with it."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate((os.devnull, *said)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = command
    more = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [str(Path(command[0]).parent), *more]
    forking.install()
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    serve()
