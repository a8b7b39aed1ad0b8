"""Reviews are found, checked, decoded once, or unpacked from an archive; made-up ones stand in for them."""

import hashlib
import http.server
import io
import os
import tarfile
import threading

import numpy as np
import pytest
import torch

from adam_repro.data import default_root, fetching, imdb, reviews
from adam_repro.errors import UserError

TEXTS = {  # found in most training reviews: film (4), then bad, dull, fine (2), then the others (1)
    "train/neg": ["Bad BAD bad bad film", "dull film, bad"],
    "train/pos": ["Fine film.<br />", "fine; a dull film, it seems"],
    "test/neg": ["bad, bad film", "unheard-of words"],
    "test/pos": ["fine naïve film", "fine"],
}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Two reviews a folder, nothing remembered, and no cache but the test's own."""
    forget()
    fetching.unreachable.cache_clear()
    monkeypatch.setattr(imdb, "REVIEWS", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def forget():
    imdb.load.cache_clear()
    imdb.read_once.cache_clear()


def put(root, texts=TEXTS):
    folder = root / "aclImdb"
    for place, lines in texts.items():
        (folder / place).mkdir(parents=True)
        for number, line in enumerate(lines):
            (folder / place / f"{number}_{7 + number}.txt").write_text(line, encoding="utf-8")
    return folder


def fresh(root, **options):
    """As a new process would load it."""
    forget()
    return imdb.load(root, stand_in="forbid", **options)


@pytest.fixture
def once(monkeypatch):
    """How often reviews were decoded."""
    calls = []
    decode = imdb.bags_of_words
    monkeypatch.setattr(imdb, "bags_of_words", lambda *given: calls.append(given) or decode(*given))
    return calls


def by_label(x, y):
    """The rows of each class as sets, whatever order they are mixed into."""
    return [sorted(map(tuple, x.to_dense()[y == label].tolist())) for label in (0, 1)]


def test_a_review_is_the_words_that_it_has_of_those_in_most_training_reviews(tmp_path):
    put(tmp_path)
    data = fresh(tmp_path, words=4)  # bad, dull, film, fine
    assert (data.name, data.provenance) == ("imdb", "real")
    assert data.train_x.shape == data.test_x.shape == (4, 4)
    assert data.train_y.dtype is torch.int64
    assert data.train_x.columns.dtype is data.train_x.starts.dtype is torch.int32
    assert by_label(data.train_x, data.train_y) == [[(1, 0, 1, 0), (1, 1, 1, 0)], [(0, 0, 1, 1), (0, 1, 1, 1)]]
    assert by_label(data.test_x, data.test_y) == [[(0, 0, 0, 0), (1, 0, 1, 0)], [(0, 0, 0, 1), (0, 0, 1, 1)]]


def test_words_found_equally_often_go_by_the_alphabet(tmp_path):
    put(tmp_path)
    data = fresh(tmp_path, words=2)  # film, and of bad, dull, fine the first
    assert by_label(data.train_x, data.train_y) == [[(1, 1), (1, 1)], [(0, 1), (0, 1)]]


def test_a_word_said_often_in_one_review_counts_once(tmp_path):
    put(tmp_path, {**TEXTS, "train/neg": ["bad " * 100, "dull film"]})
    data = fresh(tmp_path, words=1)
    assert sum(map(len, by_label(data.train_x, data.train_y))) == 4
    assert data.train_x.to_dense().sum() == 3, "film, not bad"


def test_where_no_tie_is_cut_the_words_are_those_of_scikit_learns_max_features(tmp_path):
    from sklearn.feature_extraction.text import CountVectorizer

    put(tmp_path)
    theirs = CountVectorizer(binary=True, max_features=4).fit(TEXTS["train/neg"] + TEXTS["train/pos"])
    assert theirs.get_feature_names_out().tolist() == ["bad", "dull", "film", "fine"]
    rows = theirs.transform(TEXTS["test/neg"]).toarray()
    data = fresh(tmp_path, words=4)
    assert by_label(data.test_x, data.test_y)[0] == sorted(map(tuple, rows.astype(float).tolist()))


def test_reviews_go_by_number_whatever_order_the_disk_has(tmp_path):
    folder = put(tmp_path)
    (folder / "train/neg/0_7.txt").rename(folder / "train/neg/10_1.txt")
    (folder / "train/neg/1_8.txt").rename(folder / "train/neg/9_1.txt")
    found = imdb.reviews_in(folder)["train"]
    assert [entry.name for entry in found] == ["9_1.txt", "10_1.txt", "0_7.txt", "1_8.txt"]


def test_the_first_few_rows_have_both_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(imdb, "REVIEWS", 50)
    put(tmp_path, {place: [f"{place} words", *["other words"] * 49] for place in TEXTS})
    data = fresh(tmp_path, words=2).head(20, 20)
    assert 5 <= data.train_y.sum() <= 15 and 5 <= data.test_y.sum() <= 15
    assert torch.equal(data.train_y, fresh(tmp_path, words=2).train_y[:20])


def test_the_checksum_is_of_the_rows_and_of_the_parameters(tmp_path):
    texts = {**TEXTS, "test/neg": ["bad, bad film", "other unheard words"]}
    for name, given in (("one", TEXTS), ("same", texts), ("other", {**TEXTS, "test/neg": ["film", "dull"]})):
        put(tmp_path / name, given)
    one, same, other = (fresh(tmp_path / name, words=4).checksum for name in ("one", "same", "other"))
    assert one == same != other, "words that no column stands for make no difference"
    assert len({one, fresh(tmp_path / "one", words=3).checksum}) == 2


@pytest.mark.parametrize("words", [0, -1, 2.0, True, "many"])
def test_a_number_of_words_that_is_none_is_refused(tmp_path, words):
    with pytest.raises(UserError, match=f"dataset.words={words} is not allowed: give a whole number"):
        imdb.load(tmp_path, stand_in="only", words=words)


def test_more_words_than_there_are_is_refused(tmp_path):
    put(tmp_path)
    with pytest.raises(UserError, match="dataset.words=8 is more than the 7 words of IMDB's training reviews"):
        fresh(tmp_path, words=8)


def test_a_second_load_decodes_nothing_and_gives_the_same(tmp_path, once):
    put(tmp_path)
    first, second = fresh(tmp_path, words=4), fresh(tmp_path, words=4)
    assert len(once) == 1
    assert first.checksum == second.checksum
    assert torch.equal(first.train_x.to_dense(), second.train_x.to_dense())
    assert torch.equal(first.test_y, second.test_y)
    fresh(tmp_path, words=3)
    assert len(once) == 2, "another number of words has a cache of its own"


def changed(folder):
    (folder / "train/neg/0_7.txt").write_text("a bad film, changed")


def replaced(folder):
    (folder / "train/neg/0_7.txt").rename(folder / "train/neg/5_7.txt")


def touched(folder):
    path = folder / "test/pos/0_7.txt"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [changed, replaced, touched])
