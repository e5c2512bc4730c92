"""The file of a report: where it may be written, and whether it is stale."""

import re
from pathlib import Path

from kd_sweep.errors import StorageError
from kd_sweep.figures.report.report_page import report_page
from kd_sweep.figures.report.tables_digest import tables_digest
from kd_sweep.storage.locations import expanded
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results
from kd_sweep.version import __version__

_HEAD_BYTES = 4_000
_META = re.compile(r'<meta name="kd-sweep-(study|version|tables)" content="([^"]*)">')


def write_report(results: Results, out: str | Path) -> Path:
    """Write the report of the one study in ``results`` as a file of HTML, over an earlier report of this study.

    Returns:
        Where it is.

    Raises:
        StorageError: its folder is missing or cannot be written, or something else is at that path. One line.
        CorruptFileError: a table is damaged.
        UserError: matplotlib or Jinja2 is not installed. One line.
    """
    path = _path(out)
    if path.exists():
        _marks(path, _name(results))
    digest = tables_digest(results)  # before the tables are read: what is written meanwhile makes the report stale
    Root.open(path.parent).write_bytes(path.name, report_page(results, digest).encode())
    return path


def stale_because(results: Results, out: str | Path) -> str | None:
    """Return why a report is not what would be written now; None where it is.

    Raises:
        StorageError: there is no report at that path, or one of another study. One line.
        CorruptFileError: a table is damaged.
    """
    path = _path(out)
    if not path.exists():
        raise StorageError(f"--out: {path} does not exist; without --check the report is written")
    marks = _marks(path, _name(results))
    if marks.get("version") != __version__:
        return f"{path} is stale: kd_sweep {marks.get('version')} has written it, and this is {__version__}"
    if marks.get("tables") != tables_digest(results):
        return f"{path} is stale: the tables of the study have changed since"
    return None


def _name(results: Results) -> str:
    (name,) = results.studies()
    return name


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
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode(errors="replace")
    except OSError as error:
        raise StorageError(f"--out: {path} cannot be read: {error.strerror}") from None
    marks = dict(_META.findall(head))
    if "tables" not in marks:
        raise StorageError(f"--out: {path} is there and no report of kd-sweep; choose another path, or remove it")
    if marks.get("study") != study:
        what = f"is the report of study {marks.get('study')!r}"
        raise StorageError(f"--out: {path} {what}; choose another path, or remove it")
    return marks
