"""`make verify` names what is not whole, with its remedy, and says nothing of what is."""

from __future__ import annotations

import time

import pytest
from commands import run
from made_records import CONFIG, curve_of, folder_of, meta_of
from test_imdb import TEXTS
from test_imdb import put as put_reviews

from adam_repro import records, verifying
from adam_repro.data import caching, fetching, imdb, mnist
from adam_repro.surroundings import PROJECT_ROOT


def record(results, seed=0):
    config = {**CONFIG, "seed": seed}
    folder = folder_of(results, config)
    records.write(folder, config, curve_of(config, 2), meta_of(config))
    return folder


def index(results, folders, figure="fig4", scale="paper"):
    entry = {"arm": "tuned", "curve": "Adam", "tuned_at": None, "tuned_on": None, "on_grid_edge": False}
    order = ["arm", "curve", "seed", "tuned_at", "tuned_on", "on_grid_edge", "record"]
    lines = [{**entry, "seed": seed, "record": str(folder.relative_to(results))} for seed, folder in enumerate(folders)]
    path = results / scale / figure / "index.csv"
    records.write_index(path, [{name: line[name] for name in order} for line in lines])
    return path


@pytest.fixture
def results(tmp_path):
    folders = [record(tmp_path, seed) for seed in range(3)]
    index(tmp_path, folders)
    return tmp_path, folders


def problems(results):
    kept, found = verifying.check_records(results)
    return kept, verifying.check_indexes(results, found)


def test_what_is_whole_is_counted_and_nothing_is_said_of_it(results):
    kept, indexes = problems(results[0])
    assert (kept.whole, kept.problems, kept.notes) == (3, [], [])
    assert (indexes.whole, indexes.problems) == (1, [])
    assert "Everything is as it was written." in verifying.table([kept, indexes])


def test_a_damaged_record_is_a_problem_of_its_own_and_of_each_index_that_points_to_it(results):
    root, folders = results
    (folders[1] / "curve.csv").write_bytes((folders[1] / "curve.csv").read_bytes()[:-1])
    kept, indexes = problems(root)
    assert kept.whole == 2 and indexes.whole == 0
    (said,), (also,) = kept.problems, indexes.problems
    assert str(folders[1] / "curve.csv") in said and "run it again" in said
    assert f"points to 1 records that are no whole ones, as {folders[1].relative_to(root)}" in also
    shown = verifying.table([kept, indexes])
    assert said in shown and also in shown and "Everything" not in shown


def test_an_unfinished_run_is_named_as_one_with_how_to_go_on(results):
    root, folders = results
    (folders[2] / "meta.json").unlink()
    (said,) = problems(root)[0].problems
    assert said.startswith(f"{folders[2]} is an unfinished run. Start the command that began it again")


@pytest.mark.parametrize(
    "place",
    [
        ".curve.csv-abcd1234",
        "../../../paper/.verdicts.csv-abcd1234",
        "../../../paper/fig4/.index.csv-abc_1234",
        "../../../paper/fig4/tuned/.adam.yaml-abc_1234",
        "../../../compare/paper/fig4/NAdam/.figure.svg-abc_1234",
        "../../../compare/paper/fig4/NAdam/tuning/.index.csv-abc_1234",
    ],
)
def test_what_a_write_that_was_cut_off_has_left_is_named(results, place):
    root, folders = results
    (folders[0] / place).parent.resolve().mkdir(parents=True, exist_ok=True)
    (folders[0] / place).touch()
    kept, indexes = problems(root)
    (said,) = kept.problems + indexes.problems
    assert place.rpartition("/")[2] in said and "was left by a write that was cut off. Delete it" in said
    assert kept.whole == 3


@pytest.mark.parametrize("place", ["notes.txt", "checkpoint.pt", "../notes.txt", "../../notes.txt"])
def test_a_foreign_file_is_named(results, place):
    root, folders = results
    (folders[0] / place).touch()
    (said,) = problems(root)[0].problems
    assert place.rpartition("/")[2] in said and "Move it elsewhere" in said


def test_a_record_under_another_name_is_named(results):
    root, folders = results
    folders[0].rename(folders[0].with_name("mine"))
    kept, _ = problems(root)
    assert "mine has the record of another run: of vae, seed 0" in kept.problems[0]


def test_an_index_of_other_seeds_and_one_of_two_curve_versions_are_named(results, monkeypatch):
    root, folders = results
    index(root, folders[::-1], "fig3")
    monkeypatch.setattr(records, "CURVE_VERSION", records.CURVE_VERSION + 1)
    index(root, [*folders, record(root, 3)], "fig2")
    kept, indexes = problems(root)
    assert kept.problems == [] and "3 records are of an older curve version" in kept.notes[0]
    assert "fig2/index.csv points to records of the curve versions [1, 2]" in indexes.problems[0]
    assert "fig3/index.csv has another seed than the record" in indexes.problems[1]


@pytest.mark.parametrize("place", ["compare/paper/fig4/NAdam", "compare/paper/fig4/NAdam/tuning", "paper/fig4/tuning"])
def test_an_index_of_a_comparison_and_one_of_trials_are_checked_as_those_of_figures(results, place):
    root, folders = results
    scale, _, name = place.rpartition("/")
    index(root, folders, name, scale)
    assert problems(root)[1].whole == 2
    index(root, folders[::-1], name, scale)
    (said,) = problems(root)[1].problems
    assert f"{place}/index.csv has another seed than the record" in said and "Run again the command" in said


