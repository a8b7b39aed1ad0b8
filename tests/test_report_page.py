"""The report: one page, self-contained, from files alone."""

import json
import math
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from made_up import write_diagnostics, write_figure, write_passes, write_vae_grid

from adam_repro.analysis import claims, page, report
from adam_repro.analysis.captions import CAPTIONS
from adam_repro.analysis.claims import LEDGER
from adam_repro.analysis.claims.everywhere import OVERVIEW
from adam_repro.analysis.figures import FIGURES
from adam_repro.analysis.headlines import HEADLINES, NOT_RUN, rows_of
from adam_repro.app import CONFIGS
from adam_repro.errors import UserError
from adam_repro.search import node_of
from adam_repro.surroundings import PROJECT_ROOT

REFERENCE = PROJECT_ROOT / "results" / "reference"
FINALS = {("tuned", "Adam"): 0.25, ("tuned", "SGDNesterov"): 0.25, ("tuned", "AdaGrad"): 0.45}
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a reader or a browser finds: tags with their attributes and the tags around them, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.around = [], [], []
        self.feed(text)
        self.close()
        assert not self.around, "a tag is left open"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, attributes, tuple(self.around)))
        if tag not in VOID:
            self.around.append(f"{tag}.{attributes.get('class', '')}")

    def handle_endtag(self, tag):
        assert self.around.pop().split(".")[0] == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, *names):
        return [(tag, attributes) for tag, attributes, _ in self.tags if tag in names]

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def written(results, reference=REFERENCE):
    """The page of figures whose claims are decided, and whose pictures, to save time, are that of another figure."""
    for folder in report.built(results):
        claims.decide(folder).to_csv(folder / "verdicts.csv", index=False)
        shutil.copy(REFERENCE / "online_convex" / "figure.png", folder)
    return page.write(results, reference).read_text()


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """A page with a section of each kind."""
    results = tmp_path_factory.mktemp("results") / "paper"
    write_figure(results / "fig1_mnist", FINALS, grid={("Adam", 0.1): 0.3, ("Adam", 1.0): math.nan})
    for name in ("tuning.csv", "matching.csv"):
        shutil.copy(REFERENCE / "fig1_mnist" / name, results / "fig1_mnist")
    costs = {name: [1.0, 0.1, 0.005] for name in ("Adam", "Adam+dropout", "AdaGrad", "SGDNesterov")}
    write_diagnostics(write_passes(results / "fig3_full", costs, figure="fig3_full"), {"conv1": [0.1, 0.2, 0.6]})
    write_vae_grid(results / "fig4", lambda form, *_: {"corrected": 100.0}.get(form, 101.0), milestones=(10,))
    for name in ("properties", "online_convex"):
        shutil.copytree(REFERENCE / name, results / name)
    (results / "fig2_dropout").mkdir()
    shutil.copy(REFERENCE / "fig2_dropout" / "tuning.csv", results / "fig2_dropout")
    return written(results)


def test_the_page_needs_nothing_but_itself(every):
    shown = Page(every)
    assert not shown.of("script", "iframe", "object", "form", "input")
    for tag, attributes in shown.of("img", "link"):
        assert attributes.get("src", attributes.get("href")).startswith("data:"), tag
    links = {attributes["href"] for _, attributes in shown.of("a")}
    assert {link for link in links if not link.startswith("#")} == {"https://arxiv.org/abs/1412.6980"}
    (style,) = re.findall("<style>(.*?)</style>", every, re.S)
    assert "url(" not in style and "@import" not in style


def test_links_lead_to_places_of_which_there_is_one_each(every):
    shown = Page(every)
    ids = [attributes["id"] for _, attributes, _ in shown.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for _, attributes in shown.of("a") if attributes["href"][0] == "#"} <= set(ids)
    assert set(LEDGER) <= set(ids)


