"""MNIST as one tensor, from torchvision's layout; embedded digits where it can neither be found nor downloaded."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import torch

from adam_repro.data import Dataset, digits
from adam_repro.data.fetching import moved, obtained, unreachable, workplace
from adam_repro.errors import UserError

FILES = {  # md5 of the raw files, as published
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CLASS_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "t10k": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")  # torchvision's
IDX_UNSIGNED_BYTE = 0x08


@functools.cache
def load(root: str | Path, *, stand_in: str = "allow") -> Dataset:
    """MNIST below ``root``: 60,000 training and 10,000 test images, pixels in [0, 1], shape [n, 784].

    ``stand_in`` as in ``fetching.obtained``; embedded digits stand in. UserError for files that are not MNIST's, and
    for a folder that cannot be written when a download is needed.
    """
    folder = Path(root) / "MNIST" / "raw"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if stand_in != "only" and 0 < len(missing) < len(FILES):
        raise UserError(
            f"{folder} lacks {', '.join(missing)} of MNIST's four raw files. Delete the folder and run `make data`, "
            "or put the missing files there."
        )
    real = obtained(
        "MNIST",
        folder,
        is_there=not missing,
        fetch=lambda: download(root),
        stand_in=stand_in,
        instead="scikit-learn's digits",
    )
    return read_once(folder) if real else digits.load()


@functools.cache
def read_once(folder: Path) -> Dataset:
    """What ``read`` gives, kept by itself: ``load`` would read and hold it again for another ``stand_in``."""
    return read(folder)


def read(folder: Path) -> Dataset:
    """The four raw files of ``folder``, checked: md5, header, shape, class counts. UserError names what is wrong."""
    for name, md5 in FILES.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing. Delete the folder and run `make data`, or put it there.")
        found = hashlib.md5((folder / name).read_bytes()).hexdigest()
        if found != md5:
            raise UserError(
                f"{folder / name} is not MNIST's: its md5 is {found}, not {md5}, and it has "
                f"{(folder / name).stat().st_size} bytes. Delete the folder and run `make data`."
            )
    tensors = []
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        images = parse_idx(folder / f"{part}-images-idx3-ubyte", (n, 28, 28))
        labels = parse_idx(folder / f"{part}-labels-idx1-ubyte", (n,))
        counts = np.bincount(labels, minlength=10).tolist()
        if counts != CLASS_COUNTS[part]:
            raise UserError(f"{folder}: {part} has {counts} images of the classes, not {CLASS_COUNTS[part]}.")
        tensors += [torch.from_numpy(images).view(n, -1).float() / 255, torch.from_numpy(labels).long()]
    checksum = hashlib.sha256("".join(FILES.values()).encode()).hexdigest()
    return Dataset("mnist", "real", checksum, *tensors)


def check(folder: Path) -> tuple[str, set[str]]:
    """Read all four files: what there is, in words; there are no caches. UserError names a file that is not MNIST's."""
    data = read(folder)
    return f"{len(data.train_y) + len(data.test_y):,} images, by their published md5", set()


def parse_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The unsigned bytes of an IDX file; UserError where its header does not promise ``shape``, or it breaks that."""
    raw = path.read_bytes()
    start = 4 * (1 + len(shape))
    header = [int.from_bytes(raw[at : at + 4], "big") for at in range(0, start, 4)]
    wanted = [IDX_UNSIGNED_BYTE << 8 | len(shape), *shape]
    if header != wanted or len(raw) != start + np.prod(shape):
        raise UserError(
            f"{path} is no IDX file of shape {list(shape)}: its header says {header} and it has {len(raw)} bytes, not "
            f"{wanted} and {start + np.prod(shape)}. Delete it and run `make data`."
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape).copy()


def download(root: str | Path) -> str | None:
    """Get MNIST into ``root`` through torchvision; None, or in words why it cannot be had.

    It is downloaded into a folder of its own and moved when it is whole, so that nothing half-written stays.
    UserError where ``root`` cannot be written.
    """
    reason = unreachable(tuple(f"{mirror}train-labels-idx1-ubyte.gz" for mirror in MIRRORS))
    if reason is not None:
        return reason
    from torchvision.datasets import MNIST  # takes two seconds, which nobody should wait for whom it can do nothing

    target = Path(root) / "MNIST"
    try:
        with workplace("MNIST", target) as temporary:
            MNIST(str(temporary), download=True)
            read(temporary / "MNIST" / "raw")
            moved(temporary / "MNIST" / "raw", target / "raw")
    except (OSError, RuntimeError) as error:
        return f"the download failed: {error}"
    return None
