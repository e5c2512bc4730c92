"""Reports as Markdown, LaTeX and PDF, and of several studies: numbers against pandas, what other programs read."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pypdfium2
import pytest
from scipy import stats

from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.tables.notes import add_note
from tests.command_line import Cli, assert_one_line
from tests.figures.plots.plotted_studies import OF_ARMS, write_study
from tests.figures.report.page_tables import Tables

NOTE = r"\input{secret} $x_1$ & 100% #1 ~^{} --option `ls` <b> |a| [1] 中文 ±é"
"""What means something to Markdown, to LaTeX or to both."""
NOT_DRAWN = {"fidelity_by_size", "best_strength", *OF_ARMS}
"""Of one size and two strengths."""
MARKS = re.compile(rb"kd-sweep-study=(\S+) kd-sweep-version=\S+ kd-sweep-tables=([0-9a-f]{64})")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study of two strengths and one size, whose note no format may obey."""
    study = write_study(tmp_path_factory.mktemp("small"), "small", strengths=(0.0, 1.0), sizes=(2,))
    add_note(study.root, NOTE)
    return study


@pytest.fixture(scope="module")
def small_pdf(small: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small.report(tmp_path_factory.mktemp("pdf") / "small.pdf").read_bytes()


def frame(study: StudyResults) -> pd.DataFrame:
    return pd.read_parquet(f"{study.root}/trials")


def means(study: StudyResults, outcome: str) -> dict[float, tuple[float, float, float]]:
    """Return by strength the mean over seeds and its interval."""
    groups = frame(study).groupby("augmentation_strength")[outcome]
    found = {}
    for strength, values in groups:
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        found[float(strength)] = (values.mean(), low, high)
    return found


def numbers(cell: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", cell)]


def markdown_rows(text: str, caption: str) -> list[dict[str, str]]:
    """Return the rows of a table as GitHub reads it: cells between bars that are not escaped."""
    lines = text[text.index(f"**{caption}") :].split("\n\n")[1].splitlines()
    cells = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in lines]
    head, rule, *rows = [[cell.strip() for cell in row] for row in cells]
    assert all(re.fullmatch(r":?-{3,}:?", cell) for cell in rule)
    return [dict(zip(head, row, strict=True)) for row in rows]


def pdf_text(content: bytes) -> str:
    document = pypdfium2.PdfDocument(content)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def test_markdown_has_means_with_intervals_and_no_markup_of_others(small: StudyResults, tmp_path: Path) -> None:
    text = small.report(tmp_path / "small.md").read_text()
    rows = markdown_rows(text, "Means over seeds by setting")
    for label, outcome in (("Validation accuracy", "val_accuracy"), ("Expected calibration error", "ece")):
        expected = means(small, outcome)
        assert {
            float(row["Augmentation strength"]): pytest.approx(expected[float(row["Augmentation strength"])], abs=6e-5)
            for row in rows
        } == {float(row["Augmentation strength"]): tuple(numbers(row[label])) for row in rows}
    assert [row["Seeds"] for row in rows] == ["3", "3"]
    others = markdown_rows(text, "Effects on other metrics")
    (entropy,) = [row for row in others if row["outcome"] == "Entropy student"]
    by_strength = frame(small).groupby("augmentation_strength")["entropy_student"].mean()
    assert numbers(entropy["change"])[0] == pytest.approx(by_strength[1.0] - by_strength[0.0], abs=6e-5)
    trials = frame(small)
    (accuracy,) = [
        row
        for row in markdown_rows(text, "Rank correlations (Spearman)")
        if (row["x"], row["y"]) == ("Augmentation strength", "Validation accuracy")
    ]
    rho = stats.spearmanr(trials["augmentation_strength"], trials["val_accuracy"]).statistic
    assert numbers(accuracy["rho"])[0] == pytest.approx(rho, abs=6e-5)
    (note,) = markdown_rows(text, "Notes")
    assert (
        re.sub(r"\\([\\`*_\[\]|~])", r"\1", note["note"])
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        == NOTE
    )
    assert "<b>" not in text
    pictures = re.findall(r"^!\[[^]]+\]\((\S+)\)$", text, re.MULTILINE)
    assert {Path(picture).stem for picture in pictures} == {*FIGURES} - NOT_DRAWN
    assert {Path(picture).parent.as_posix() for picture in pictures} == {"figures/small"}
    assert "--out figures/small" in text


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is absent: apt install texlive-latex-recommended"
)
def test_latex_sets_the_tables_and_obeys_nothing_of_a_study(small: StudyResults, tmp_path: Path) -> None:
    file = small.report(tmp_path / "small.tex")
    source = file.read_text()
    assert source.count(r"\toprule") == 2 * source.count(r"\bottomrule") > 10
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", file.name]
    for _ in range(2):  # longtable takes widths from the run before
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "small.log").read_text(errors="replace")
    assert all(float(beyond_pt) < 6 for beyond_pt in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log))
    text = " ".join(pdf_text((tmp_path / "small.pdf").read_bytes()).split())
    for part in (r"\input{secret} $x_1$ & 100% #1", "`ls` <b> |a| [1]", "U+4E2D", "±é"):
        assert part.replace(" ", "") in text.replace(" ", "")
    for mean, low, high in means(small, "val_accuracy").values():
        assert all(f"{abs(value):.4f}" in text for value in (mean, low, high))


