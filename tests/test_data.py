"""MNIST is found, checked or downloaded, and the digits stand in for it; the order of examples is a function."""

import functools
import gzip
import hashlib
import http.server
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from sklearn.datasets import load_digits

from adam_repro.data import Dataset, cifar10, default_root, digits, fetching, mnist
from adam_repro.data.order import epoch_order, fixed_subset, generator
from adam_repro.errors import UserError


@pytest.fixture(autouse=True)
def forgetful():
    """What a process remembers of one data root or server is no business of the next test."""
    forget()
    fetching.unreachable.cache_clear()


def forget():
    mnist.load.cache_clear()
    mnist.read_once.cache_clear()


def idx(array):
    header = [mnist.IDX_UNSIGNED_BYTE << 8 | array.ndim, *array.shape]
    return b"".join(number.to_bytes(4, "big") for number in header) + array.tobytes()


@functools.cache
def blank_mnist():
    """Files in MNIST's form: black images, labels in MNIST's numbers."""
    files = {}
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        labels = np.repeat(np.arange(10, dtype=np.uint8), mnist.CLASS_COUNTS[part])
        files[f"{part}-images-idx3-ubyte"] = idx(np.zeros((n, 28, 28), dtype=np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx(labels)
    return files


def take_for_mnist(monkeypatch, files):
    monkeypatch.setattr(mnist, "FILES", {name: hashlib.md5(raw).hexdigest() for name, raw in files.items()})


def put(root, files):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def test_files_in_torchvisions_layout_become_one_tensor(tmp_path, monkeypatch):
    take_for_mnist(monkeypatch, blank_mnist())
    put(tmp_path, blank_mnist())
    data = mnist.load(tmp_path)
    assert (data.name, data.provenance) == ("mnist", "real")
    assert data.train_x.shape == (60_000, 784) and data.train_x.dtype == torch.float32
    assert data.test_x.shape == (10_000, 784)
    assert data.train_y.dtype == torch.int64
    assert torch.bincount(data.test_y).tolist() == mnist.CLASS_COUNTS["t10k"]
    assert data.head(100).train_x.shape == (100, 784) and len(data.head(100).test_x) == 10_000


def test_a_part_of_a_test_set_in_order_of_class_has_all_classes():
    x, y = torch.arange(20.0)[:, None], torch.arange(10).repeat_interleave(2)
    part = Dataset("sorted", "synthetic", "of no file", x, y, x, y).head(20, 10)
    assert part.test_y.tolist() == list(range(10)) and part.test_x.flatten().tolist() == list(range(0, 20, 2))
    assert len(part.head(20, 11).test_y) == 10, "no more than there are"


def test_another_file_in_mnists_place_is_refused_by_name(tmp_path):
    put(tmp_path, blank_mnist())
    with pytest.raises(UserError, match="train-images-idx3-ubyte is not MNIST's: its md5 is .*make data"):
        mnist.load(tmp_path)


def test_a_truncated_file_is_refused_by_name(tmp_path, monkeypatch):
    files = blank_mnist()
    take_for_mnist(monkeypatch, files)
    put(tmp_path, {**files, "t10k-images-idx3-ubyte": files["t10k-images-idx3-ubyte"][:-1]})
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte is not MNIST's.*7840015 bytes"):
        mnist.load(tmp_path)


def test_a_missing_file_is_named_and_nothing_is_downloaded_over_the_others(tmp_path):
    folder = put(tmp_path, {"train-images-idx3-ubyte": b""})
    with pytest.raises(UserError, match="lacks train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels"):
        mnist.load(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["train-images-idx3-ubyte"]


def test_other_class_counts_are_refused(tmp_path, monkeypatch):
    files = {**blank_mnist(), "t10k-labels-idx1-ubyte": idx(np.zeros(10_000, dtype=np.uint8))}
    take_for_mnist(monkeypatch, files)
    put(tmp_path, files)
    with pytest.raises(UserError, match=r"t10k has \[10000, 0"):
        mnist.load(tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        idx(np.zeros((2, 3), dtype=np.uint8))[:-1],
        idx(np.zeros((2, 3), dtype=np.uint8)) + b"0",
        idx(np.zeros((3, 2), dtype=np.uint8)),
        b"",
    ],
)
def test_what_an_idx_header_promises_must_be_there(tmp_path, raw):
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(UserError, match="file is no IDX file of shape"):
        mnist.parse_idx(path, (2, 3))


def test_an_idx_file_is_read_row_by_row(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / "file").write_bytes(idx(array))
    assert mnist.parse_idx(tmp_path / "file", (2, 3)).tolist() == array.tolist()


@pytest.fixture
def server(monkeypatch):
    """A server on loopback in the place of torchvision's; give it its files."""
    offered = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, body):
            name = self.path.lstrip("/")
            if offered.get("hang"):
                time.sleep(2)
            self.send_response(200 if name in offered else 404)
            self.send_header("Content-Length", str(len(offered.get(name, b""))))
            self.end_headers()
            if body:
                self.wfile.write(offered.get(name, b""))

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def log_message(self, *arguments):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{listening.server_port}/"
    monkeypatch.setattr(mnist, "MIRRORS", (url,))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
    yield offered
    listening.shutdown()
    listening.server_close()


def offer(offered, monkeypatch, files, *, broken=None):
    archives = {f"{name}.gz": gzip.compress(raw, compresslevel=1, mtime=0) for name, raw in files.items()}
    resources = [(name, hashlib.md5(raw).hexdigest()) for name, raw in archives.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    offered.update(archives)
    if broken:
        offered[broken] = offered[broken][:-10]


def test_what_is_missing_is_downloaded_through_torchvision_once(tmp_path, server, monkeypatch):
    take_for_mnist(monkeypatch, blank_mnist())
    offer(server, monkeypatch, blank_mnist())
    assert mnist.load(tmp_path, stand_in="forbid").provenance == "real"
    folder = tmp_path / "MNIST" / "raw"
    assert {path.name for path in folder.iterdir()} >= set(mnist.FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["raw"], "nothing else is left"
    server.clear()
    forget()
    assert mnist.load(tmp_path, stand_in="forbid").provenance == "real"


def test_of_two_downloads_the_slower_one_takes_what_the_faster_one_has_put_there(tmp_path, server, monkeypatch):
    take_for_mnist(monkeypatch, blank_mnist())
    offer(server, monkeypatch, blank_mnist())
    folder, read = tmp_path / "MNIST" / "raw", mnist.read

    def read_slowly(downloaded):
        if not folder.exists():
            shutil.copytree(downloaded, folder)
        return read(downloaded)

    monkeypatch.setattr(mnist, "read", read_slowly)
    assert mnist.load(tmp_path, stand_in="forbid").provenance == "real"
    assert [path.name for path in folder.parent.iterdir()] == ["raw"], "nothing else is left"


def test_real_files_are_read_once_whatever_may_stand_in_and_anew_after_a_failure(tmp_path, monkeypatch):
    take_for_mnist(monkeypatch, blank_mnist())
    broken = put(tmp_path, blank_mnist()) / "t10k-labels-idx1-ubyte"
    broken.write_bytes(b"")
    with pytest.raises(UserError, match="is not MNIST's"):
        mnist.load(tmp_path)
    broken.write_bytes(blank_mnist()[broken.name])
    reads, read = [], mnist.read
    monkeypatch.setattr(mnist, "read", lambda folder: reads.append(folder) or read(folder))
    assert len({id(mnist.load(tmp_path, stand_in=each)) for each in ("allow", "forbid", "found")}) == 1
    assert mnist.load(tmp_path, stand_in="only").provenance == "stand-in" and len(reads) == 1


def test_what_is_to_be_found_is_not_downloaded(tmp_path, server, monkeypatch):
    offer(server, monkeypatch, blank_mnist())
    with pytest.raises(UserError, match="MNIST is not at .*a folder that all machines see"):
        mnist.load(tmp_path / "root", stand_in="found")
    assert not (tmp_path / "root").exists()


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, server, monkeypatch):
    offer(server, monkeypatch, blank_mnist(), broken="t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError, match="cannot be downloaded: the download failed"):
        mnist.load(tmp_path / "root", stand_in="forbid")
    assert list((tmp_path / "root").rglob("*")) == []


def test_a_root_that_cannot_be_written_is_named(tmp_path, server, monkeypatch):
    offer(server, monkeypatch, blank_mnist())
    root = tmp_path / "file"
    root.write_text("no folder")
    with pytest.raises(UserError, match="cannot be put into .*file/MNIST: .*ADAM_REPRO_DATA"):
        mnist.load(root)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))  # nobody listens there


def test_without_data_or_network_the_digits_stand_in_and_say_so(tmp_path, offline, caplog):
    data = mnist.load(tmp_path / "root")
    assert (data.name, data.provenance) == ("digits", "stand-in")
    assert "stand-in: scikit-learn's digits" in caplog.text and "make data" in caplog.text
    assert not (tmp_path / "root").exists()


def test_what_stands_in_is_held_once_whether_it_may_or_must(tmp_path, offline):
    assert mnist.load(tmp_path) is mnist.load(tmp_path, stand_in="only")


def test_forbidden_to_stand_in_is_an_error_that_names_the_remedy(tmp_path, offline):
    with pytest.raises(UserError, match="MNIST is not at .*ADAM_REPRO_DATA"):
        mnist.load(tmp_path, stand_in="forbid")


def test_another_word_for_stand_in_is_refused(tmp_path):
    with pytest.raises(UserError, match="stand_in=maybe is not allowed: give one of allow, forbid, only, found"):
        mnist.load(tmp_path, stand_in="maybe")


def test_a_server_that_does_not_answer_costs_no_more_than_the_probe(server, monkeypatch):
    server["hang"] = b"1"
    monkeypatch.setattr(fetching, "PROBE_SECONDS", 0.2)
    began = time.perf_counter()
    reason = fetching.unreachable(mnist.MIRRORS)
    assert time.perf_counter() - began < 1
    assert reason is not None


@pytest.mark.skipif(not os.environ.get("ADAM_REPRO_DATA"), reason="ADAM_REPRO_DATA is not set")
def test_the_real_files_are_mnist():
    data = mnist.load(default_root(), stand_in="forbid")
    assert data.provenance == "real"
    assert data.train_x.mean().item() == pytest.approx(0.1307, abs=1e-4), "the mean that every tutorial subtracts"
    assert (data.train_x.min(), data.train_x.max()) == (0, 1)


def test_the_data_root_is_the_environment_variable_or_the_projects_own(monkeypatch):
    monkeypatch.setenv("ADAM_REPRO_DATA", "/some/where")
    assert default_root() == Path("/some/where")
    monkeypatch.delenv("ADAM_REPRO_DATA")
    assert default_root().name == "data"


def test_servers_are_asked_where_torchvision_downloads_from():
    assert list(mnist.MIRRORS) == torchvision.datasets.MNIST.mirrors and cifar10.URL == torchvision.datasets.CIFAR10.url


def test_the_originals_of_the_stand_in_are_scikit_learns():
    images, targets = digits._originals()
    expected = load_digits()
    assert images.dtype == expected.images.dtype and (images == expected.images).all()
    assert (targets == expected.target).all()


def test_the_stand_in_is_real_digits_jittered_the_same_each_time():
    data, again = digits.load(), digits.load.__wrapped__()
    assert isinstance(data, Dataset)
    assert data.train_x.shape[1] == 784 and data.train_x.dtype == torch.float32
    assert 0 <= data.train_x.min() and data.train_x.max() <= 1
    assert torch.equal(data.train_x, again.train_x) and data.checksum == again.checksum
    shares = torch.bincount(data.train_y, minlength=10) / len(data.train_y)
    assert shares.min() > 0.08
    assert not any((image == data.train_x).all(1).any() for image in data.test_x[:20])


def test_every_pass_is_a_permutation_of_its_own_and_the_same_each_time():
    first = epoch_order(50, seed=3, epoch=1)
    assert sorted(first.tolist()) == list(range(50))
    assert torch.equal(first, epoch_order(50, seed=3, epoch=1))
    assert not torch.equal(first, epoch_order(50, seed=3, epoch=2))
    assert not torch.equal(first, epoch_order(50, seed=4, epoch=1))


def test_purposes_have_randomness_of_their_own_that_no_version_changes():
    assert generator(0, 0, "init").initial_seed() != generator(0, 0, "order").initial_seed()
    assert epoch_order(5, seed=0, epoch=1).tolist() == [1, 0, 4, 3, 2]


def test_the_fixed_subset_is_sorted_without_repetition_and_whole_where_there_is_less():
    chosen = fixed_subset(100, 10)
    assert chosen.tolist() == sorted(set(chosen.tolist())) and len(chosen) == 10
    assert torch.equal(chosen, fixed_subset(100, 10))
    assert fixed_subset(5, 10).tolist() == [0, 1, 2, 3, 4]
