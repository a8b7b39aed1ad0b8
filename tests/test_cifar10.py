"""CIFAR-10 is the same data from either source, checked, decoded once and whitened; shapes stand in for it."""

import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import pickle
import re
import struct
import tarfile
import threading
import zlib

import numpy as np
import pytest
import torch
import torchvision.datasets
from torchvision.datasets.folder import pil_loader

from adam_repro.data import caching, cifar10, default_root, shapes, whitening
from adam_repro.data.order import generator
from adam_repro.errors import UserError

PER_CLASS = {"train": 3, "test": 2}
CACHE = caching.FOLDER
OTHER_FORM = "is no PNG of 32 x 32 pixels with 8 bits for each of three colours"


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Three training and two test images of a class, a cache folder of the test's own, and nothing remembered."""
    monkeypatch.setattr(cifar10, "PER_CLASS", PER_CLASS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    forget()
    cifar10.unreachable.cache_clear()


def forget():
    cifar10.load.cache_clear()
    cifar10.prepared_once.cache_clear()


def load(root, preprocessing="standardised", stand_in="forbid"):
    forget()
    return cifar10.load(root, preprocessing=preprocessing, stand_in=stand_in)


def png(image):
    """The bytes of an unsigned ``image`` [height, width, channels] as a PNG."""
    height, width, channels = image.shape
    rows = b"".join(b"\0" + row.astype(image.dtype.newbyteorder(">")).tobytes() for row in image)
    header = struct.pack(">2I5B", width, height, 8 * image.itemsize, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@functools.cache
def made_up():
    """{part: [(label, original file name, image uint8 [3, 32, 32])]} in no order of label or name."""
    random = np.random.default_rng(0)
    parts = {}
    for part, count in PER_CLASS.items():
        names = [(label, f"{'zyx'[n]}_{label}_s_00000{n}.png") for n in range(count) for label in range(10)]
        parts[part] = [(*name, random.integers(0, 256, cifar10.SHAPE, dtype=np.uint8)) for name in names]
    return parts


def put_folders(root):
    for part, examples in made_up().items():
        for label, name, image in examples:
            path = root / "cifar10" / part / cifar10.CLASSES[label] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image.transpose(1, 2, 0)))
    return root / "cifar10"


def batch_files(monkeypatch):
    """{name: content} in the form of the published batch files, for which torchvision now takes them."""
    files, lists = {}, {"train": [], "test": []}
    for name, part, half in (("data_batch_1", "train", 0), ("data_batch_2", "train", 1), ("test_batch", "test", None)):
        examples = made_up()[part] if half is None else made_up()[part][half::2]
        labels, names, images = zip(*examples, strict=True)
        data = np.stack(images).reshape(-1, 3072)
        files[name] = pickle.dumps({"data": data, "labels": list(labels), "filenames": list(names)})
        lists[part].append([name, hashlib.md5(files[name]).hexdigest()])
    files["batches.meta"] = pickle.dumps({"label_names": list(cifar10.CLASSES)})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": hashlib.md5(files["batches.meta"]).hexdigest()}
    for name, value in (("train_list", lists["train"]), ("test_list", lists["test"]), ("meta", meta)):
        monkeypatch.setattr(torchvision.datasets.CIFAR10, name, value)
    return files


def put_batches(root, files):
    folder = root / cifar10.BATCHES
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def same(one, other):
    parts = ("train_x", "train_y", "test_x", "test_y")
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in parts) and (
        one.checksum == other.checksum
    )


# Sources


def test_class_folders_become_tensors(tmp_path):
    put_folders(tmp_path)
    data = load(tmp_path)
    assert (data.name, data.provenance) == ("cifar10", "real")
    assert data.train_x.shape == (30, 3, 32, 32) and data.train_x.dtype == torch.float32
    assert data.test_x.shape == (20, 3, 32, 32)
    assert data.train_y.dtype == torch.int64
    assert torch.bincount(data.train_y).tolist() == [3] * 10 and torch.bincount(data.test_y).tolist() == [2] * 10