def test_after_a_change_of_a_review_all_are_decoded_anew(tmp_path, once, change):
    folder = put(tmp_path)
    fresh(tmp_path, words=4)
    change(folder)
    fresh(tmp_path, words=4)
    assert len(once) == 2


def test_a_review_that_is_added_or_removed_is_noticed_behind_a_cache(tmp_path):
    folder = put(tmp_path)
    fresh(tmp_path, words=4)
    (folder / "test/pos/0_7.txt").unlink()
    with pytest.raises(UserError, match="pos holds 1 reviews, not 2"):
        fresh(tmp_path, words=4)


def test_a_folder_behind_a_link_is_watched_too(tmp_path, once):
    folder = put(tmp_path)
    (folder / "train").rename(tmp_path / "elsewhere")
    (folder / "train").symlink_to(tmp_path / "elsewhere")
    fresh(tmp_path, words=4)
    changed(folder)
    fresh(tmp_path, words=4)
    assert len(once) == 2


def truncated(path):
    raw = path.read_bytes()
    path.unlink()  # whoever has the file mapped keeps it
    path.write_bytes(raw[:-1])


def flipped(path):
    raw = bytearray(path.read_bytes())
    path.unlink()
    raw[-8] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [truncated, flipped, os.unlink], ids=lambda damage: damage.__name__)
def test_a_damaged_cache_is_never_trusted(tmp_path, once, damage):
    folder = put(tmp_path)
    intact = fresh(tmp_path, words=4)
    damage(next((folder / ".adam_repro").glob("*/train_columns.npy")))
    again = fresh(tmp_path, words=4)
    assert len(once) == 2
    assert torch.equal(intact.train_x.to_dense(), again.train_x.to_dense()) and intact.checksum == again.checksum
    fresh(tmp_path, words=4)
    assert len(once) == 2, "the cache is whole again"


