"""The file of a report: its format, where it may be written, and whether it is stale."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from kd_sweep.errors import QueryError, StorageError, alternatives
from kd_sweep.figures.plots.drawn_figures import require_matplotlib
from kd_sweep.figures.report.formats.blocks import ending_blocks, several_blocks, study_blocks
from kd_sweep.figures.report.formats.html_page import html_page, require_jinja2
from kd_sweep.figures.report.formats.latex_page import latex_page
from kd_sweep.figures.report.formats.markdown_page import markdown_page
from kd_sweep.figures.report.formats.pdf_pages import pdf_pages
from kd_sweep.figures.report.report_content import read_content
from kd_sweep.figures.report.side_by_side import side_by_side
from kd_sweep.figures.report.tables_digest import tables_digest
from kd_sweep.storage.locations import expanded
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results
from kd_sweep.version import __version__

FORMATS = {"html": ".html", "md": ".md", "latex": ".tex", "pdf": ".pdf"}
"""Formats of a report, and how the name of a file of each ends."""
_WITH_PICTURES = ("html", "pdf")
_MARK = re.compile(rb'kd-sweep-(study|version|tables)(?:" content="|=)([^\s")]*)')


def write_report(
    studies: Sequence[Results], out: str | Path, format: str | None = None, *, galleries: bool = False
) -> Path:
    """Write the report of studies over an earlier report of these.

    Args:
        studies: the tables of one study each; several are put side by side.
        out: the file.
        format: one of `FORMATS`; by the ending of ``out`` when None, else HTML.
        galleries: with sheets of attention and augmentations, from networks and images of the root.

    Returns:
        Where it is.

    Raises:
        QueryError: there is no such format, or none with galleries, or a study is named twice. One line.
        StorageError: its folder is missing or cannot be written, or something else is at that path. One line.
        CorruptFileError: a table is damaged.
        UserError: matplotlib or Jinja2 is not installed. One line.
    """
    require_matplotlib()
    kind, path = _format(format, out), _path(out)
    if kind == "html":
        require_jinja2()
    if galleries and kind not in _WITH_PICTURES:
        raise QueryError(f"--galleries: {kind} has no pictures in it; possible: {', '.join(_WITH_PICTURES)}")
    name = _name(studies)
    if path.exists():
        _marks(path, name)
    digest = _digest(studies)  # before the tables are read: what is written meanwhile makes the report stale
    Root.open(path.parent).write_bytes(path.name, _written(studies, kind, name, digest, galleries))
    return path


def stale_because(studies: Sequence[Results], out: str | Path) -> str | None:
    """Return why a report, of whatever format, is not what would be written now; None where it is.

    Raises:
        StorageError: there is no report at that path, or one of other studies. One line.
        CorruptFileError: a table is damaged.
    """
    path = _path(out)
    if not path.exists():
        raise StorageError(f"--out: {path} does not exist; without --check the report is written")
    marks = _marks(path, _name(studies))
    if marks.get("version") != __version__:
        return f"{path} is stale: kd_sweep {marks.get('version')} has written it, and this is {__version__}"
    if marks.get("tables") != _digest(studies):
        return f"{path} is stale: the tables of the {'study' if len(studies) == 1 else 'studies'} have changed since"
    return None


def _written(studies: Sequence[Results], kind: str, name: str, digest: str, galleries: bool) -> bytes:
    contents = [read_content(results, tables_digest(results), with_galleries=galleries) for results in studies]
    names = {content.name: results for content, results in zip(contents, studies, strict=True)}
    together = side_by_side(names, contents) if len(contents) > 1 else None
    if kind == "html":
        return html_page(contents, together, name, digest)
    blocks = [
        *(study_blocks(contents[0]) if together is None else several_blocks(contents, together)),
        *ending_blocks(digest),
    ]
    marks = f"kd-sweep-study={name} kd-sweep-version={__version__} kd-sweep-tables={digest}"
    if kind == "pdf":
        return pdf_pages(blocks, marks, f"Report of {name}")
    return (latex_page if kind == "latex" else markdown_page)(blocks, marks)


def _format(format: str | None, out: str | Path) -> str:
    if format is not None and format not in FORMATS:
        raise QueryError(f"--format: {format!r} is no format of reports; {alternatives(format, FORMATS)}")
    ending = Path(str(out)).suffix.lower()
    return format or next((name for name, own in FORMATS.items() if own == ending), "html")


def _digest(studies: Sequence[Results]) -> str:
    digests = [tables_digest(results) for results in studies]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _name(studies: Sequence[Results]) -> str:
    """Return the name of the study, or of all with a `+` between them, which no name has."""
    names = [name for results in studies for name in results.studies()]
    for name in names:
        if names.count(name) > 1:
            raise QueryError(f"report: {name} is named {names.count(name)} times; each study stands in it once")
    return "+".join(names)


def _path(out: str | Path) -> Path:
    if "://" in str(out):
        raise StorageError(f"--out: {out} is no path on this machine; write it there, and copy it")
    path = expanded(str(out)).absolute()
    if path.is_dir():
        raise StorageError(f"--out: {path} is a folder; a file is needed, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise StorageError(f"--out: {path.parent} is not a folder; make it first")
    return path


def _marks(path: Path, study: str) -> dict[str, str]:
    """Return what the report at ``path`` says of itself.

    Raises:
        StorageError: it is no report, or one of another study. One line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"--out: {path} cannot be read: {error.strerror}") from None
    marks: dict[str, str] = {}
    for name, value in _MARK.findall(content):
        marks.setdefault(name.decode(), value.decode(errors="replace"))
    if "tables" not in marks:
        raise StorageError(f"--out: {path} is there and no report of kd-sweep; choose another path, or remove it")
    if marks.get("study") != study:
        what = f"is the report of study {marks.get('study')!r}"
        raise StorageError(f"--out: {path} {what}; choose another path, or remove it")
    return marks
