"""Whatever a user sets or a file holds, there is an answer: the data, or one paragraph. Cases are drawn."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling import few
from test_cifar10 import batch_files as batches_of
from test_cifar10 import made_up, png, put_batches
from test_data import idx
from test_imdb import TEXTS
from test_imdb import put as put_reviews
from tiny_data import OVERRIDES

from adam_repro.app import compose
from adam_repro.data import cifar10, imdb, mnist
from adam_repro.errors import UserError
from adam_repro.run import prepare

WHOLE = ("seed", "epochs", "batch_size", "train_examples", "workers", "tuned_on")
MAY_BE_NULL = ("train_examples", "workers", "tuned_on")
UNIT = ("optimizer.beta1", "optimizer.beta2")
POSITIVE = ("optimizer.lr", "l2", "optimizer.eps", *UNIT)

words = st.text("abcxyz", min_size=1, max_size=5).map(lambda text: f"'{text}'")
of_no_number = words | st.sampled_from(["true", "false", "[1]", "{a:1}", "nan", "'1'", "''"])
negative = st.integers(max_value=-1).map(str) | st.floats(max_value=-1e-9, allow_infinity=True).map(str)
broken = st.floats(1e-3, 1e6).filter(lambda number: number % 1).map(str)
of_no_list = st.sampled_from(["true", "3", "[1.5]", "[-1]", "['1']", "{a:1}"])
wrong = st.one_of(
    st.tuples(st.sampled_from(WHOLE), of_no_number | negative | broken | st.just("inf")),
    st.tuples(st.sampled_from(POSITIVE), of_no_number | negative | st.just("inf")),
    st.tuples(st.sampled_from(UNIT), st.floats(1, 1e300).map(str)),
    st.tuples(st.sampled_from([name for name in (*WHOLE, *POSITIVE) if name not in MAY_BE_NULL]), st.just("null")),
    st.tuples(
        st.just("evaluate_at"), words | negative | st.sampled_from(["true", "3", "[1.5]", "[-1]", "['1']", "{a:1}"])
    ),
)


@few(40)
@given(wrong)
def test_a_number_of_the_wrong_type_or_range_is_refused_before_any_folder_is_made(tmp_path, override):
    name, value = override
    settings = [*OVERRIDES, f"results={tmp_path}/results", f"{name}={value}"]
    with pytest.raises(UserError) as told:
        prepare(compose("logistic_regression", settings))
    assert name.rpartition(".")[2] in str(told.value)
    assert not (tmp_path / "results").exists()


@st.composite
def damaged(draw, content):
    """Bytes that are not ``content``, though they may be near to it."""
    match draw(st.sampled_from(["flipped", "cut", "longer", "other"])):
        case "flipped":
            changed = bytearray(content)
            for _ in range(draw(st.integers(1, 3))):
                changed[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
            return bytes(changed)
        case "cut":
            return content[: draw(st.integers(0, len(content) - 1))]
        case "longer":
            return content + draw(st.binary(min_size=1, max_size=20))
        case _:
            return draw(st.binary(max_size=100))


IDX = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@few(100)
@given(damaged(IDX))
def test_an_idx_file_is_its_bytes_in_their_shape_or_refused(tmp_path, content):
    path = tmp_path / "images"
    path.write_bytes(content)
    try:
        images = mnist.parse_idx(path, (2, 3, 4))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert idx(images) == content


@few(60)
@given(st.data())
def test_a_batch_file_that_is_not_the_published_one_is_refused_unread(tmp_path, monkeypatch, data):
    with monkeypatch.context() as patched:
        files = batches_of(patched)
        name = data.draw(st.sampled_from(["data_batch_1", "test_batch"]))
        content = data.draw(damaged(files[name]))
        folder = tmp_path / cifar10.BATCHES
        if not folder.exists():
            put_batches(tmp_path, files)
        (folder / name).write_bytes(content)
        if content != files[name]:
            with pytest.raises(UserError, match=f"{name} is not CIFAR-10's: its md5 is"):
                cifar10.read_batches(folder)
        (folder / name).write_bytes(files[name])


IMAGE = made_up()["train"][0][2]
PNG = png(IMAGE.transpose(1, 2, 0))


@few(200)
@given(damaged(PNG))
def test_a_png_is_its_image_or_refused(tmp_path, content):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    try:
        image = cifar10._image(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert np.array_equal(image, IMAGE)


@few(60)
@given(damaged("naïve film, ".encode() * 3) | st.text().map(str.encode))
def test_a_review_is_its_text_or_refused(tmp_path, content):
    path = tmp_path / "0_1.txt"
    path.write_bytes(content)
    (entry,) = os.scandir(tmp_path)
    try:
        assert imdb.text(entry).encode() == content
    except UserError as error:
        assert str(path) in str(error)


def archive():
    """The reviews of ``TEXTS`` as an archive that is compressed like IMDB's."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for place, lines in TEXTS.items():
            for number, line in enumerate(lines):
                member = tarfile.TarInfo(f"aclImdb/{place}/{number}_{7 + number}.txt")
                member.size = len(line.encode())
                packed.addfile(member, io.BytesIO(line.encode()))
    return file.getvalue()


ARCHIVE = archive()


@few(100)
@given(damaged(ARCHIVE), st.booleans())
def test_an_archive_is_unpacked_whole_or_refused_and_leaves_nothing(tmp_path, monkeypatch, content, published):
    """``published``: as if it were the published archive that is damaged, so that it is looked into."""
    root = Path(tmp_path)
    (root / imdb.ARCHIVE).write_bytes(content)
    with monkeypatch.context() as patched:
        patched.setattr(imdb, "REVIEWS", 2)
        if published:
            patched.setattr(imdb, "MD5", hashlib.md5(content).hexdigest())
        try:
            assert imdb.download(root) is None and published
            imdb.check(root / "aclImdb")
        except UserError as error:
            assert str(root) in str(error)
    shutil.rmtree(root / "aclImdb", ignore_errors=True)
    assert [path.name for path in root.iterdir()] == [imdb.ARCHIVE]


@few(40)
@given(st.sampled_from([f"{place}/{number}_{7 + number}.txt" for place in TEXTS for number in (0, 1)]), st.data())
def test_a_tree_of_reviews_with_a_changed_file_is_read_or_refused(tmp_path, monkeypatch, name, data):
    with monkeypatch.context() as patched:
        patched.setattr(imdb, "REVIEWS", 2)
        patched.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
        shutil.rmtree(tmp_path / "aclImdb", ignore_errors=True)
        folder = put_reviews(tmp_path, TEXTS)
        content = data.draw(damaged((folder / name).read_bytes()))
        (folder / name).write_bytes(content)
        try:
            assert imdb.read(folder, 2).train_x.shape == (4, 2)
            content.decode()
        except UserError as error:
            assert str(folder / name) in str(error) or "more than the" in str(error)