def test_images_are_held_once_whatever_may_stand_in(tmp_path):
    put_folders(tmp_path)
    one, other = (cifar10.load(tmp_path, preprocessing="standardised", stand_in=each) for each in ("allow", "forbid"))
    assert one is other


def test_batch_files_and_class_folders_are_the_same_data_in_the_same_order(tmp_path, monkeypatch):
    put_folders(tmp_path / "folders")
    put_batches(tmp_path / "batches", batch_files(monkeypatch))
    assert same(load(tmp_path / "folders"), load(tmp_path / "batches"))


def test_batch_files_come_first_where_both_are_there(tmp_path, monkeypatch):
    put_batches(tmp_path, batch_files(monkeypatch))
    (tmp_path / "cifar10").mkdir()
    assert load(tmp_path).provenance == "real"


def test_order_is_by_class_and_name_and_training_images_are_then_mixed(tmp_path):
    raw = cifar10.decoded(put_folders(tmp_path))
    for part, examples in made_up().items():
        expected = sorted(examples, key=lambda example: example[:2])
        if part == "train":
            mixed = torch.randperm(len(expected), generator=generator(0, 0, "cifar10 order"))
            expected = [expected[place] for place in mixed]
        assert raw[f"{part}_y"].tolist() == [label for label, _, _ in expected]
        assert np.array_equal(raw[f"{part}_x"], np.stack([image for _, _, image in expected]))


def test_the_first_training_images_are_of_many_classes(tmp_path):
    put_folders(tmp_path)
    assert len(set(load(tmp_path).head(10).train_y.tolist())) > 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(np.zeros((32, 32, 3), np.uint8))[:-30], "is no whole PNG"),
        (png(np.zeros((32, 32, 3), np.uint8))[:30], "is no whole PNG"),
        (png(np.zeros((32, 32, 3), np.uint8)).replace(b"IDAT", b"IDAX"), "is no whole PNG"),
        (b"", OTHER_FORM),
        (b"GIF89a", OTHER_FORM),
        (png(np.zeros((31, 32, 3), np.uint8)), OTHER_FORM),
        (png(np.zeros((32, 32, 1), np.uint8)), OTHER_FORM),
        (png(np.zeros((32, 32, 4), np.uint8)), OTHER_FORM),
        (png(np.zeros((32, 32, 3), np.uint16)), OTHER_FORM),
    ],
    ids=["truncated", "header only", "another chunk", "empty", "gif", "size", "grey", "transparent", "16 bits"],
)
def test_another_image_than_there_should_be_is_named_and_nothing_is_kept(tmp_path, content, message):
    folder = put_folders(tmp_path)
    (folder / "test" / "frog" / "z_6_s_000000.png").write_bytes(content)
    with pytest.raises(UserError, match=f"test/frog/z_6_s_000000.png .*{message}.*make data"):
        load(tmp_path)
    assert not (folder / CACHE).exists() and not (tmp_path / "user").exists()


def flipped(content, place):
    content = bytearray(content)
    content[place] ^= 1
    return bytes(content)


CHECKSUM_AND_LAST_CHUNK = 16  # bytes behind the pixels


@pytest.mark.parametrize(
    "damaged",
    [
        *(lambda whole, cut=cut: whole[:-cut] for cut in (1, 4, 5, 12, 13, 17)),
        *(lambda whole, place=place: flipped(whole, place) for place in (-1, -9, -13)),
        lambda whole: (
            png(np.zeros((32, 32, 3), np.uint8))[:-CHECKSUM_AND_LAST_CHUNK] + whole[-CHECKSUM_AND_LAST_CHUNK:]
        ),
        lambda whole: whole + b"\0",
    ],
)
def test_damage_that_leaves_an_image_to_be_decoded_is_found(tmp_path, damaged):
    path = tmp_path / "z_6_s_000000.png"
    path.write_bytes(damaged(png(made_up()["train"][0][2].transpose(1, 2, 0))))
    assert pil_loader(path).size == (32, 32)
    with pytest.raises(UserError, match="z_6_s_000000.png is no whole PNG: .*make data"):
        cifar10._image(path)