def test_no_line_of_a_caption_is_cut_at_the_edge_of_a_page(small_pdf: bytes) -> None:
    for page in pypdfium2.PdfDocument(small_pdf):
        text = page.get_textpage()
        for index in range(text.count_rects()):
            left, _, right, _ = text.get_rect(index)
            assert 0 <= left < right <= page.get_width()


def test_pdf_has_every_figure_and_the_numbers(small: StudyResults, small_pdf: bytes) -> None:
    text = pdf_text(small_pdf)
    titles = {kind.title for kind in FIGURES.values() if kind.name not in NOT_DRAWN}
    assert all(re.search(rf"^{re.escape(title)}\s*$", text, re.MULTILINE) for title in titles)
    for mean, low, high in means(small, "val_accuracy").values():
        assert f"{mean:.4f}" in text
        assert f"[{low:.4f}, {high:.4f}]" in text
    assert r"\input{secret} $x_1$ & 100% #1 ~^{} --option" in text
    document = pypdfium2.PdfDocument(small_pdf)
    widths = {round(page.get_width() / 72 * 25.4) for page in document}
    assert widths == {210, 174}  # A4, and figures in two columns


def test_several_studies_stand_side_by_side(small: StudyResults, cli: Cli, tmp_path: Path) -> None:
    root = Path(str(small.root)).parent
    larger = write_study(root, "larger", strengths=(0.0, 1.0), sizes=(2,), seeds=(0, 1, 2, 3))
    out = tmp_path / "both.html"
    assert cli("report", root, "small", "larger", "--out", out)[0] == 0
    text = out.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    page = Tables(text)
    assert page.frame("Settings that differ").iloc[0].to_list() == ["search.seed.grid", "[0, 1, 2]", "[0, 1, 2, 3]"]
    (caption,) = [one for one in page.tables if one.startswith("What metrics change by")]
    row = page.frame(caption).set_index("outcome").loc["Validation accuracy"]
    for name in ("small", "larger"):
        trials = pd.read_parquet(f"{root}/{name}/trials").set_index(["seed", "augmentation_strength"])
        by_seed = trials["val_accuracy"].unstack()
        change = by_seed[1.0] - by_seed[0.0]
        low, high = stats.t.interval(0.95, len(change) - 1, change.mean(), stats.sem(change))
        assert numbers(row[name]) == pytest.approx([change.mean(), low, high], abs=6e-5)
    assert cli("report", root, "small", "larger", "--out", out, "--check")[0] == 0
    assert_one_line(cli("report", root, "larger", "--out", out), "is the report of study 'small+larger'")
    add_note(larger.root, "new")
    code, _, err = cli("report", root, "small", "larger", "--out", out, "--check")
    assert (code, err) == (1, f"{out} is stale: the tables of the studies have changed since\n")


def marks_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        yield path.suffix, MARKS.findall(path.read_bytes())[0][0]


def test_a_format_is_known_by_its_name_or_the_file_s_ending_and_has_equal_bytes(cli: Cli, tmp_path: Path) -> None:
    """Of a study without figures, which have equal bytes by themselves (`tests/figures/plots/test_figure_files.py`)."""
    write_study(tmp_path / "root", "edge", strengths=())
    out = tmp_path / "reports"
    out.mkdir()
    asked = ("report", tmp_path / "root", "edge", "--out")
    for name in ("one.md", "one.tex", "one.pdf"):
        assert cli(*asked, out / name)[0] == 0
        assert cli(*asked, out / name, "--check")[0] == 0
        assert cli(*asked, tmp_path / name)[0] == 0
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()
    assert cli(*asked, out / "one.txt", "--format", "md")[0] == 0
    assert (out / "one.txt").read_bytes() == (out / "one.md").read_bytes()
    assert dict(marks_of(out)) == dict.fromkeys((".md", ".tex", ".pdf", ".txt"), b"edge")
    assert_one_line(cli(*asked, out / "one.doc", "--format", "doc"), "--format: 'doc'", "html", "latex")
    twice = ("report", tmp_path / "root", "edge", "edge", "--out", out / "two.html")
    assert_one_line(cli(*twice), "edge is named 2 times")
    assert not (out / "two.html").exists()
