"""The pages of docs/ that tell results say what the committed files say, and grow with them."""

import math
import shutil

import pandas as pd
import pytest
from made_up import write_figure, write_vae_grid

from adam_repro.analysis import findings, report
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT

DOCS, REFERENCE = PROJECT_ROOT / "docs", PROJECT_ROOT / "results" / "reference"
PAGES = ("findings.md", "silent.md")


@pytest.fixture
def docs(tmp_path):
    return shutil.copytree(DOCS, tmp_path / "docs")


@pytest.fixture
def reference(tmp_path):
    return shutil.copytree(REFERENCE, tmp_path / "reference")


def test_the_committed_pages_are_what_the_committed_files_give(docs, reference):
    findings.write(docs, reference)
    for page in PAGES:
        assert (docs / page).read_text() == (DOCS / page).read_text(), "make report SCALE=reference"


def test_a_figure_that_was_run_is_found_in_its_place_with_what_it_is_short_of(docs, reference):
    ends = {("tuned", "Adam"): 0.006, ("tuned", "AdaGrad"): [math.nan, 0.02, 0.02], ("tuned", "RMSProp"): 0.014}
    write_figure(reference / "fig2_dropout", ends, seeds=3, figure="fig2_dropout", epochs=20)
    report.build(reference / "fig2_dropout")
    findings.write(docs, reference)
    text = (docs / "findings.md").read_text()
    before, section = text.split("\n## Figure 2, (a)")
    assert before.count("\n## Figure 1") == 2 and "**reduced: 20 of " in section
    section = section.partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert [row[0].partition(",")[0] for row in rows] == ["| Adam", "| RMSProp", "| AdaGrad"]
    assert rows[0][1].startswith("0.006002 [") and rows[0][2] == "3" and rows[2][1] == "diverged on 1 of 3 seeds"
    assert "\n- L12a, §6.2: " in section and ", n = 3." in section


def test_the_grid_of_figure_4_says_which_of_its_runs_went_on_and_sfo_stands_among_the_ends_of_figure_2(docs, reference):
    write_vae_grid(reference / "fig4", lambda *_: 100.0, seeds=2, milestones=(10,))
    finals = pd.read_csv(reference / "fig4" / "finals.csv")
    later = finals[finals["hyper"].str.contains('"beta1": 0.9') & finals["hyper"].str.contains('"beta2": 0.99,')]
    for those, fewer in ((later, ""), (later[later["seed"] == 0], ", some of them with fewer seeds")):
        pd.concat([finals, those.assign(epochs=100)]).to_csv(reference / "fig4" / "finals.csv", index=False)
        report.build(reference / "fig4")
        findings.write(docs, reference)
        text = (docs / "findings.md").read_text()
        assert f"10 passes (the grid's runs with beta1 0.9, beta2 0.99 also for 100{fewer}), " in text
    assert "\n| SFO, 24 subfunctions | " in text


def test_a_page_without_its_mark_is_refused_by_name(docs, reference):
    (docs / "silent.md").write_text("# Nothing\n")
    with pytest.raises(UserError, match=r"silent\.md must have the line <!-- below: .* once"):
        findings.write(docs, reference)