def test_where_the_data_cannot_be_written_the_users_folder_has_the_cache(tmp_path, once):
    folder = put(tmp_path)
    (folder / ".adam_repro").write_text("in the way")
    fresh(tmp_path, words=4)
    fresh(tmp_path, words=4)
    assert len(once) == 1
    assert len(list((tmp_path / "user" / "adam_repro").iterdir())) == 1, "the cache, and nothing half-written"


def test_where_nothing_can_be_written_there_is_no_cache(tmp_path, once):
    folder = put(tmp_path)
    (folder / ".adam_repro").write_text("in the way")
    (tmp_path / "user").write_text("in the way")
    assert fresh(tmp_path, words=4).checksum == fresh(tmp_path, words=4).checksum
    assert len(once) == 2


def test_a_missing_folder_is_named(tmp_path):
    put(tmp_path, {place: lines for place, lines in TEXTS.items() if place != "train/pos"})
    with pytest.raises(UserError, match="aclImdb/train/pos is missing, and IMDB has.*make data"):
        imdb.load(tmp_path)


def test_an_empty_folder_is_named(tmp_path):
    put(tmp_path, {**TEXTS, "test/neg": []})
    with pytest.raises(UserError, match="aclImdb/test/neg holds 0 reviews, not 2.*make data"):
        imdb.load(tmp_path)


def test_more_reviews_than_there_are_is_refused(tmp_path):
    put(tmp_path, {**TEXTS, "test/neg": ["film"] * 3})
    with pytest.raises(UserError, match="aclImdb/test/neg holds 3 reviews, not 2.*make data"):
        imdb.load(tmp_path)


def test_what_is_no_review_is_named(tmp_path):
    folder = put(tmp_path)
    (folder / "train/neg/.DS_Store").write_bytes(b"")
    (folder / "train/neg/folder.txt").mkdir()
    with pytest.raises(UserError, match="train/neg holds .DS_Store, folder.txt, and is for reviews alone.*Move away"):
        imdb.load(tmp_path)


@pytest.mark.parametrize("nothing", ["", " \n\t", "\ufeff", "\ufeff \n"])
def test_an_empty_review_is_named_and_nothing_is_cached(tmp_path, nothing):
    folder = put(tmp_path, {**TEXTS, "test/pos": ["fine", nothing]})
    with pytest.raises(UserError, match="aclImdb/test/pos/1_8.txt is empty"):
        imdb.load(tmp_path, words=4)
    assert not (folder / ".adam_repro").exists()


def test_a_byte_order_mark_before_a_review_changes_no_word(tmp_path):
    for name, texts in (("plain", TEXTS), ("marked", {place: [f"\ufeff{t}" for t in TEXTS[place]] for place in TEXTS})):
        put(tmp_path / name, texts)
    assert len({fresh(tmp_path / name, words=4).checksum for name in ("plain", "marked")}) == 1


def test_text_that_is_not_utf8_is_named_with_the_byte(tmp_path):
    folder = put(tmp_path)
    (folder / "train/pos/0_7.txt").write_bytes("a naïve film".encode("latin-1"))
    with pytest.raises(UserError, match="aclImdb/train/pos/0_7.txt is no UTF-8: its byte 4 is out of place"):
        imdb.load(tmp_path)


