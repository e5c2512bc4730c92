"""The drawing and the pages about the architecture: they say what the source says."""

import importlib
import xml.etree.ElementTree as ElementTree

from docs.draw_architecture import DRAWING, drawing, reduced
from tests.architecture import packages, read_list


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