def test_headings_are_in_order_and_pictures_and_tables_can_be_read_out(every):
    shown = Page(every)
    (html,) = shown.of("html")
    assert html[1]["lang"] == "en"
    assert any(attributes.get("name") == "viewport" for _, attributes in shown.of("meta"))
    levels = [int(tag[1]) for tag, _ in shown.of("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(attributes["scope"] in ("row", "col", "rowgroup") for _, attributes in shown.of("th"))
    pictures = [attributes["alt"] for _, attributes in shown.of("img")]
    assert len(pictures) == 5 and all(pictures)
    assert "Final training cost, geometric mean over seeds: Adam 0.25, SGDNesterov 0.25, AdaGrad 0.45." in pictures[0]
    for tag, _, around in shown.tags:
        assert tag not in ("table", "img") or "div.scroll" in around  # wider than a phone: they scroll in their own box


def test_figures_are_in_the_papers_order_and_what_was_not_run_comes_last_with_its_command(every):
    shown = Page(every)
    sections = [attributes["id"] for _, attributes in shown.of("section")]
    order = ["headlines", "overview", "fig1_mnist", "fig3_full", "fig4", "properties", "online_convex", "not-run"]
    assert sections == order
    last = shown.text.split("What was not run is not shown")[1]
    assert "make reproduce SCALE=paper FIGURE=fig2_dropout" in last and "L12a" in last
    trials = pd.read_csv(REFERENCE / "fig2_dropout" / "tuning.csv").query("curve == 'adam'")  # one seed each
    assert f"{trials['train_cost'].min():.4g}" in last, "what was tuned is shown without runs, too"


def test_headlines_are_rows_that_lead_to_their_claims(every):
    table = every.split('<section id="headlines">')[1].split("</table>")[0]
    assert re.findall(r'href="#(\w+)"', table) == list(HEADLINES)
    assert '<span class="verdict supported">supported</span></td><td>0.556 [0.5' in table
    assert "make reproduce SCALE=paper FIGURE=fig1_imdb" in table.split(">L9<")[1]
    assert "<br><small>reduced: 10 of 100 passes</small>" in table.split(">L21a<")[1].split("</tr>")[0]


def test_times_settings_and_origins_are_in_their_figures_section(every):
    text = Page(every.split('<section id="fig1_mnist">')[1].split("</section>")[0]).text
    for words in ("Time to target", "not reached", "5 of 5", "lr 0.001/√epoch, L2 0.0001", "sharply: 2.21 times",
                  "lr 0.1/√t", "Where these numbers come from"):  # fmt: skip
        assert words in text, words
    bench = json.loads((REFERENCE / "bench" / "bench.json").read_text())
    assert f"({bench['hardware']['processor']})" in text


def test_a_level_that_no_curve_reaches_takes_one_row(tmp_path):
    costs = {"Adam": [0.7, 0.29], "AdaGrad": [0.7, 0.6]}
    write_passes(tmp_path / "fig1_mnist", costs)
    text = Page(written(tmp_path)).text
    assert "not reached by any of 2 curves" in text and "Adam 15, AdaGrad not reached" in text
    assert text.count("not reached by any") == 2 and "5 of 5" in text


def test_equal_files_give_equal_bytes(tmp_path):
    write_figure(tmp_path / "fig1_mnist", FINALS)
    assert written(tmp_path) == written(tmp_path)


def test_stand_in_data_are_said_first_and_in_their_section(tmp_path):
    write_figure(tmp_path / "fig1_mnist", FINALS, provenance="stand-in")
    text = Page(written(tmp_path)).text
    assert text.index("STAND-IN DATA") < text.index("Contents")
    assert text.count("STAND-IN DATA") == 2 and "Real data" not in text
    assert "Faint and wide" not in text and "not testable" in text


def test_a_short_run_is_said_to_be_one(tmp_path):
    write_figure(tmp_path / "fig1_mnist", FINALS, epochs=5)
    assert "Reduced: 5 of 46 passes." in Page(written(tmp_path)).text


def test_without_a_bench_there_are_no_seconds(tmp_path):
    write_figure(tmp_path / "quick" / "fig1_mnist", FINALS)
    assert "Seconds" not in written(tmp_path / "quick", tmp_path / "nowhere")


def test_every_seed_that_diverged_is_said_where_pictures_are_read_out(tmp_path):
    write_figure(tmp_path / "fig1_mnist", FINALS | {("tuned", "AdaGrad"): [0.4, math.nan, 0.4]})
    assert "AdaGrad diverged." in Page(written(tmp_path)).of("img")[0][1]["alt"]


def test_a_figure_that_was_not_drawn_to_the_end_is_not_shown(tmp_path):
    write_figure(tmp_path / "fig1_mnist", FINALS)
    text = written(tmp_path)
    write_figure(tmp_path / "fig1_imdb", FINALS, figure="fig1_imdb")  # as where a command was stopped before drawing
    assert page.write(tmp_path, REFERENCE).read_text() == text


def test_nothing_to_show_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(UserError, match="quick holds no results. Run `make reproduce SCALE=quick` first."):
        page.write(tmp_path / "quick", REFERENCE)


def test_a_figure_that_the_paper_has_not_needs_no_page(tmp_path):
    write_figure(tmp_path / "mine", FINALS, figure="mine")
    assert page.write(tmp_path, REFERENCE) is None and not (tmp_path / page.NAME).exists()


def test_a_claim_without_a_verdict_is_entered_as_not_run_with_its_command():
    (row,) = rows_of(["L22"], pd.DataFrame(columns=["claim"]))
    assert (row["verdict"], row["n"]) == (NOT_RUN, 0)
    assert row["note"] == "make reproduce SCALE=paper FIGURE=fig4"


def test_headlines_are_claims_and_every_figure_has_its_words():
    assert set(HEADLINES) <= set(LEDGER) and len(set(HEADLINES)) == len(HEADLINES)
    assert set(CAPTIONS) == set(FIGURES) >= {claim.figure for claim in LEDGER.values()} - {OVERVIEW}
    trained = [name for name in CAPTIONS if (CONFIGS / "figure" / f"{name}.yaml").is_file()]
    assert {name for name in trained if node_of(name).get("milestones")} == {
        name for name, caption in CAPTIONS.items() if caption.at_milestones
    }