def archive(texts=TEXTS, *, more=()):
    """The bytes of an archive in the published one's form: reviews, and ``more`` files."""
    packed = io.BytesIO()
    names = {
        f"aclImdb/{place}/{number}_7.txt": line for place, lines in texts.items() for number, line in enumerate(lines)
    }
    others = {"aclImdb/README": "words", "aclImdb/train/unsup/0_0.txt": "film", "aclImdb/train/urls_pos.txt": "a line"}
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, line in {**names, **others, **dict(more)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(line.encode())
            tar.addfile(member, io.BytesIO(line.encode()))
    return packed.getvalue()


def publish(monkeypatch, raw):
    monkeypatch.setattr(imdb, "MD5", hashlib.md5(raw).hexdigest())


@pytest.fixture
def server(monkeypatch):
    """A server on loopback in the place of the publisher's; give it its file."""
    offered = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            raw = offered.get("raw")
            self.send_response(404 if raw is None else 200)
            self.send_header("Content-Length", str(len(raw or b"")))
            self.end_headers()
            self.wfile.write((raw or b"")[: offered.get("stop")])

        def log_message(self, *arguments):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(imdb, "URL", f"http://127.0.0.1:{listening.server_port}/{imdb.ARCHIVE}")
    yield offered
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(imdb, "URL", f"http://127.0.0.1:9/{imdb.ARCHIVE}")  # nobody listens there


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_what_is_missing_is_downloaded_and_only_the_labelled_reviews_are_kept(tmp_path, server, monkeypatch):
    server["raw"] = archive()
    publish(monkeypatch, server["raw"])
    root = tmp_path / "new" / "root"
    assert fresh(root, words=4).provenance == "real"
    assert [path.name for path in root.iterdir()] == ["aclImdb"], "nothing else is left"
    assert len(list(root.glob("aclImdb/**/*.txt"))) == 8
    assert not (root / "aclImdb/train/unsup").exists() and not (root / "aclImdb/README").exists()
    server.clear()
    assert fresh(root, words=4).provenance == "real"


def test_an_archive_with_another_md5_is_not_unpacked(tmp_path, server):
    server["raw"] = archive()
    md5 = hashlib.md5(server["raw"]).hexdigest()
    with pytest.raises(UserError, match=f"the download failed: its md5 is {md5}, not {imdb.MD5}"):
        fresh(tmp_path / "root")
    assert everything(tmp_path / "root") == []


def test_a_downloaded_archive_of_other_reviews_is_refused_by_what_it_has(tmp_path, server, monkeypatch):
    server["raw"] = archive({**TEXTS, "train/neg": ["film"] * 3})
    publish(monkeypatch, server["raw"])
    with pytest.raises(UserError, match=r"failed: it has 3 reviews in aclImdb/train/neg, not 2\. Set ADAM") as refused:
        fresh(tmp_path / "root")
    assert fetching.WORKPLACE not in str(refused.value) and everything(tmp_path / "root") == []


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, server, monkeypatch):
    server.update(raw=archive(), stop=100)
    publish(monkeypatch, server["raw"])
    with pytest.raises(UserError, match="IMDB is not at .* cannot be downloaded: the download failed"):
        fresh(tmp_path / "root")
    assert everything(tmp_path / "root") == []


def test_a_server_without_the_file_says_so_and_made_up_reviews_stand_in(tmp_path, server, caplog):
    assert imdb.load(tmp_path / "root", words=100).provenance == "stand-in"
    assert "HTTP Error 404" in caplog.text
    assert everything(tmp_path / "root") == []


def test_an_archive_that_was_put_there_is_unpacked_without_a_network(tmp_path, offline, monkeypatch):
    raw = archive()
    publish(monkeypatch, raw)
    (tmp_path / imdb.ARCHIVE).write_bytes(raw)
    assert fresh(tmp_path, words=4).provenance == "real"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aclImdb", imdb.ARCHIVE]


def bad_archives():
    return {
        "another archive": (archive(), None, "its md5 is .*, not 7c2ac02c03563afcf9b574c7e56c153a"),
        "not an archive": (b"<html>", True, "cannot be unpacked"),
        "cut off": (archive()[:-200], True, "cannot be unpacked"),
        "a path outside": (archive(more=[("../evil.txt", "film")]), True, "evil.txt.*outside the destination"),
        "a path outside among reviews": (
            archive(more=[("aclImdb/train/pos/../../../../evil.txt", "film")]),
            True,
            "evil.txt.*outside the destination",
        ),
        "a review too many": (
            archive({**TEXTS, "train/neg": ["film"] * 3}),
            True,
            "it has 3 reviews in aclImdb/train/neg, not 2",
        ),
        "no reviews": (archive({}), True, "it has 0 reviews in aclImdb/train/neg, not 2"),
    }


@pytest.mark.parametrize("case", bad_archives())
def test_a_bad_archive_that_was_put_there_is_refused_and_leaves_nothing(tmp_path, offline, monkeypatch, case):
    raw, published, message = bad_archives()[case]
    if published:
        publish(monkeypatch, raw)
    root = tmp_path / "data" / "root"
    root.mkdir(parents=True)
    (root / imdb.ARCHIVE).write_bytes(raw)
    with pytest.raises(
        UserError, match=rf"{imdb.ARCHIVE} cannot be unpacked: [^`]*[^.`]\. Delete it and run `make data`\.$"
    ) as refused:
        imdb.load(root)
    assert refused.match(message) and fetching.WORKPLACE not in str(refused.value)
    assert everything(tmp_path / "data") == ["root", f"root/{imdb.ARCHIVE}"]


