"""CIFAR-10 (Krizhevsky 2009) from torchvision's batch files or from class folders of PNGs."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from adam_repro.data import Dataset, shapes
from adam_repro.data.caching import cached, checksum_of, key_of, state_of
from adam_repro.data.fetching import obtained, unreachable
from adam_repro.data.order import generator
from adam_repro.data.whitening import PREPROCESSING
from adam_repro.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = {"train": 5000, "test": 1000}
BATCHES = "cifar-10-batches-py"
SHAPE = (3, 32, 32)
VERSION = 1  # part of the cache's key: raise it with any change of what is made of the images
REMEDY = "Put the published file in its place, or delete the folder and run `make data`."


@functools.cache
def load(root: str | Path, *, preprocessing: str = "whitened", stand_in: str = "allow") -> Dataset:
    """CIFAR-10 below ``root``: 50,000 training and 10,000 test images, float32 [n, 3, 32, 32].

    Read from ``cifar-10-batches-py/`` or from ``cifar10/{train,test}/<class>/*.png``. Either way images are put in the
    order of their class and original file name, and training images are then mixed by one fixed permutation: the first
    so many of them are of all classes. ``preprocessing``: "whitened" or "standardised" (see ``whitening``).
    ``stand_in`` as in ``fetching.obtained``. UserError names a file or folder that is not as it should be.
    """
    if preprocessing not in PREPROCESSING:
        raise UserError(
            f"dataset.preprocessing={preprocessing} is not allowed: give one of {', '.join(PREPROCESSING)}."
        )
    batches, folders = Path(root) / BATCHES, Path(root) / "cifar10"
    real = obtained(
        "CIFAR-10",
        batches,
        is_there=batches.is_dir() or folders.is_dir(),
        fetch=lambda: download(Path(root)),
        stand_in=stand_in,
        instead="a generator of coloured shapes",
    )
    if not real:
        return shapes.load()
    folder, read = (batches, read_batches) if batches.is_dir() else (folders, read_folders)
    key = "images-" + key_of(state_of(folder), version=VERSION)
    raw = cached(folder, key, lambda: read(folder))
    checksum = key_of(checksum_of(raw["train_y"], raw["train_x"], raw["test_x"]), preprocessing=preprocessing)
    prepared = cached(folder, f"{preprocessing}-{checksum}", lambda: _prepared(raw, preprocessing))
    arrays = (prepared["train_x"], raw["train_y"], prepared["test_x"], raw["test_y"])
    return Dataset("cifar10", "real", checksum, *map(torch.from_numpy, arrays))


def _prepared(raw: dict[str, np.ndarray], preprocessing: str) -> dict[str, np.ndarray]:
    train, test = PREPROCESSING[preprocessing](torch.from_numpy(raw["train_x"]), torch.from_numpy(raw["test_x"]))
    return {"train_x": train.numpy(), "test_x": test.numpy()}


def read_folders(folder: Path) -> dict[str, np.ndarray]:
    """Images uint8 [n, 3, 32, 32] and labels int64 [n] of both parts, from class folders of PNGs."""
    return _in_order(
        {
            part: [
                (label, path.name, _image(path))
                for label, name in enumerate(CLASSES)
                for path in _paths(folder / part / name, PER_CLASS[part])
            ]
            for part in PER_CLASS
        }
    )


def _paths(place: Path, expected: int) -> list[Path]:
    if not place.is_dir():
        raise UserError(f"{place} is missing: CIFAR-10 has a folder for each of {', '.join(CLASSES)}. {REMEDY}")
    paths = sorted(place.iterdir())
    strangers = [path.name for path in paths if path.suffix != ".png" or not path.is_file()]
    if strangers:
        raise UserError(f"{place} holds {strangers[0]}, and images are .png files only. Move it elsewhere.")
    if len(paths) != expected:
        raise UserError(f"{place} holds {len(paths):,} images, not {expected:,}. {REMEDY}")
    return paths


def _image(path: Path) -> np.ndarray:
    from torchvision.io import decode_png  # takes a second, which nobody who has a cache should wait

    try:
        image = decode_png(torch.from_numpy(np.fromfile(path, dtype=np.uint8)))
    except RuntimeError as error:
        raise UserError(f"{path} is no whole PNG: {str(error).splitlines()[0]}. {REMEDY}") from None
    if tuple(image.shape) != SHAPE:
        raise UserError(f"{path} has the shape {list(image.shape)}, not {list(SHAPE)}. {REMEDY}")
    return image.numpy()


def read_batches(folder: Path) -> dict[str, np.ndarray]:
    """The same from torchvision's batch files, whose published md5 is checked before they are unpickled."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    parts: dict[str, list] = {}
    for part, files in (("train", CIFAR10.train_list), ("test", CIFAR10.test_list)):
        parts[part] = []
        for name, md5 in files:
            if not check_integrity(str(folder / name), md5):
                raise UserError(f"{folder / name} is missing or not CIFAR-10's: its md5 should be {md5}. {REMEDY}")
            batch = pickle.loads((folder / name).read_bytes(), encoding="latin1")
            images = batch["data"].reshape(-1, *SHAPE)
            parts[part] += zip(batch["labels"], batch["filenames"], images, strict=True)
    return _in_order(parts)


def _in_order(parts: dict[str, list]) -> dict[str, np.ndarray]:
    """(label, file name, image) of both parts as arrays: by label and name, and training images then mixed."""
    arrays = {}
    for part, examples in parts.items():
        examples.sort(key=lambda example: example[:2])
        order = torch.arange(len(examples))
        if part == "train":
            order = torch.randperm(len(examples), generator=generator(0, 0, "cifar10 order"))
        arrays[f"{part}_x"] = np.stack([examples[place][2] for place in order])
        arrays[f"{part}_y"] = np.array([examples[place][0] for place in order], dtype=np.int64)
    return arrays


def download(root: Path) -> str | None:
    """Get the batch files into ``root`` through torchvision, which checks their md5; None, or why they cannot be had.

    UserError where ``root`` cannot be written.
    """
    from torchvision.datasets import CIFAR10

    if (reason := unreachable((CIFAR10.url,))) is not None:
        return reason
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".download-", dir=root))
    except OSError as error:
        raise UserError(
            f"CIFAR-10 cannot be downloaded into {root}: {error.strerror}. Set ADAM_REPRO_DATA (or dataset.root) to a "
            "folder that can be written."
        ) from None
    try:
        CIFAR10(str(temporary), download=True)
        os.rename(temporary / BATCHES, root / BATCHES)
    except (OSError, RuntimeError) as error:
        return f"the download failed: {error}"
    finally:
        shutil.rmtree(temporary)
    return None
