"""Figures as files and as SVG for pages: what lies in the folder, equal bytes, and mistakes of users in one line."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.drawn_figures import FigureOptions, SvgFigure, read_figure, rendered
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES
from tests.command_line import Cli, assert_one_line
from tests.project.pages import ROOT, documented


def test_a_folder_gets_each_figure_with_its_rows_and_its_caption(whole: StudyResults, cli: Cli, tmp_path: Path) -> None:
    root, names = Path(str(whole.root)).parent, ["dose_response", "curves"]
    formats = [part for name in ("pdf", "svg", "png") for part in ("--format", name)]
    code, out, err = cli("plot", root, "whole", *names, "--out", tmp_path / "figures", *formats, "--dpi", 100)
    assert (code, err) == (0, "")
    suffixes = ("pdf", "svg", "png", "csv", "txt")
    files = {f"{name}.{suffix}" for name in names for suffix in suffixes} | {"curves-stops.csv"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == files
    assert {Path(line).name for line in out.splitlines()} == files
    view = whole.view("dose_response", by=["augmentation_strength", "ensemble_size"]).to_pandas()
    rows = pd.read_csv(tmp_path / "figures/dose_response.csv")
    assert rows["mean"].to_list() == pytest.approx(view["mean"].to_list(), rel=1e-14)
    caption = (tmp_path / "figures/dose_response.txt").read_text()
    assert (
        "Lines are means over 2 to 3 seeds, points single seeds, bands 95 % intervals of the mean (Student's" in caption
    )
    pdf = (tmp_path / "figures/dose_response.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf  # TrueType, embedded: what journals ask for
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    with Image.open(tmp_path / "figures/dose_response.png") as image:
        assert image.width == int(85 / 25.4 * 100)


def test_equal_rows_give_equal_bytes(whole: StudyResults) -> None:
    options = FigureOptions(formats=("pdf", "svg", "png"), dpi=80)
    first, second = (rendered(read_figure(whole, FIGURES["train_against_val"]), options) for _ in range(2))
    assert first == second
    assert len(set(map(len, first.values()))) == 3


def test_a_figure_for_a_page_is_one_element_whose_ids_are_its_own(whole: StudyResults) -> None:
    figures = [whole.plot.svg(name, size="two-columns") for name in ("pareto", "timeline")]
    ids = []
    for name, figure in zip(("pareto", "timeline"), figures, strict=True):
        assert isinstance(figure, SvgFigure)
        element = ElementTree.parse(io.StringIO(figure.svg)).getroot()
        own = [one.get("id") for one in element.iter() if one.get("id")]
        assert own
        assert all(str(one).startswith(f"{name}-") for one in own)
        used = re.findall(r'(?:url\(#|href="#)([^)"]+)', figure.svg)
        assert used
        assert set(used) <= set(own)
        ids += own
        assert figure.caption.endswith(".")
        assert figure.tables[""].num_rows > 0
    assert len(ids) == len(set(ids))


def test_axes_of_a_users_own_are_drawn_into(whole: StudyResults) -> None:
    figure, axes = pyplot.subplots(1, 3)
    assert whole.plot.triptych(ax=axes) is figure
    assert [one.get_ylabel() for one in axes][1:] == ["Validation fidelity", "Generalization gap"]
    with pytest.raises(QueryError, match=r"^triptych: ax: 1 axes, and the figure has 3 panels$"):
        whole.plot.triptych(ax=axes[0])
    own = whole.plot.dose_response(metric="ece")
    assert own.axes[0].get_ylabel() == "Expected calibration error"
    pyplot.close("all")
    assert {"dose_response", "svg"} <= set(dir(whole.plot))
    with pytest.raises(AttributeError, match=r"'dose' is no figure; possible: dose_response, "):
        whole.plot.dose  # noqa: B018


def test_mistakes_are_one_line_and_nothing_is_written(whole: StudyResults, cli: Cli, tmp_path: Path) -> None:
    out, file = tmp_path / "figures", tmp_path / "file"
    file.write_text("lines.linewidth: wide\n")
    asked = ("plot", Path(str(whole.root)).parent, "whole")
    assert_one_line(cli(*asked, "dose", "--out", out), "'dose' is no figure", "dose_response")
    assert_one_line(cli(*asked, "--out", out, "--format", "gif"), "--format: 'gif'", "pdf")
    assert_one_line(cli(*asked, "--out", out, "--size", "a4"), "--size: 'a4'", "one-column")
    assert_one_line(cli(*asked, "--out", out, "--dpi", "1"), "--dpi: 1 is not from 50 to 1200")
    assert_one_line(cli(*asked, "--out", out, "--metric", "acc"), "'acc' is no metric")
    assert_one_line(cli(*asked, "effects", "--out", out, "--metric", "acc"), "effects: outcome: ", "'acc'")
    assert_one_line(cli(*asked, "timeline", "--out", out, "--metric", "ece"), "timeline: shows metrics of its own")
    assert_one_line(cli(*asked, "timeline", "--out", file), "is a file, and a folder is needed")
    assert_one_line(cli(*asked, "timeline", "--out", out, "--style", file), "--style", "linewidth")
    assert_one_line(cli(*asked, "timeline", "--out", out, "--style", out), "is not a file")
    assert_one_line(cli("plot", asked[1], "whale", "--out", out), "study: 'whale' is not in")
    assert not out.exists()


def test_without_matplotlib_one_line_says_what_to_install(
    whole: StudyResults, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    asked = ("plot", Path(str(whole.root)).parent, "whole", "timeline", "--out", tmp_path / "figures")
    assert_one_line(cli(*asked), "figures need matplotlib", "pip install '.[figures]'")


def test_the_page_lists_every_figure() -> None:
    rows = documented((ROOT / "docs/figures.md").read_text(), "figure", "what it shows", "drawn from")
    listed = [(name.strip("`"), shows, re.findall(r"\w+", views)) for name, shows, views in rows]
    assert listed == [(kind.name, kind.shows, list(kind.views)) for kind in FIGURES.values()]
    named = {query for kind in FIGURES.values() for query in kind.views}
    assert named <= {*NAMED_QUERIES, "analyse"}
