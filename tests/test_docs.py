"""Every command and every block of Python in docs/ is run, as tests/pages.py says; pages that lie are found out."""

import contextlib
import re

import pytest
from own_slurm import slurm
from pages import blocks, run_page, small_copy

from adam_repro.surroundings import PROJECT_ROOT

PAGES = sorted((PROJECT_ROOT / "docs").glob("*.md"))
ON_SLURM = {page for page in PAGES if "<!-- needs: slurm -->" in page.read_text()}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    folder = small_copy(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.timeout(600)  # many processes, one after another
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem, marks=[pytest.mark.slurm] * (page in ON_SLURM)) for page in PAGES]
)
def test_a_page_does_what_it_says(page, copy):
    with slurm() if page in ON_SLURM else contextlib.nullcontext(False) as answers:
        run_page(page, copy, there=["slurm"] if answers else [])


LINKED = [PROJECT_ROOT / "README.md", PROJECT_ROOT / "results" / "README.md", *PAGES]


def headings(page):
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_a_link_leads_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        there = (page.parent / path) if path else page
        assert there.exists(), path
        assert not anchor or anchor in headings(there), f"{path}#{anchor}"


LIES = {
    "```sh\nfalse | cat\n```": "left with 1",
    "```console\n$ echo one\ntwo\n```": "the page has",
    "```console\n$ echo one\n...\n$ ls nothing-here\n```": "left with 2",
    "<!-- needs: account -->\n```sh\ntrue\n```": "line 3: true",
    "<!-- not run: needs a cluster -->\n```sh\nmake nothing\npython scripts/no.py\n```": "there is no make nothing",
    "```\nmake help\n```": "has no language",
    "```console\nmake help\n```": "begins with a command",
    "```python\nprint(1)\n```\n\n```text\n2\n```": "the page has",
    "```python\nx = 1\n```\ntext\n```python\nassert x == 2, 'no two'\n```": "no two",
    "```python mine.py\ny = 1\n```": "nothing names mine.py",
    "`mine.py`\n```python mine.py\ny = 1\n```\n```python\nimport mine\nassert mine.y == 2, 'no two'\n```": "no two",
}


@pytest.mark.parametrize("text", LIES)
def test_a_page_that_lies_is_found_out(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "Makefile").write_text("\nhelp:\n")
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    with pytest.raises(AssertionError, match=LIES[text]):
        run_page(page, tmp_path)


def test_files_keys_and_what_is_shown_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "`a/b.yaml`\n\n```yaml a/b.yaml\nx: 1\n```\n"
        "```console\n$ cat a/b.yaml\nx: ...\n$ echo \\\n    whole\nwhole\n```\n"
        "<!-- keys: q -->\n```sh\n"
        "python -c \"import tty; tty.setraw(0); print(1); assert open(0, 'rb', 0).read(1) == b'q'\"\n```\n"
        "```text\nfor reading\n```\n"
    )
    assert [block.language for block in blocks(page)] == ["yaml", "console", "sh", "text"]
    run_page(page, tmp_path)
