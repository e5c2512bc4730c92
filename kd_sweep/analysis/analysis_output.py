"""How an analysis is written: as text for people, as one JSON object, or as a file for each table."""

import io
import json
from pathlib import Path
from typing import BinaryIO

from kd_sweep.analysis.analysis_text import write_text
from kd_sweep.analysis.study_analysis import Analysis
from kd_sweep.errors import QueryError, alternatives
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.output_formats import FORMATS, render
from kd_sweep.tables.rendering.value_text import plain

FOLDER = "analysis"
"""Where a study's folder keeps the tables of its analysis."""


def write_analysis(analysis: Analysis, format: str, out: BinaryIO, *, complete: bool = False) -> None:
    """Write an analysis to a stream as ``table`` or ``json``.

    Args:
        analysis: what to write.
        format: ``json`` is one object with a list for each of `Analysis.tables`; ``table`` is for people.
        out: a binary stream.
        complete: show every row in ``table``, not only verdicts and the effects that they are about.
    """
    if format == "json":
        lists = {name: table.to_pylist() for name, table in analysis.tables.items()}
        content = plain({**analysis.about, **lists})
        out.write(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n")
    else:
        write_text(analysis, out, complete=complete)
    out.flush()


def save_analysis(analysis: Analysis, format: str, folder: Root) -> list[str]:
    """Write each table into a file of its own in ``folder``, as ``parquet`` or ``csv``; return the files' locations.

    Raises:
        StorageError: the folder cannot be written.
    """
    locations = []
    for name, table in analysis.tables.items():
        content = io.BytesIO()
        render(table, format, content)
        folder.write_bytes(f"{name}.{format}", content.getvalue())
        locations.append(folder.location_of(f"{name}.{format}"))
    return locations


def output_analysis(
    analysis: Analysis, results: Results, format: str, out: BinaryIO, folder: str | Path | None, *, complete: bool
) -> None:
    """Write an analysis as the command line does: ``table`` and ``json`` to the stream, the others into files.

    Args:
        analysis: what to write.
        results: the root of the study, whose folder gets the files when ``folder`` is None.
        format: one of `output_formats.FORMATS`.
        out: standard output; gets the files' locations if there are files.
        folder: the folder of the files.
        complete: as for `write_analysis`.

    Raises:
        QueryError: a folder for a format that has no files.
        StorageError: the folder cannot be written.
    """
    check_format(format, folder)
    if format in ("table", "json"):
        write_analysis(analysis, format, out, complete=complete)
        return
    study = analysis.sample.study
    target = Root.open(folder) if folder is not None else results.select(study)[study].child(FOLDER)
    for location in save_analysis(analysis, format, target):
        out.write(f"{location}\n".encode())
    out.flush()


def check_format(format: str, folder: str | Path | None) -> None:
    """Raise `QueryError` for an unknown format, or a folder for one that goes to standard output."""
    if format not in FORMATS:
        raise QueryError(f"format: {format!r} is not a format; {alternatives(format, FORMATS)}")
    if folder is not None and format in ("table", "json"):
        raise QueryError(f"out: format {format!r} goes to standard output; possible with --out: csv, parquet")
