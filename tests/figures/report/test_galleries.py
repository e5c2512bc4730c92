"""Reports with galleries, of a study whose networks are there, and of one whose networks are gone."""

import re
import shutil
from pathlib import Path

import pypdfium2
import pytest

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.drawn_figures import FigureOptions, svg_of
from kd_sweep.figures.report.formats.pdf_pages import pdf_pages
from kd_sweep.figures.report.galleries import galleries
from kd_sweep.figures.report.report_content import ReportFigure, read_content
from kd_sweep.handles.root_results import open_results
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.study.file.frozen import parse_frozen
from tests.trained_studies import train_study

STUDY = """
name: s
data: {name: digits, image_size: 8, max_train_images: 60, max_val_images: 40}
teacher: {model: resnet8, width: 4, epochs: 1}
student: {model: resnet8, width: 4, epochs: 1}
search:
  augmentation_strength: {grid: [0.0, 0.5, 1.0]}
  ensemble_size: {grid: [2]}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("galleries")
    train_study(folder, STUDY)
    return folder


def picture(page: str, name: str) -> str:
    """Return the figure of a name on a page of HTML."""
    found = re.search(rf'<article class="figure">\s*<h3 id="figure-{name}">.*?</article>', page, re.DOTALL)
    assert found is not None
    return found[0]


def of(root: Path) -> StudyResults:
    return open_results(root)["s"]


def sheets(root: Path) -> list[ReportFigure]:
    """Return the galleries of the study alone, read anew."""
    frozen = parse_frozen((root / "s/study.yaml").read_text(), "the study file")
    drawn, missing = galleries(open_results(root)["s"], frozen)
    assert missing == []
    return [
        ReportFigure(name, title, "", drawing, " ".join(drawing.caption), [])
        for name, (title, drawing) in drawn.items()
    ]


def test_html_has_both_sheets_and_stays_small(root: Path, tmp_path: Path) -> None:
    study = of(root)
    content = study.report(tmp_path / "s.html", galleries=True).read_bytes()
    assert len(content) < 2_000_000
    page = content.decode()
    # Two trials of three networks, and the images themselves, and the scale of maps; six images each.
    assert picture(page, "attention_gallery").count("<image") == 2 * 3 * 6 + 6 + 1
    assert picture(page, "augmentation_gallery").count("<image") == (1 + 3) * 6
    assert study.table("trials").num_rows == 3


def test_again_the_sheets_have_equal_bytes_in_every_format(root: Path) -> None:
    options = FigureOptions(size="two-columns", dpi=150)
    first, second = (sheets(root) for _ in range(2))
    assert [one.name for one in first] == ["attention_gallery", "augmentation_gallery"]
    for one, other in zip(first, second, strict=True):
        assert svg_of(one.name, one.drawing, options) == svg_of(other.name, other.drawing, options)
    assert pdf_pages(first, "", "the sheets") == pdf_pages(second, "", "the sheets")


def test_pdf_has_a_page_for_each_sheet_with_the_trials_shown(root: Path, tmp_path: Path) -> None:
    study = of(root)
    content = study.report(tmp_path / "s.pdf", galleries=True).read_bytes()
    text = "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(content))
    assert "Where the networks look" in text
    assert "What the strengths do" in text
    lowest, middle, highest = study.table("trials").sort_by("augmentation_strength")["trial_id"].to_pylist()
    assert f"Trial {lowest}" in text
    assert f"Trial {highest}" in text
    assert f"Trial {middle}" not in text


def test_networks_that_are_gone_are_a_line_among_the_limits(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "root")
    shutil.rmtree(tmp_path / "root/s/checkpoints")
    content = read_content(of(tmp_path / "root"), "", with_galleries=True)
    (line,) = [line for line in content.limits if "attention_gallery" in line]
    assert "checkpoint" in line
    assert [one.name for one in content.figures if one.name.endswith("_gallery")] == ["augmentation_gallery"]


@pytest.mark.parametrize("name", ["s.md", "s.tex"])
def test_formats_without_pictures_refuse_galleries(root: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(QueryError, match=r"--galleries: .* has no pictures in it; possible: html, pdf"):
        of(root).report(tmp_path / name, galleries=True)
    assert not (tmp_path / name).exists()
