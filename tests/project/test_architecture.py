"""The drawing and the pages about the architecture: they say what the source says."""

import importlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.project.architecture import PACKAGE, ROOT, modules, package_of, packages, read_list
from tests.project.draw_architecture import DRAWING, drawing, reduced
from tests.project.pages import page_id, table_rows


def test_the_drawing_is_that_of_the_list_and_the_imports_today() -> None:
    assert DRAWING.read_text() == drawing(), "stale: `make architecture` draws it anew"


def test_the_drawing_has_every_package_with_its_line_and_every_job_inside_its_borders() -> None:
    svg = ElementTree.fromstring(DRAWING.read_text())
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text or "" for text in svg.iter(f"{space}text")]
    whole = " ".join(texts)
    for package in packages().values():
        assert package.name in texts
        assert package.owns in whole
    assert {"launch", "resume", "query"} <= set(texts)
    width, height = (float(number) for number in svg.attrib["viewBox"].split()[2:])
    for box in svg.iter(f"{space}rect"):
        assert float(box.get("x", 0)) + float(box.attrib["width"]) <= width
        assert float(box.get("y", 0)) + float(box.attrib["height"]) <= height


def test_the_jobs_are_commands_and_name_packages() -> None:
    cli = importlib.import_module("kd_sweep.cli")
    for job in read_list()["jobs"]:
        assert callable(getattr(cli, job["name"]))
        assert set(job["by"]) <= set(packages())


def test_arrows_that_follow_from_others_are_left_out() -> None:
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert reduced(graph) == {"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}


# --- docs/design.md ---------------------------------------------------------------------------------------------------

DESIGN = ROOT / "docs/design.md"
GLOSSARY = ROOT / "docs/glossary.md"
FILE = re.compile(r"`([\w/]+\.py)`")


def test_the_table_of_packages_is_the_list() -> None:
    rows = table_rows(DESIGN.read_text(), "package", "what it owns", "never loads")
    assert [row[0].strip("`").removesuffix("/").removesuffix(".py") for row in rows] == list(packages())
    entries = read_list()["packages"]
    assert [row[1] for row in rows] == [entry["owns"] for entry in entries]
    assert [row[2].rstrip(" |") for row in rows] == [", ".join(entry.get("never_loads", [])) for entry in entries]


def test_every_concern_has_a_file_that_exists() -> None:
    rows = [row for row in table_rows(DESIGN.read_text(), "the question", "the file") if not row[0].startswith("**")]
    assert len({row[0] for row in rows}) == len(rows) >= 25
    for concern, files in rows:
        named = FILE.findall(files)
        assert named, concern
        assert [file for file in named if not (PACKAGE / file).is_file()] == [], concern
    assert {package_of(PACKAGE / file) for _, files in rows for file in FILE.findall(files)} >= {
        name for name in packages() if name not in ("waiting", "cli")
    }


# --- docs/glossary.md -------------------------------------------------------------------------------------------------


def test_every_term_is_defined_once_by_a_sentence_and_a_file_that_exists() -> None:
    rows = table_rows(GLOSSARY.read_text(), "term", "meaning", "file")
    terms = [row[0] for row in rows]
    assert len(set(terms)) == len(terms) >= 40
    for term, meaning, file in rows:
        assert re.fullmatch(r"\*\*[\w ]+\*\*", term)
        assert meaning.endswith("."), term
        (name,) = FILE.findall(file)
        assert (PACKAGE / name).is_file(), (term, name)


def test_every_term_is_used_by_its_file_and_by_a_page_or_another_file() -> None:
    pages = [page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if page != GLOSSARY]
    sources = {file: file.read_text() for file in modules()}
    for term, _, file in table_rows(GLOSSARY.read_text(), "term", "meaning", "file"):
        word = re.compile(rf"(?<![a-z]){term.strip('*')[:-1].replace(' ', '[ _]')}", re.IGNORECASE)
        (name,) = FILE.findall(file)
        assert word.search(sources[PACKAGE / name]), (term, name)
        others = (text for other, text in sources.items() if other != PACKAGE / name)
        assert any(map(word.search, [*pages, *others])), term


@pytest.mark.parametrize("page", sorted(page for page in (ROOT / "docs").glob("*.md") if page != GLOSSARY), ids=page_id)
def test_every_page_leads_to_the_glossary(page: Path) -> None:
    assert "(glossary.md" in page.read_text()
