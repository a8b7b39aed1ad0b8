"""Make .venv and install the project into it: `make setup`, which every other target calls first.

Runs with any python3 and its standard library alone, before anything is installed. A second call finds the stamp
that the first one left and does nothing, until pyproject.toml or constraints.txt change.
"""

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
OLDEST, NEWEST = (3, 11, 4), (3, 13)  # tarfile has its data filter since 3.11.4
GIGABYTES = {"Linux": (2.9, 6.3)}  # to download, on disk: torch's Linux builds bring the CUDA libraries
GIGABYTES_ELSEWHERE = (0.4, 1.6)


def main():
    recipe = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")))
    recipe.update(str(ROOT).encode())  # an environment does not survive being moved
    if STAMP.is_file() and STAMP.read_text() == recipe.hexdigest():
        return
    check_python()
    download, disk = GIGABYTES.get(platform.system(), GIGABYTES_ELSEWHERE)
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < disk:
        stop(
            f"{ROOT} has {free:.1f} GB of free disk, and the packages take about {disk} GB. Make room, or clone the "
            "project to a larger disk."
        )
    print(
        f"Setting up .venv with Python {platform.python_version()}: about {download} GB to download, {disk} GB on disk "
        f"({free:.0f} GB free). This happens once.",
        flush=True,
    )
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], "The virtual environment could not be made")
    python = str(VENV / "bin" / "python")
    install = [python, "-m", "pip", "install", "--disable-pip-version-check", "-e", ".[dev]", "-c", "constraints.txt"]
    run(install, "The packages could not be installed")
    STAMP.write_text(recipe.hexdigest())
    print(f"Ready: source {VENV.relative_to(ROOT)}/bin/activate\n", flush=True)


def check_python():
    if sys.version_info[:3] < OLDEST or sys.version_info[:2] > NEWEST:
        stop(
            f"{sys.executable} is Python {platform.python_version()}, and Python {'.'.join(map(str, OLDEST))} to "
            f"{'.'.join(map(str, NEWEST))} is needed. Name one: `make setup PYTHON=python3.12`."
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        stop(
            f"{sys.executable} lacks the module {missing[0]}, without which no virtual environment can be made. On "
            f"Debian and Ubuntu: `sudo apt install {package}`; elsewhere install a complete Python."
        )


def run(command, what):
    status = subprocess.run(command, cwd=ROOT).returncode
    if status:
        stop(f"{what}: the reason stands above. The next `make` begins anew.")


def stop(message):
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