def test_indexes_are_sought_neither_among_runs_nor_in_the_folders_of_wandb(results):
    root, folders = results
    for place in (root / "runs", folders[0].parent, root / "paper" / "fig4" / "wandb" / "run-1"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "index.csv").write_text("no index")
    _, indexes = problems(root)
    assert (indexes.whole, indexes.problems) == (1, [])


def test_results_that_lie_elsewhere_are_checked_through_their_link(results, tmp_path_factory):
    root, _ = results
    scratch = tmp_path_factory.mktemp("scratch") / "quick"
    (root / "paper").rename(scratch)
    (root / "paper").symlink_to(scratch)
    assert problems(root)[1].whole == 1


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """A few reviews, decoded and cached as the default settings have them."""
    monkeypatch.setattr(imdb, "REVIEWS", 2)
    monkeypatch.setattr(imdb, "WORDS", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    folder = put_reviews(tmp_path, TEXTS)
    imdb.read(folder, 4)
    return folder


def test_data_that_are_there_are_checked_and_others_are_no_problem(reviews):
    data, caches = verifying.check_data(reviews.parent)
    assert (data.whole, caches.whole, data.problems + caches.problems + caches.notes) == (1, 1, [])
    assert "IMDB: 8 reviews, by their number and as text." in data.notes
    assert "MNIST is not there; `make data` gets it, and until then a stand-in serves." in data.notes


def test_damaged_data_are_named(reviews):
    (reviews / "test/pos/0_7.txt").write_bytes(b"\xff\xff")
    (reviews.parent / "MNIST" / "raw").mkdir(parents=True)
    data, _ = verifying.check_data(reviews.parent)
    assert data.whole == 0 and len(data.problems) == 2
    assert f"{next(iter(mnist.FILES))} is missing" in data.problems[0]
    assert "0_7.txt is no UTF-8" in data.problems[1]


@pytest.mark.parametrize("below", [".", "MNIST"])
def test_what_a_download_that_was_cut_off_has_left_is_named_and_costs_no_note_on_caches(reviews, below):
    (reviews / "test/pos/0_7.txt").write_text("another review")
    with fetching.workplace("IMDB", reviews.parent / below) as left:
        (left / "half").touch()
        data, caches = verifying.check_data(reviews.parent)
    assert data.whole == 1 and len(caches.notes) == 1
    (said,) = data.problems
    assert said.startswith(f"{left} was left by a download that was cut off. Delete it")


def test_a_damaged_cache_is_named_and_left_alone(reviews):
    (array,) = (reviews / caching.FOLDER).rglob("train_columns.npy")
    array.write_bytes(array.read_bytes()[:-1])
    _, caches = verifying.check_data(reviews.parent)
    assert f"{array.parent} is a damaged cache" in caches.problems[0] and "it is made anew" in caches.problems[0]
    assert array.exists()


def test_a_cache_of_files_as_they_were_is_noted(reviews):
    (reviews / "test/pos/0_7.txt").write_text("another review")
    _, caches = verifying.check_data(reviews.parent)
    assert caches.problems == [] and caches.whole == 1
    assert "is not of the files as they are now" in caches.notes[0]


def test_a_loader_says_that_a_cache_was_damaged(reviews, caplog):
    (array,) = (reviews / caching.FOLDER).rglob("train_columns.npy")
    array.write_bytes(array.read_bytes()[:-1])
    imdb.read(reviews, 4)
    assert (
        f"{array.parent} is a damaged cache" in caplog.text
        and "Delete it: it is made anew. This is done now" in caplog.text
    )


def test_the_command_shows_a_table_and_its_status_is_the_answer(results, tmp_path):
    root, folders = results
    words = [PROJECT_ROOT / "scripts" / "verify.py", "--results", str(root)]
    environment = {"ADAM_REPRO_DATA": str(tmp_path / "none"), "PATH": "", "HOME": str(tmp_path)}
    shown = run(*words, cwd=tmp_path, environment=environment)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"records in {root / 'runs'}" in shown.stdout
    (folders[0] / "config.yaml").unlink()
    shown = run(*words, cwd=tmp_path, environment=environment)
    assert shown.returncode == 1 and f"{folders[0] / 'config.yaml'} is missing" in shown.stdout
    shown = run(*words[:-1], str(root / "nowhere"), cwd=tmp_path, environment=environment)
    assert shown.returncode == 1 and f"Error: --results={root / 'nowhere'} is no folder." in shown.stderr


def test_a_record_takes_two_milliseconds_of_one_core_at_most(tmp_path):
    config = {**CONFIG, "epochs": 46}
    for seed in range(100):
        given = {**config, "seed": seed}
        records.write(folder_of(tmp_path, given), given, curve_of(given, 46), meta_of(given))
    fastest = min(timed(tmp_path) for _ in range(10))  # other processes slow it, and nothing makes it faster
    assert fastest / 100 < 2e-3, "10,000 records are to take 20 s"


def timed(results):
    began = time.process_time()
    assert verifying.check_records(results)[0].whole == 100
    return time.process_time() - began
