"""IMDB's labelled reviews (Maas et al. 2011) as bags of words; made-up ones where they cannot be had."""

from __future__ import annotations

import functools
import hashlib
import http.client
import itertools
import os
import re
import shutil
import tarfile
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import torch

from adam_repro.data import Dataset, reviews
from adam_repro.data.caching import cached, checksum_of, key_of
from adam_repro.data.fetching import moved, obtained, unreachable, workplace
from adam_repro.data.order import generator
from adam_repro.errors import UserError
from adam_repro.sparse import SparseRows

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE = URL.rpartition("/")[2]
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
REVIEWS = 12_500  # in each folder
PARTS, CLASSES, ARRAYS = ("train", "test"), ("neg", "pos"), ("columns", "starts", "labels")
NAMES = [f"{part}_{what}" for part in PARTS for what in ARRAYS]
IN_ARCHIVE = re.compile(r"aclImdb/(train|test)/(neg|pos)/[^/]+\.txt")
WORD = r"(?u)\b\w\w+\b"  # scikit-learn's default pattern, whatever a later version makes its default
WORDS = 10_000
VERSION = 1  # part of the checksum and of the cache's key: raise it with any change of what is made of the reviews
REMEDY = "Delete aclImdb and run `make data`, or put it right."

Reviews = dict[str, list["os.DirEntry[str]"]]


@functools.cache
def load(root: str | Path, *, stand_in: str = "allow", words: int = WORDS) -> Dataset:
    """25,000 training and 25,000 test reviews below ``root``, as sparse rows of ``words`` zeros and ones.

    A column is 1 where a review has its word. The words are those found in most training reviews (of words found
    equally often those first by code points), in lower case, and stand in that alphabet's order. Class 0 is negative.
    ``stand_in`` as in ``fetching.obtained``; made-up reviews stand in. UserError for folders and files that are not
    IMDB's, and for a folder that cannot be written when a download is needed.
    """
    if isinstance(words, bool) or not isinstance(words, int) or words < 1:
        raise UserError(f"dataset.words={words} is not allowed: give a whole number of words, at least 1.")
    folder = Path(root) / "aclImdb"
    fetch, instead = (lambda: download(Path(root))), "a made-up bag of words"
    real = obtained("IMDB", folder, is_there=folder.exists(), fetch=fetch, stand_in=stand_in, instead=instead)
    return read_once(folder, words) if real else reviews.load(words)


@functools.cache
def read_once(folder: Path, words: int) -> Dataset:
    """What ``read`` gives, kept by itself: ``load`` would read and hold it again for another ``stand_in``."""
    return read(folder, words)


def read(folder: Path, words: int) -> Dataset:
    """The reviews of ``folder``, checked and decoded, or as they were decoded before if no file has changed since."""
    found = reviews_in(folder)
    arrays = cached(folder, _cache(found, words), lambda: bags_of_words(found, words))
    content = checksum_of(*(arrays[name] for name in NAMES))
    checksum = hashlib.sha256(f"version {VERSION}, {words} words, {content}".encode())
    tensors = {name: torch.from_numpy(arrays[name]) for name in NAMES}
    bags = {part: SparseRows(tensors[f"{part}_columns"], tensors[f"{part}_starts"], words) for part in PARTS}
    labels = {part: tensors[f"{part}_labels"] for part in PARTS}
    return Dataset("imdb", "real", checksum.hexdigest(), bags["train"], labels["train"], bags["test"], labels["test"])


def check(folder: Path) -> tuple[str, set[str]]:
    """Look at every review: what there is, in words, and the caches that are of it, by name.

    UserError names a file or folder that is not IMDB's.
    """
    found = reviews_in(folder)
    texts = [text(entry) for entries in found.values() for entry in entries]
    return f"{len(texts):,} reviews, by their number and as text", {_cache(found, WORDS)}


def _cache(found: Reviews, words: int) -> str:
    return "bag_of_words-" + key_of(_state(found), words=words, version=VERSION)


def reviews_in(folder: Path) -> Reviews:
    """The files of each part, negative ones first, by number and name; UserError for missing and for other ones."""
    found: Reviews = {part: [] for part in PARTS}
    for part, label in itertools.product(PARTS, CLASSES):
        place = folder / part / label
        if not place.is_dir():
            raise UserError(f"{place} is missing, and IMDB has train and test, with neg and pos in each. {REMEDY}")
        entries = sorted(os.scandir(place), key=lambda entry: (_number(entry.name), entry.name))
        others = [entry.name for entry in entries if not (entry.name.endswith(".txt") and entry.is_file())]
        if others:
            raise UserError(
                f"{place} holds {', '.join(others[:3])}{' and more' * (len(others) > 3)}, and is for reviews alone, "
                "files whose names end in .txt. Move away what else is there."
            )
        if len(entries) != REVIEWS:
            raise UserError(f"{place} holds {len(entries):,} reviews, not {REVIEWS:,}. {REMEDY}")
        found[part] += entries
    return found


