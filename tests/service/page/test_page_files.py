"""The files of the page: how much there is, where what others made comes from, and how they are served."""

import gzip
import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.project.pages import ROOT
from tests.service.running_service import running

PAGE = (ROOT / "kd_sweep/service/page").resolve()
VENDORED = (PAGE / "vendor", ROOT / "tests/assets/axe")
MOST_BYTES = 150_000
MAX_FILE_LINES = 400


def scripts() -> list[Path]:
    """Our own modules."""
    return [file for file in sorted(PAGE.rglob("*.js")) if file.parent.name != "vendor"]


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.name)
def test_what_others_made_is_as_they_published_it_and_carries_its_licence(folder: Path) -> None:
    entries = tomllib.loads((folder / "vendored.toml").read_text())["file"]
    for entry in entries:
        assert hashlib.sha256((folder / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["version"] in entry["source"]
        assert entry["licence"]
    licences = {name for entry in entries for name in entry["licence_files"]}
    named = {entry["path"] for entry in entries} | licences | {"vendored.toml"}
    assert named == {file.name for file in folder.iterdir()}
    assert all(len((folder / name).read_text()) > 500 for name in licences)


def test_scripts_and_styles_are_small() -> None:
    files = [*PAGE.rglob("*.js"), *PAGE.rglob("*.css")]
    assert sum(len(gzip.compress(file.read_bytes(), 9)) for file in files) <= MOST_BYTES


def test_the_document_has_no_code_or_style_of_its_own() -> None:
    document = (PAGE / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", document) == []
    assert re.findall(r"https?://", document) == []


def test_every_import_leads_to_a_file_and_every_module_says_what_it_owns() -> None:
    assert scripts()
    imported = set()
    for file in scripts():
        text = file.read_text()
        assert text.startswith("// "), file
        assert len(text.splitlines()) <= MAX_FILE_LINES
        for target in re.findall(r'^(?:import|export) .*?from "([^"]+)";', text, re.MULTILINE | re.DOTALL):
            path = (file.parent / target).resolve()
            assert path.is_file(), f"{file}: {target}"
            imported.add(path)
    unused = {file for file in scripts() if file not in imported} - {PAGE / "main.js", PAGE / "theme.js"}
    assert unused == set()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Somebody without a token, and a service without a study."""
    with (
        running(tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("state")) as service,
        service.client(None) as client,
    ):
        yield client


def test_the_document_is_asked_for_again_and_its_files_never(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert client.get("/", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert {path.split("/", 2)[2] for path in named if path.endswith(".js")} == {
        *("theme.js", "vendor/uplot.js", "vendor/preact-htm.js", "page.js")
    }
    for path in named:
        file = client.get(f"/{path}")
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["content-type"].partition(";")[0] in ("text/javascript", "text/css", "image/svg+xml")
    digest = named[0].split("/")[1]
    script = client.get(f"/page/{digest}/page.js").text
    parts = re.findall(r"^\{ // (\S+)$", script, re.MULTILINE)
    for file in scripts():
        path = file.relative_to(PAGE).as_posix()
        assert client.get(f"/page/{digest}/{path}").content == file.read_bytes()
    assert sorted(parts) == sorted({file.relative_to(PAGE).as_posix() for file in scripts()} - {"theme.js"})


@pytest.mark.parametrize("path", ["index.html", "../http/app.py", "..%2fhttp%2fapp.py", "", "vendor", "none.js"])
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    digest = client.get("/").text.split("page/")[1].split("/")[0]
    assert client.get(f"/page/{digest}/{path}").status_code == 404
    assert client.get("/page/0123456789abcdef/main.js").status_code == 404