def test_a_missing_class_is_named(tmp_path):
    folder = put_folders(tmp_path)
    (folder / "train" / "ship").rename(folder / "train" / "boat")
    with pytest.raises(UserError, match="train/ship is missing: CIFAR-10 has a folder for each of airplane,.*data"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "folder.png"])
def test_what_is_no_image_among_the_images_is_named(tmp_path, name):
    place = put_folders(tmp_path) / "train" / "ship"
    (place / name).mkdir() if name == "folder.png" else (place / name).write_text("")
    with pytest.raises(UserError, match=f"train/ship holds {name}, and images are .png files only. Move it elsewhere"):
        load(tmp_path)


def test_another_number_of_images_is_told(tmp_path):
    (put_folders(tmp_path) / "test" / "deer" / "z_4_s_000000.png").unlink()
    with pytest.raises(UserError, match="test/deer holds 1 images, not 2.*make data"):
        load(tmp_path)


def test_a_missing_batch_file_is_named(tmp_path, monkeypatch):
    (put_batches(tmp_path, batch_files(monkeypatch)) / "data_batch_2").unlink()
    with pytest.raises(UserError, match="data_batch_2 is missing.*make data"):
        load(tmp_path)


def test_a_batch_file_of_another_md5_is_named_and_not_unpickled(tmp_path, monkeypatch):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    put_batches(tmp_path, {**batch_files(monkeypatch), "test_batch": pickle.dumps(Trap())})
    with pytest.raises(UserError, match="test_batch is not CIFAR-10's: its md5 is .*, not .*make data"):
        load(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_another_preprocessing_is_refused(tmp_path):
    with pytest.raises(UserError, match="preprocessing=blurred is not allowed: give one of whitened, standardised"):
        load(tmp_path, "blurred")


@pytest.mark.skipif(not (default_root() / "cifar10").is_dir(), reason="CIFAR-10's class folders are not there")
def test_the_real_images_have_the_statistics_that_everybody_uses(monkeypatch):
    monkeypatch.undo()
    raw = cifar10.decoded(default_root() / "cifar10")
    for channel, (mean, std) in enumerate(((0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616))):
        values = raw["train_x"][:, channel] / np.float32(255)
        assert values.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-4)
        assert values.std(dtype=np.float64) == pytest.approx(std, abs=1e-4)


# Caches


def cache_folders(place):
    return sorted(path for path in place.iterdir()) if place.exists() else []


def no_reading(monkeypatch):
    monkeypatch.setattr(cifar10, "read_folders", lambda folder: pytest.fail("decoded again"))
    monkeypatch.setattr(cifar10, "_prepared", lambda raw, preprocessing: pytest.fail("prepared again"))


def test_images_are_decoded_and_prepared_once(tmp_path, monkeypatch):
    folder = put_folders(tmp_path)
    first = load(tmp_path)
    assert [path.name.partition("-")[0] for path in cache_folders(folder / CACHE)] == ["images", "standardised"]
    no_reading(monkeypatch)
    assert same(load(tmp_path), first)


def test_what_is_written_into_cached_tensors_stays_in_the_process(tmp_path):
    put_folders(tmp_path)
    first = load(tmp_path).train_x.clone()
    load(tmp_path).train_x.zero_()
    assert torch.equal(load(tmp_path).train_x, first)


def test_a_changed_image_is_noticed(tmp_path):
    path = put_folders(tmp_path) / "train" / "cat" / "z_3_s_000000.png"
    first = load(tmp_path)
    path.write_bytes(png(np.full((32, 32, 3), 7, np.uint8)))
    assert not same(load(tmp_path), first)


@pytest.mark.parametrize("linked", ["train", "train/cat"])
def test_a_folder_behind_a_link_is_watched_too(tmp_path, linked):
    folder = put_folders(tmp_path)
    (folder / linked).rename(tmp_path / "elsewhere")
    (folder / linked).symlink_to(tmp_path / "elsewhere")
    load(tmp_path)
    (folder / "train" / "cat" / "z_3_s_000000.png").unlink()
    with pytest.raises(UserError, match="train/cat holds 2 images, not 3"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["gone.png", os.fsdecode(b"\xe9t\xe9.txt")])