def _number(name: str) -> int:
    """Of ``123_8.txt``: 123. Names without a number come first."""
    number = name.partition("_")[0]
    return int(number) if number.isdecimal() else -1


def _state(found: Reviews) -> str:
    """A checksum of names, sizes and times, which change with the reviews and take no reading."""
    digest = hashlib.sha256()
    for part, entries in found.items():
        for entry in entries:
            status = entry.stat()
            digest.update(
                f"{part}/{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape")
            )
    return digest.hexdigest()


def bags_of_words(found: Reviews, words: int) -> dict[str, np.ndarray]:
    """Columns, starts and labels of both parts, int64, each part mixed by one fixed permutation.

    Mixed, because whoever takes the first few rows of a data set wants both classes.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second, which few runs should wait

    vectorizer = CountVectorizer(binary=True, lowercase=True, token_pattern=WORD, dtype=np.int64)
    every = vectorizer.fit_transform(text(entry) for entry in found["train"])
    if words > every.shape[1]:
        raise UserError(f"dataset.words={words} is more than the {every.shape[1]} words of IMDB's training reviews.")
    # Not by max_features, which breaks ties by a sort that is not stable. Columns are in alphabetical order here.
    most = np.sort(np.argsort(-np.asarray(every.sum(axis=0)).ravel(), kind="stable")[:words])
    test = vectorizer.transform(text(entry) for entry in found["test"])
    arrays = {}
    for part, bag in (("train", every[:, most]), ("test", test[:, most])):
        order = torch.randperm(bag.shape[0], generator=generator(0, 0, f"imdb {part}")).numpy()
        bag = bag[order].sorted_indices()
        arrays[f"{part}_columns"] = bag.indices.astype(np.int64)
        arrays[f"{part}_starts"] = bag.indptr.astype(np.int64)
        arrays[f"{part}_labels"] = (order >= REVIEWS).astype(np.int64)
    return arrays


def text(review: os.DirEntry[str]) -> str:
    try:
        decoded = Path(review.path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{review.path} is no UTF-8: its byte {error.start} is out of place. {REMEDY}") from None
    if not decoded.replace("\ufeff", "").strip():  # a byte-order mark is no space; before words it is passed over
        raise UserError(f"{review.path} is empty, and every review has words. {REMEDY}")
    return decoded


def download(root: Path) -> str | None:
    """Get the reviews into ``root``, from the archive that lies there or else from the net; None, or why not in words.

    They are unpacked into a folder of their own and moved when they are whole, so that nothing half-written stays.
    UserError where ``root`` cannot be written, and for an archive there that is not the published one.
    """
    placed = root / ARCHIVE
    by_hand = placed.is_file()
    reason = None if by_hand else unreachable((URL,))
    if reason is not None:
        return reason
    with workplace("IMDB", root) as temporary:
        try:
            unpack(placed if by_hand else received(temporary / ARCHIVE), temporary)
            moved(temporary / "aclImdb", root / "aclImdb")
        except (OSError, EOFError, zlib.error, http.client.HTTPException, tarfile.TarError) as error:
            if not by_hand:
                return f"the download failed: {error}"
            raise UserError(f"{placed} cannot be unpacked: {error}. Delete it and run `make data`.") from None
    return None


def received(path: Path) -> Path:
    with urllib.request.urlopen(URL, timeout=60) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)
    return path


def unpack(archive: Path, into: Path) -> None:
    """Take the labelled reviews out of ``archive``; TarError where it is another one, has another number of them, or
    would write elsewhere."""
    with archive.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    if md5 != MD5:
        raise tarfile.ReadError(f"its md5 is {md5}, not {MD5}")

    def wanted(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        safe = tarfile.data_filter(member, folder)  # an error for what would land outside of the folder
        return safe if safe is not None and safe.isfile() and IN_ARCHIVE.fullmatch(safe.name) else None

    with tarfile.open(archive) as packed:
        packed.extractall(into, filter=wanted)
    for part, label in itertools.product(PARTS, CLASSES):
        place = Path("aclImdb", part, label)
        if (count := len(list((into / place).glob("*")))) != REVIEWS:  # said of the archive, as ``into`` does not stay
            raise tarfile.ReadError(f"it has {count:,} reviews in {place}, not {REVIEWS:,}")
