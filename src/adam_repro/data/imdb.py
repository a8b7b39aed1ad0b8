"""The Large Movie Review Dataset (Maas et al. 2011) as binary bags of words."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import torch

from adam_repro.data import Dataset, reviews
from adam_repro.data.caching import cached, checksum_of, key_of, state_of
from adam_repro.data.fetching import obtained, unreachable
from adam_repro.data.order import generator
from adam_repro.errors import UserError
from adam_repro.sparse import SparseRows

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE = "aclImdb_v1.tar.gz"
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
REVIEWS = 12_500  # in each folder
PARTS, CLASSES = ("train", "test"), ("neg", "pos")
VERSION = 1  # part of the cache's key: raise it with any change of what is made of the reviews
REMEDY = "Delete the folder and run `make data`, or put it right."


@functools.cache
def load(root: str | Path, *, words: int = 10_000, stand_in: str = "allow") -> Dataset:
    """25,000 training and 25,000 test reviews below ``root``, as sparse rows of ``words`` zeros and ones.

    A word's column is 1 where a review has it. The words are those found in most training reviews (of words found
    equally often, the first by alphabet), as scikit-learn's CountVectorizer cuts and lower-cases them. Reviews stand in
    the order of their class and number, and are then mixed by one fixed permutation. ``stand_in`` as in
    ``fetching.obtained``. UserError names a file or folder that is not as it should be.
    """
    folder = Path(root) / "aclImdb"
    real = obtained(
        "IMDB", folder, is_there=folder.is_dir(), fetch=lambda: fetch(Path(root)), stand_in=stand_in, instead="a made-up bag of words"
    )
    if not real:
        return reviews.load(words)
    check_folders(folder)
    key = "bag_of_words-" + key_of(state_of(folder), words=words, version=VERSION)
    arrays = cached(folder, key, lambda: bags_of_words(folder, words))
    parts = []
    for part in PARTS:
        columns, starts, labels = (
            torch.from_numpy(np.asarray(arrays[f"{part}_{what}"])) for what in ("columns", "starts", "labels")
        )
        parts += [SparseRows(columns, starts, words), labels]
    checksum = checksum_of(*(arrays[name] for name in sorted(arrays)))
    return Dataset("imdb", "real", checksum, *parts)


def check_folders(folder: Path) -> None:
    """UserError unless each class folder holds its reviews and nothing else."""
    for part in PARTS:
        for label in CLASSES:
            place = folder / part / label
            if not place.is_dir():
                raise UserError(f"{place} is missing: IMDB has {part}/neg and {part}/pos. {REMEDY}")
            names = sorted(os.listdir(place))
            strangers = [name for name in names if not name.endswith(".txt") or not (place / name).is_file()]
            if strangers:
                raise UserError(f"{place} holds {strangers[0]}, and reviews are .txt files only. Move it elsewhere.")
            if len(names) != REVIEWS:
                raise UserError(f"{place} holds {len(names):,} reviews, not {REVIEWS:,}. {REMEDY}")


def review_paths(folder: Path, part: str) -> list[Path]:
    """The part's reviews: negative before positive, by number and then by name."""
    return [
        path
        for label in CLASSES
        for path in sorted((folder / part / label).iterdir(), key=lambda path: (_number(path), path.name))
    ]


def _number(path: Path) -> int:
    """Of ``123_8.txt``: 123. Other names come first."""
    number = path.stem.partition("_")[0]
    return int(number) if number.isdecimal() else -1


def bags_of_words(folder: Path, words: int) -> dict[str, np.ndarray]:
    """Columns, starts and labels of both parts: see ``load``."""
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second, which few runs should wait

    texts = {part: [_text(path) for path in review_paths(folder, part)] for part in PARTS}
    counter = CountVectorizer(binary=True, dtype=np.int64)
    counts = counter.fit_transform(texts["train"])
    found_in = np.asarray(counts.sum(0)).ravel()
    names = counter.get_feature_names_out()
    kept = sorted(np.lexsort((names, -found_in))[:words])
    bags = {"train": counts[:, kept], "test": counter.transform(texts["test"])[:, kept]}
    arrays = {}
    for part, bag in bags.items():
        n = bag.shape[0]
        mixed = torch.randperm(n, generator=generator(0, 0, f"imdb {part}")).numpy()
        bag = bag[mixed].sorted_indices()
        arrays[f"{part}_columns"] = bag.indices.astype(np.int64)
        arrays[f"{part}_starts"] = bag.indptr.astype(np.int64)
        arrays[f"{part}_labels"] = (mixed >= n // 2).astype(np.int64)
    return arrays


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}. {REMEDY}") from None
    if not text.strip():
        raise UserError(f"{path} is empty, and every review has words. {REMEDY}")
    return text


def fetch(root: Path) -> str | None:
    """Get the reviews into ``root``, from the archive there or the one that is downloaded; None, or why not.

    UserError where ``root`` cannot be written, and for an archive in it that is not the published one.
    """
    own = root / ARCHIVE
    if not own.is_file() and (reason := unreachable((URL,))) is not None:
        return reason
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".download-", dir=root))
    except OSError as error:
        raise UserError(
            f"IMDB cannot be unpacked into {root}: {error.strerror}. Set ADAM_REPRO_DATA (or dataset.root) to a folder "
            "that can be written."
        ) from None
    try:
        archive = own if own.is_file() else download(temporary / ARCHIVE)
        unpack(archive, temporary)
        check_folders(temporary / "aclImdb")
        (temporary / "aclImdb").rename(root / "aclImdb")
    except urllib.error.URLError as error:
        return f"the download failed: {error.reason}"
    except OSError as error:
        return f"the download failed: {error}"
    finally:
        shutil.rmtree(temporary)
    return None


def download(target: Path) -> Path:
    with urllib.request.urlopen(URL, timeout=60) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file, 1 << 20)
    return target


def unpack(archive: Path, into: Path) -> None:
    """Take the labelled reviews out of ``archive``; UserError where it is not the published one or would write
    elsewhere."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != MD5:
        raise UserError(
            f"{archive} is not the published archive: its md5 is {found}, not {MD5}. Delete it and run `make data`."
        )
    wanted = tuple(f"aclImdb/{part}/{label}/" for part in PARTS for label in CLASSES)
    try:
        with tarfile.open(archive) as packed:
            members = [member for member in packed if member.name.startswith(wanted) or ".." in member.name]
            packed.extractall(into, members, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"{archive} cannot be unpacked safely: {error}. Delete it and run `make data`.") from None