def test_a_root_that_cannot_be_written_is_named(tmp_path, server):
    root = tmp_path / "file"
    root.write_text("no folder")
    with pytest.raises(UserError, match="IMDB cannot be put into .*file: .*ADAM_REPRO_DATA"):
        imdb.load(root)


def test_without_data_or_network_made_up_reviews_stand_in_and_say_so(tmp_path, offline, caplog):
    data = imdb.load(tmp_path / "root", words=100)
    assert (data.name, data.provenance) == ("zipf", "stand-in")
    assert "IMDB is not at" in caplog.text and "make data" in caplog.text
    assert not (tmp_path / "root").exists()


def test_forbidden_to_stand_in_is_an_error_that_names_the_remedy(tmp_path, offline):
    with pytest.raises(UserError, match="IMDB is not at .*ADAM_REPRO_DATA"):
        imdb.load(tmp_path, stand_in="forbid")


def test_only_the_stand_in_looks_at_no_file(tmp_path):
    put(tmp_path)
    assert imdb.load(tmp_path, stand_in="only", words=100).provenance == "stand-in"


@pytest.mark.skipif(
    not (default_root() / "aclImdb").is_dir() or not os.environ.get("ADAM_REPRO_DATA"),
    reason="ADAM_REPRO_DATA is not set, or has no aclImdb",
)
def test_the_real_reviews_are_imdbs(monkeypatch):
    monkeypatch.undo()
    data = fresh(default_root())
    assert (len(data.train_x.columns), len(data.test_x.columns)) == (3_175_045, 3_104_570)
    assert torch.bincount(data.train_y).tolist() == torch.bincount(data.test_y).tolist() == [12_500, 12_500]


def test_reviews_are_held_once_whatever_may_stand_in(tmp_path):
    put(tmp_path)
    first = imdb.load(tmp_path, words=4)
    assert imdb.load(tmp_path, stand_in="forbid", words=4) is imdb.load(tmp_path, stand_in="found", words=4) is first
    assert imdb.load(tmp_path, stand_in="forbid", words=3) is not first


def test_made_up_reviews_are_the_same_each_time():
    data, again = reviews.load(), reviews.load.__wrapped__()
    assert data.train_x.shape == (8_000, 10_000) and data.test_x.shape == (2_000, 10_000)
    assert torch.equal(data.train_x.columns, again.train_x.columns) and torch.equal(data.test_y, again.test_y)
    assert data.checksum == again.checksum != reviews.load(5_000).checksum
    assert data.train_x.columns.sum().item() == again.train_x.columns.sum().item()
    assert not torch.equal(data.train_x[:2000].lengths, data.test_x.lengths)


def test_made_up_reviews_follow_zipfs_law_and_have_no_word_twice():
    x = reviews.load().train_x
    assert 60 <= x.lengths.double().mean() <= 140
    row = torch.arange(len(x)).repeat_interleave(x.lengths)
    assert len((row * x.width + x.columns).unique()) == len(x.columns)
    share = torch.bincount(x.columns, minlength=x.width) / len(x)
    assert share[0] > 0.9 and share[-1000:].mean() < 0.005
    rank = torch.arange(x.width)
    slope = np.polyfit((rank[200:2000] + 3.0).log().numpy(), (share[200:2000] + 1e-4).log().numpy(), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def test_rare_words_tell_the_class_of_a_made_up_review_and_frequent_ones_do_not():
    data = reviews.load()
    row = torch.arange(len(data.train_x)).repeat_interleave(data.train_x.lengths)
    positive = data.train_y[row].double()
    found = torch.bincount(data.train_x.columns, minlength=10_000)
    share = torch.bincount(data.train_x.columns, positive, minlength=10_000) / found.clamp(min=1)
    spread = (share - data.train_y.double().mean()).abs()
    assert spread[:200].mean() < 0.03
    assert spread[200:1000].mean() > 0.08


@pytest.mark.parametrize("words", [1, 7, 300])
def test_made_up_reviews_have_as_many_words_as_wanted(words):
    data = reviews.load(words)
    assert data.train_x.to_dense().shape == (8_000, words)
