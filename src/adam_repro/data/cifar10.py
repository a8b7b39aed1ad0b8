"""CIFAR-10 (Krizhevsky 2009) from torchvision's batch files or from class folders of PNGs."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adam_repro.data import Dataset, shapes
from adam_repro.data.caching import cached, checked, checksum_of, kept, key_of, state_of
from adam_repro.data.fetching import moved, obtained, unreachable, workplace
from adam_repro.data.order import generator
from adam_repro.data.whitening import PREPROCESSING, description
from adam_repro.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_CLASS = {"train": 5000, "test": 1000}
BATCHES = "cifar-10-batches-py"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"  # torchvision's
SHAPE = (3, 32, 32)
PNG_HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x20\x08\x02"  # width, height, bits, three colours
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk: no bytes, its name, its checksum
VERSION = 1  # part of the cache's key: raise it with any change of what is made of the images
REMEDY = "Put the published file in its place, or delete the folder and run `make data`."


@functools.cache
def load(root: str | Path, *, preprocessing: str = "whitened", stand_in: str = "allow") -> Dataset:
    """CIFAR-10 below ``root``: 50,000 training and 10,000 test images, float32 [n, 3, 32, 32].

    Read from ``cifar-10-batches-py/`` or from ``cifar10/{train,test}/<class>/*.png``. Either way images are put in the
    order of their class and original file name, and training images are then mixed by one fixed permutation: the first
    so many of them are of all classes. The checksum is of images and labels in that order and of how they were
    prepared; it does not tell the sources apart. ``preprocessing``: "whitened" or "standardised" (see ``whitening``).
    ``stand_in`` as in ``fetching.obtained``. UserError names a file or folder that is not as it should be.
    """
    description(preprocessing)  # refuses an unknown one before anything is read
    batches, folders = Path(root) / BATCHES, Path(root) / "cifar10"
    real = obtained(
        "CIFAR-10",
        batches,
        is_there=batches.is_dir() or folders.is_dir(),
        fetch=lambda: download(Path(root)),
        stand_in=stand_in,
        instead="a generator of coloured shapes",
    )
    return prepared_once(batches if batches.is_dir() else folders, preprocessing) if real else shapes.load()


@functools.cache
def prepared_once(folder: Path, preprocessing: str) -> Dataset:
    """The images of ``folder``, kept by themselves: ``load`` would read and hold them again for another
    ``stand_in``."""
    raw = decoded(folder)
    checksum = _checksum(raw, preprocessing)
    prepared = cached(folder, f"{preprocessing}-{checksum[:24]}", lambda: _prepared(raw, preprocessing))
    arrays = (prepared["train_x"], raw["train_y"], prepared["test_x"], raw["test_y"])
    return Dataset("cifar10", "real", checksum, *map(torch.from_numpy, arrays))


def decoded(folder: Path) -> dict[str, np.ndarray]:
    """Images uint8 [n, 3, 32, 32] and labels int64 [n] of both parts, from ``folder`` or the cache of it."""
    return cached(folder, _images(folder), lambda: read(folder))


def read(folder: Path) -> dict[str, np.ndarray]:
    return read_batches(folder) if folder.name == BATCHES else read_folders(folder)


def check(folder: Path) -> tuple[str, set[str]]:
    """Decode every image: what there is, in words, and the caches that are of it, by name.

    UserError names a file that is not CIFAR-10's, and a stale cache: it is named by its source's file names, sizes and
    times, so it is stale where a file was changed behind all three.
    """
    raw = read(folder)
    for place in kept(folder):
        if place.name == _images(folder) and _content(checked(place)) != _content(raw):
            raise UserError(f"{place} is of other images than {folder} has now. Delete it: it is made anew.")
    count = f"{len(raw['train_x']) + len(raw['test_x']):,} images"
    prepared = {f"{preprocessing}-{_checksum(raw, preprocessing)[:24]}" for preprocessing in PREPROCESSING}
    by = "published md5" if folder.name == BATCHES else "number and form"
    return f"{count}, by their {by}", {_images(folder), *prepared}


def _images(folder: Path) -> str:
    return "images-" + key_of(state_of(folder), version=VERSION)


def _content(raw: dict[str, np.ndarray]) -> str:
    return checksum_of(*(raw[name] for name in ("train_x", "train_y", "test_x", "test_y")))


def _checksum(raw: dict[str, np.ndarray], preprocessing: str) -> str:
    return hashlib.sha256(f"{_content(raw)} {description(preprocessing)}".encode()).hexdigest()


def _prepared(raw: dict[str, np.ndarray], preprocessing: str) -> dict[str, np.ndarray]:
    train, test = PREPROCESSING[preprocessing](torch.from_numpy(raw["train_x"]), torch.from_numpy(raw["test_x"]))
    return {"train_x": train.numpy(), "test_x": test.numpy()}


def read_folders(folder: Path) -> dict[str, np.ndarray]:
    """What ``decoded`` gives, from class folders of PNGs."""
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
    raw = path.read_bytes()
    if not raw.startswith(PNG_HEADER):  # any image could be made one of three colours
        raise UserError(f"{path} is no PNG of 32 x 32 pixels with 8 bits for each of three colours. {REMEDY}")
    try:
        if not raw.endswith(PNG_END):  # Pillow does not look behind the name of the last chunk
            raise ValueError("it does not end as PNGs do")
        with Image.open(io.BytesIO(raw)) as image:
            image.verify()  # checksums, which decoding passes over: all pixels may be there and some be wrong
        with Image.open(io.BytesIO(raw)) as image:  # anew, as verifying uses it up
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, ValueError) as error:  # all of which Pillow raises for broken files
        raise UserError(f"{path} is no whole PNG: {error}. {REMEDY}") from None


def read_batches(folder: Path) -> dict[str, np.ndarray]:
    """The same from torchvision's batch files, whose published md5 is checked before they are unpickled."""
    from torchvision.datasets import CIFAR10

    parts: dict[str, list] = {}
    for part, files in (("train", CIFAR10.train_list), ("test", CIFAR10.test_list)):
        parts[part] = []
        for name, md5 in files:
            if not (folder / name).is_file():
                raise UserError(f"{folder / name} is missing. {REMEDY}")
            raw = (folder / name).read_bytes()
            if (found := hashlib.md5(raw).hexdigest()) != md5:
                raise UserError(f"{folder / name} is not CIFAR-10's: its md5 is {found}, not {md5}. {REMEDY}")
            batch = pickle.loads(raw, encoding="latin1")  # runs what it is given: only the bytes just checked
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
    if (reason := unreachable((URL,))) is not None:
        return reason
    from torchvision.datasets import CIFAR10  # takes two seconds, which nobody should wait for whom it can do nothing

    try:
        with workplace("CIFAR-10", root) as temporary:
            CIFAR10(str(temporary), download=True)
            moved(temporary / BATCHES, root / BATCHES)
    except (OSError, RuntimeError) as error:
        return f"the download failed: {error}"
    return None
