"""Decoded data kept beside their source, so that they are decoded once: arrays in .npy files that share their pages.

A cache is named by its key, a hash of the source and of the parameters, so that a stale one is never found. It is
written into a folder of its own that takes its name when it is whole, and each reader checks all of it by its own
sha256: that takes two thirds of a second for a gigabyte, less than a training loop needs to notice a damaged image.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from adam_repro.errors import UserError
from adam_repro.locks import Lock, leftover_prefix

FOLDER = ".adam_repro"

log = logging.getLogger(__name__)


def cached(beside: Path | None, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of ``make()``, from ``beside`` or the user's cache folder if ``key`` names some there.

    They are mapped into memory, copy on write: processes that read the same cache share it, and its files are removed
    or replaced but never changed. ``beside`` None: only the
    user's folder. Where no folder can be written nothing is kept.
    """
    places = [*([beside / FOLDER / key] if beside else []), *(folder / key for folder in _user_folder())]
    for place in places:
        if (found := _read(place)) is not None:
            _lock_of(place).forget()
            return found
    arrays = {name: np.ascontiguousarray(array) for name, array in make().items()}
    for place in places:
        try:
            with _lock_of(place):
                if not place.is_dir():  # else another process was faster
                    _write(place, arrays)
        except OSError:  # read-only, or full: the next place, or none
            continue
        if (found := _read(place)) is not None:
            return found
    return arrays


def key_of(source: str, **parameters: object) -> str:
    """A name for what is made of a ``source`` (a checksum) with ``parameters``."""
    return hashlib.sha256(json.dumps([source, parameters], sort_keys=True).encode()).hexdigest()[:24]


def state_of(folder: Path) -> str:
    """A checksum of the names, sizes and times of all files below ``folder``, links followed, without reading them."""
    digest = hashlib.sha256()
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name != FOLDER)
        for name in sorted(files):
            path = os.path.join(root, name)
            status = os.stat(path) if os.path.exists(path) else os.lstat(path)  # of a link to nothing
            line = f"{os.path.relpath(path, folder)}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def checksum_of(*arrays: np.ndarray) -> str:
    """sha256 over types, shapes and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _user_folder() -> list[Path]:
    """The user's cache folder; none for a user without a home, as in some containers."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adam_repro"]
    except RuntimeError:
        return []


def kept(beside: Path) -> list[Path]:
    """The folders of all caches that lie in ``beside`` and in the user's folder."""
    places = (beside / FOLDER, *_user_folder())
    return [path for place in places if place.is_dir() for path in sorted(place.iterdir()) if path.is_dir()]


def checked(place: Path) -> dict[str, np.ndarray]:
    """What lies in ``place``; UserError where any of it is not as it was written."""
    try:
        promised = json.loads((place / "contents.json").read_bytes())
        arrays = {name: np.load(place / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in promised}
        fault = next((f"{name}.npy" for name in arrays if checksum_of(arrays[name]) != promised[name]), None)
    except (OSError, ValueError, TypeError, EOFError) as error:  # which numpy and json raise for broken files
        fault, arrays = str(error) or type(error).__name__, {}
    if fault is not None or not arrays:
        raise UserError(f"{place} is a damaged cache ({fault or 'it holds nothing'}). Delete it: it is made anew.")
    return arrays


def _lock_of(place: Path) -> Lock:
    return Lock(place.with_suffix(".lock"), guards=[place])


def _read(place: Path) -> dict[str, np.ndarray] | None:
    """What lies in ``place``; None, and nothing left there, where it is damaged, which is said."""
    if not place.is_dir():
        return None
    try:
        return checked(place)
    except UserError as error:
        log.warning("%s This is done now.", error)
    shutil.rmtree(place, ignore_errors=True)
    return None


def _write(place: Path, arrays: Mapping[str, np.ndarray]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=leftover_prefix(place.name), dir=place.parent))
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        promised = {name: checksum_of(array) for name, array in arrays.items()}
        (temporary / "contents.json").write_text(json.dumps(promised))
        os.chmod(temporary, 0o755)
        temporary.rename(place)
    except OSError:
        if not place.is_dir():  # else another process was faster, with the same content
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