def test_a_file_that_does_not_belong_is_named_whatever_it_is(tmp_path, name):
    stranger = put_folders(tmp_path) / "train" / "cat" / name
    stranger.symlink_to(tmp_path / "nowhere") if name == "gone.png" else stranger.write_bytes(b"")
    with pytest.raises(UserError, match=f"train/cat holds {re.escape(name)}, and images are .png files only. Move it"):
        load(tmp_path)


def test_a_removed_image_is_noticed_despite_the_cache(tmp_path):
    path = put_folders(tmp_path) / "train" / "cat" / "z_3_s_000000.png"
    load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="train/cat holds 2 images, not 3"):
        load(tmp_path)


def copied(data):
    """The same, off the cache's files, which a test is about to damage beneath it."""
    parts = ("train_x", "train_y", "test_x", "test_y")
    return dataclasses.replace(data, **{part: getattr(data, part).clone() for part in parts})


def flip_a_bit(place):
    content = bytearray((place / "train_x.npy").read_bytes())
    content[-5] ^= 1
    (place / "train_x.npy").write_bytes(content)


DAMAGE = {
    "a bit": flip_a_bit,
    "truncated": lambda place: os.truncate(place / "train_x.npy", 5000),
    "empty": lambda place: os.truncate(place / "train_x.npy", 0),
    "an array missing": lambda place: (place / "train_x.npy").unlink(),
    "no contents": lambda place: (place / "contents.json").unlink(),
    "contents of nothing": lambda place: (place / "contents.json").write_text("{}"),
    "contents of another form": lambda place: (place / "contents.json").write_text('["train_x"]'),
    "contents cut off": lambda place: os.truncate(place / "contents.json", 20),
    "objects": lambda place: np.save(place / "train_x.npy", np.array([{}], dtype=object), allow_pickle=True),
}


