"""The report: its numbers against pandas and scipy, equal bytes, what is stale, what it escapes, and in a browser."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
import yaml
from scipy import stats

from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.report.citations import SOFTWARE
from kd_sweep.handles.root_results import open_results
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.study.file.load import parse_spec
from kd_sweep.tables.notes import add_note
from tests.command_line import Cli, assert_one_line
from tests.figures.plots.plotted_studies import EDGES, OF_ARMS, write_study
from tests.figures.report.page_tables import Tables
from tests.project.pages import ROOT
from tests.service.page.browsing import AXE, CHROMIUM, PHONE, WHY_NOT, browser

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m"


@pytest.fixture(scope="module")
def report(whole: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole.report(tmp_path_factory.mktemp("report") / "whole.html")


def frame(study: StudyResults, table: str) -> pd.DataFrame:
    return pd.read_parquet(f"{study.root}/{table}")


def test_its_numbers_are_those_of_the_parquet_files(whole: StudyResults, report: Path) -> None:
    page = Tables(report.read_text())
    trials = frame(whole, "trials")
    assert page.frame("Trials").set_index("status")["trials"].astype(int).to_dict() == dict(
        trials["status"].value_counts()
    )
    cost = page.frame("Cost: each training reserves 1 CPU core").set_index("of").astype(float)
    hours = trials["train_s"].sum() / 3600
    assert cost.loc["students"].to_list() == pytest.approx([len(trials), hours, hours], abs=5e-5)
    assert cost.loc["both"].to_list() == cost.loc["students"].to_list()
    assert page.fact("Epochs of students") == str(len(frame(whole, "epochs")))
    best = trials.loc[trials["val_accuracy"].idxmax()]
    assert any(f"{best['val_accuracy']:.4f}: {best['trial_id']} (" in text for text in page.texts)
    completed = trials[trials["status"] == "completed"]
    of_two = trials[trials["status"].isin(["completed", "stopped"]) & (trials["ensemble_size"] == 2)]
    overlap = of_two.set_index(["seed", "augmentation_strength"])["attention_overlap_teachers"].unstack()
    change = overlap[1.0] - overlap[0.0]
    interval = stats.t.interval(0.95, len(change) - 1, change.mean(), stats.sem(change))
    effects = page.frame("Effects on the objectives and on what the claims are about")
    row = effects[(effects["outcome"] == "Attention overlap, teachers")].iloc[0]
    assert float(row["change"]) == pytest.approx(change.mean(), abs=5e-5)
    assert json.loads(row["Student's t interval"]) == pytest.approx(interval, abs=5e-5)
    assert int(row["seeds"]) == len(change)
    drawn = page.frame("What is drawn: Dose and response")
    means = completed.groupby(["augmentation_strength", "ensemble_size"])["val_accuracy"].mean()
    assert drawn["mean"].astype(float).to_list() == pytest.approx(means.to_list(), abs=5e-5)


def test_it_has_the_sentences_of_analyse_every_figure_and_a_study_file_to_launch(
    whole: StudyResults, report: Path, cli: Cli
) -> None:
    text = report.read_text()
    shown = unescape(re.sub(r"<[^>]+>", "", text))
    _, out, _ = cli("analyse", Path(str(whole.root)).parent, "whole", "--format", "json")
    sentences = [row["sentence"] for row in json.loads(out)["verdicts"]]
    assert len(sentences) > 5
    assert all(sentence in shown for sentence in sentences)
    assert re.findall(r'<h3 id="figure-(\w+)">', text) == [name for name in FIGURES if name not in OF_ARMS]
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    study_file = shown[shown.index("name: whole\n") : shown.index("How to cite")]
    assert parse_spec(study_file, "the report") == whole.spec
    assert "ray changed while the study ran (2.60.0, 2.60.1 since 2026-01-02)" in shown
    assert "Attention maps are cam: " in shown
    assert "3 trials stopped early by the scheduler" in shown
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert all(cited[key].replace("_", "\\_") in SOFTWARE for key in ("title", "version", "license"))


def test_again_it_has_the_same_bytes_and_a_change_of_the_tables_makes_it_stale(cli: Cli, tmp_path: Path) -> None:
    study = write_study(tmp_path / "root", "edge", strengths=(0.5,), sizes=(1,), seeds=(0,))
    out = tmp_path / "edge.html"
    asked = ("report", tmp_path / "root", "edge", "--out", out)
    assert_one_line(cli(*asked, "--check"), "does not exist")
    assert cli(*asked)[0] == 0
    first = out.read_bytes()
    shutil.copytree(tmp_path / "root", tmp_path / "elsewhere/root")
    again = open_results(tmp_path / "elsewhere/root")["edge"].report(tmp_path / "again.html")
    assert again.read_bytes() == first
    assert str(tmp_path).encode() not in first
    code, _, err = cli(*asked, "--check")
    assert (code, err) == (0, f"{out} is up to date\n")
    add_note(study.root, HOSTILE)
    code, _, err = cli(*asked, "--check")
    assert (code, err) == (1, f"{out} is stale: the tables of the study have changed since\n")
    assert out.read_bytes() == first
    assert cli(*asked)[0] == 0
    assert cli(*asked, "--check")[0] == 0
    page = Tables(out.read_text())
    assert HOSTILE.replace("\x1b", "\\x1b") in page.tables["Notes"][1]
    assert not page.tags & {"script", "img"}
    out.write_text(out.read_text().replace('"kd-sweep-version" content="', '"kd-sweep-version" content="0.0.'))
    code, _, err = cli(*asked, "--check")
    assert code == 1
    assert "kd_sweep 0.0." in err


def test_what_is_there_already_stays_and_mistakes_are_one_line(
    whole: StudyResults, report: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, own, other = Path(str(whole.root)).parent, tmp_path / "thesis.html", tmp_path / "other.html"
    own.write_text("<!DOCTYPE html><title>mine</title>")
    other.write_text(report.read_text().replace('"kd-sweep-study" content="whole"', '"kd-sweep-study" content="half"'))
    for file, reason in ((own, "no report of kd-sweep"), (other, "is the report of study 'half'")):
        before = file.read_bytes()
        assert_one_line(cli("report", root, "whole", "--out", file), reason)
        assert_one_line(cli("report", root, "whole", "--out", file, "--check"), reason)
        assert file.read_bytes() == before
    assert_one_line(cli("report", root, "whale", "--out", tmp_path / "new.html"), "'whale' is not in", "whole")
    assert_one_line(cli("report", root, "whole", "--out", tmp_path), "is a folder")
    assert_one_line(cli("report", root, "whole", "--out", tmp_path / "no/new.html"), "make it first")
    assert_one_line(cli("report", root, "whole", "--out", "s3://bucket/new.html"), "no path on this machine")
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    assert_one_line(cli("report", root, "whole", "--out", tmp_path / "new.html"), "Jinja2", "pip install '.[figures]'")
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.html", "other.html"}


SAID = {
    "no trial": ("No trial has begun.", "The study has none yet.", "None: "),
    "one trial": ("1 trial: 1 completed.", "1 seed: no difference", "effects need at least two strengths"),
    "all failed": ("18 trials: 18 failed.", "18 trials failed: averages are without them.", "None: "),
    "running": ("18 trials: 18 interrupted.", "18 trials not finished", "None: "),
}


@pytest.mark.parametrize(
    "edge", [pytest.param(edge, marks=() if edge == "no trial" else pytest.mark.long) for edge in SAID]
)
def test_a_study_that_lacks_something_has_a_report_that_says_so(edge: str, tmp_path: Path) -> None:
    text = unescape(EDGES[edge](tmp_path).report(tmp_path / "edge.html").read_text())
    for said in SAID[edge]:
        assert said in text


def test_errors_of_trials_are_grouped_and_escaped(tmp_path: Path) -> None:
    failed = {"status": "failed", "last_epoch": 0}
    errors = [HOSTILE, "out of memory", "out of memory", "out of memory"]
    study = write_study(
        tmp_path,
        "edge",
        strengths=(0.5,),
        sizes=(1, 2),
        seeds=(0, 1),
        change=lambda n, _: failed | {"error": errors[n]},
    )
    page = Tables(study.report(tmp_path / "edge.html").read_text())
    rows = page.frame("Trials without a result")
    assert rows["reason"].to_list() == ["out of memory", HOSTILE.replace("\x1b", "\\x1b")]
    assert rows["trials"].to_list() == ["3", "1"]
    assert not page.tags & {"script", "img"}


@pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)
def test_a_browser_without_a_network_shows_and_prints_all_of_it(report: Path) -> None:
    said: list[str] = []
    with browser() as started:
        page = started.new_context(offline=True, color_scheme="dark").new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on(
            "request", lambda request: said.extend([] if request.url.startswith(("file:", "data:")) else [request.url])
        )
        page.goto(report.as_uri())
        for folded in page.locator("article:first-child details, #again details").all():
            folded.locator("summary").click()
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        page.set_viewport_size(PHONE)
        page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
        pdf = page.pdf(format="A4", tagged=True)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 660, "height": 980})  # A4 between its margins
        page.wait_for_function(
            "() => document.documentElement.scrollWidth <= innerWidth"
            " && [...document.querySelectorAll('figure')].every(one => one.scrollHeight < 980"
            " && getComputedStyle(one).breakInside === 'avoid' && one.querySelector('svg').clientWidth <= 660)"
        )
    titles = {title.decode() for title in re.findall(rb"/Alt \(([^)]+)\)", pdf)}
    assert {kind.title for kind in FIGURES.values() if kind.name not in OF_ARMS} <= titles
    assert said == []
    assert report.stat().st_size < 1_000_000