@pytest.mark.parametrize("kind", ["images", "standardised"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_cache_is_made_anew(tmp_path, monkeypatch, damage, kind):
    folder = put_folders(tmp_path)
    first = copied(load(tmp_path))
    (place,) = (folder / CACHE).glob(f"{kind}-*")
    damage(place)
    assert same(load(tmp_path), first)
    no_reading(monkeypatch)
    assert same(load(tmp_path), first), "and kept"


def test_other_parameters_are_other_data(tmp_path, monkeypatch):
    put_folders(tmp_path)
    monkeypatch.setitem(whitening.PREPROCESSING, "whitened", whitening.standardised)  # ZCA takes ten seconds
    first = load(tmp_path, "whitened")
    assert load(tmp_path, "standardised").checksum != first.checksum
    monkeypatch.setattr(whitening, "FILTER_BIAS", 0.2)
    assert load(tmp_path, "whitened").checksum != first.checksum


def test_the_users_cache_folder_serves_where_the_datas_cannot_be_written(tmp_path, monkeypatch):
    folder = put_folders(tmp_path)
    (folder / CACHE).write_text("a file, where a folder would have to be")  # root may write wherever it likes
    first = load(tmp_path)
    assert len(cache_folders(tmp_path / "user" / "adam_repro")) == 2
    no_reading(monkeypatch)
    assert same(load(tmp_path), first)


@pytest.mark.parametrize("home", ["unwritable", "none"])
def test_without_a_folder_that_can_be_written_nothing_is_kept(tmp_path, monkeypatch, home):
    folder = put_folders(tmp_path)
    (folder / CACHE).write_text("")
    if home == "unwritable":
        (tmp_path / "user").write_text("")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(caching.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert same(load(tmp_path), load(tmp_path))


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    arrays = caching.cached(tmp_path, "key", lambda: {"a": np.arange(3)})
    assert arrays["a"].tolist() == [0, 1, 2]
    assert cache_folders(tmp_path / CACHE) == [] and cache_folders(tmp_path / "user" / "adam_repro") == []


def test_a_process_that_was_faster_is_given_way(tmp_path):
    def overtaken():
        caching.cached(tmp_path, "key", lambda: {"a": np.arange(3)})
        return {"a": np.arange(3)}

    assert caching.cached(tmp_path, "key", overtaken)["a"].tolist() == [0, 1, 2]
    assert [path.name for path in cache_folders(tmp_path / CACHE)] == ["key"]
    contents = json.loads((tmp_path / CACHE / "key" / "contents.json").read_text())
    assert contents == {"a": caching.checksum_of(np.arange(3))}


# Preparation


def correlated(n):
    """Images uint8 [n, 3, 4, 4] whose neighbours resemble one another."""
    walk = torch.randn(n, 48, generator=generator(0, 0, "walk")).cumsum(1)
    return (128 + 12 * walk).clamp(0, 255).byte().view(n, 3, 4, 4)


def test_contrast_is_normalised_to_mean_zero_and_norm_55():
    images = correlated(50).flatten(1).float()
    normal = whitening.contrast_normalised(images)
    torch.testing.assert_close(normal.norm(dim=1), torch.full((50,), 55.0))
    torch.testing.assert_close(normal.mean(1), torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(whitening.contrast_normalised(2 * images + 3), normal, atol=1e-4, rtol=1e-5)


def test_an_image_of_one_colour_becomes_zeros():
    assert whitening.contrast_normalised(torch.full((2, 48), 200.0)).eq(0).all()


def test_whitening_leaves_the_share_of_each_eigenvalue_that_its_bias_allows(monkeypatch):
    monkeypatch.setattr(whitening, "CHUNK", 7)  # parts, and a last one that is smaller
    images = correlated(500)
    normal = whitening.contrast_normalised(images.flatten(1).float()).double()
    values, vectors = torch.linalg.eigh(torch.cov(normal.t(), correction=0))
    train, _ = whitening.whitened(images, images[:1])
    found = torch.cov(train.flatten(1).double().t(), correction=0)
    torch.testing.assert_close(found, vectors * (values / (values + 0.1)) @ vectors.t(), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.mean(0), torch.zeros(3, 4, 4), atol=1e-4, rtol=0)


def test_the_whitening_matrix_is_symmetric():
    _, matrix = whitening.zca(whitening.contrast_normalised(correlated(500).flatten(1).float()))
    torch.testing.assert_close(matrix, matrix.t())


@pytest.mark.parametrize("preprocessing", whitening.PREPROCESSING)
def test_test_images_are_prepared_by_the_statistics_of_the_training_images(preprocessing):
    prepare, images = whitening.PREPROCESSING[preprocessing], correlated(200)
    train, test = prepare(images[:150], images[:60])
    torch.testing.assert_close(test, train[:60], atol=1e-5, rtol=1e-5)
    again, _ = prepare(images[:150], images[150:])
    assert torch.equal(again, train)


def test_standardised_channels_have_mean_0_and_deviation_1():
    images = correlated(300)
    train, _ = whitening.standardised(images, images)
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(3))
    pixels = images.double() / 255
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(train, ((pixels - mean) / std).float(), atol=1e-5, rtol=1e-5)


# Stand-in and download


@pytest.fixture
def few_shapes(monkeypatch):
    monkeypatch.setattr(shapes, "TRAIN", 200)
    monkeypatch.setattr(shapes, "TEST", 50)
    shapes.load.cache_clear()
    yield
    shapes.load.cache_clear()


def test_the_stand_in_is_the_same_each_time_and_has_as_many_of_each_class(few_shapes):
    data, again = shapes.load(), shapes.load.__wrapped__()
    assert (data.name, data.provenance) == ("shapes", "stand-in")
    assert data.train_x.shape == (200, 3, 32, 32) and data.train_x.dtype == torch.float32
    assert data.train_y.dtype == torch.int64
    assert same(data, again)
    assert torch.bincount(data.train_y).tolist() == [20] * 10 and torch.bincount(data.test_y).tolist() == [5] * 10
    assert not any((image == data.train_x).flatten(1).all(1).any() for image in data.test_x[:20])


def test_every_class_has_a_shape_of_its_own():
    line = torch.linspace(-1, 1, 32)
    x, y = line.expand(10, 32, 32), line[:, None].expand(10, 32, 32)
    masks = shapes._membership(torch.arange(10), x, y).flatten(1)
    shares = masks.float().mean(1)
    assert shares.min() > 0.1 and shares.max() < 0.6
    assert all((masks[i] != masks[j]).float().mean() > 0.05 for i in range(10) for j in range(i))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that a server on loopback offers in the place of torchvision's."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    offered = tmp_path / "offered"
    offered.mkdir()
    handler = functools.partial(Handler, directory=str(offered))
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    archive = torchvision.datasets.CIFAR10.filename
    url = f"http://127.0.0.1:{listening.server_port}/{archive}"
    monkeypatch.setattr(cifar10, "URL", url)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
    yield offered / archive
    listening.shutdown()
    listening.server_close()


def offer(path, monkeypatch, *, broken=False):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name, raw in batch_files(monkeypatch).items():
            member = tarfile.TarInfo(f"{cifar10.BATCHES}/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", hashlib.md5(content.getvalue()).hexdigest())
    path.write_bytes(content.getvalue()[: -10 if broken else None])


# torchvision unpacks, after its own check of the md5, in a way that Python 3.12 and 3.13 warn of.
@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
def test_what_is_missing_is_downloaded_through_torchvision_once(tmp_path, server, monkeypatch):
    offer(server, monkeypatch)
    root = tmp_path / "root"
    first = load(root)
    assert first.provenance == "real"
    assert [path.name for path in root.iterdir()] == [cifar10.BATCHES], "nothing else is left"
    server.unlink()
    cifar10.unreachable.cache_clear()
    assert same(load(root), first)


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, server, monkeypatch):
    offer(server, monkeypatch, broken=True)
    with pytest.raises(UserError, match="CIFAR-10 is not at .*cannot be downloaded: the download failed: .*corrupted"):
        load(tmp_path / "root")
    assert list((tmp_path / "root").rglob("*")) == []


def test_a_root_that_cannot_be_written_is_named(tmp_path, server, monkeypatch):
    offer(server, monkeypatch)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="CIFAR-10 cannot be put into .*file: .*ADAM_REPRO_DATA"):
        load(tmp_path / "file")


def test_without_data_or_network_shapes_stand_in_and_say_so(tmp_path, few_shapes, monkeypatch, caplog):
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/")  # nobody listens there
    data = load(tmp_path / "root", "whitened", "allow")
    assert (data.name, data.provenance) == ("shapes", "stand-in")
    assert "coloured shapes" in caplog.text and "make data" in caplog.text
    assert not (tmp_path / "root").exists() and not (tmp_path / "user").exists()


def test_forbidden_to_stand_in_is_an_error_that_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/")
    with pytest.raises(UserError, match="CIFAR-10 is not at .*ADAM_REPRO_DATA"):
        load(tmp_path)


def test_a_check_counts_images_and_names_the_caches_that_loading_takes(tmp_path):
    folder = put_folders(tmp_path)
    for preprocessing in whitening.PREPROCESSING:
        load(tmp_path, preprocessing)
    said, names = cifar10.check(folder)
    assert said == "50 images, by their number and form"
    assert names == {path.name for path in (folder / CACHE).iterdir()} and len(names) == 3


def test_a_check_of_batch_files_is_by_their_published_md5(tmp_path, monkeypatch):
    folder = put_batches(tmp_path, batch_files(monkeypatch))
    load(tmp_path)
    said, names = cifar10.check(folder)
    assert said == "50 images, by their published md5"
    made = {path.name for path in (folder / CACHE).iterdir()}
    assert made < names and [name.split("-")[0] for name in names - made] == ["whitened"]


def test_a_file_that_was_changed_behind_its_name_size_and_time_makes_a_cache_stale(tmp_path):
    folder = put_folders(tmp_path)
    load(tmp_path)
    one, other = sorted((folder / "train" / "bird").iterdir())[:2]
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (one, other)]
    assert one.stat().st_size == other.stat().st_size, "images of noise do not compress"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    for path, time in zip((one, other), times, strict=True):
        os.utime(path, ns=time)
    with pytest.raises(UserError, match=r"images-\w+ is of other images than .* has now. Delete it: it is made anew"):
        cifar10.check(folder)
