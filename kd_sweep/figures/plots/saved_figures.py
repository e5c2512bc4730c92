"""Figures as files of a folder: pictures, the rows that they draw as CSV, the caption as text."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_sweep.errors import QueryError, StorageError
from kd_sweep.figures.plots.drawn_figures import FigureOptions, read_figure, rendered, require_matplotlib
from kd_sweep.figures.plots.figure_kind import Drawing
from kd_sweep.figures.plots.figure_list import figure_kinds
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.output_formats import render


def figure_files(name: str, drawing: Drawing, options: FigureOptions) -> dict[str, bytes]:
    """Return all files of a figure by their names: pictures, the rows that they draw as CSV, the caption as text."""
    files = {f"{name}.{suffix}": content for suffix, content in rendered(drawing, options).items()}
    for suffix, table in drawing.tables.items():
        content = io.BytesIO()
        render(table, "csv", content)
        files[f"{name}-{suffix}.csv" if suffix else f"{name}.csv"] = content.getvalue()
    files[f"{name}.txt"] = ("\n".join(drawing.caption) + "\n").encode()
    return files


@dataclass(frozen=True)
class SavedFigures:
    """What `save_figures` has done."""

    files: list[str]
    """Locations of what was written."""
    missing: list[str]
    """Of each figure that the study has not, why: a line each."""


def save_figures(results: Results, names: Sequence[str], out: str | Path, options: FigureOptions) -> SavedFigures:
    """Write figures of the one study in ``results`` into a folder, over those of an earlier time.

    Args:
        results: the tables of the study.
        names: of figures; all that the study has where there are none.
        out: the folder, which is made.
        options: how they are drawn.

    Raises:
        QueryError: no figure of such a name, the study has not one that was named, or none with this metric, or none
            at all. One line, and nothing was written.
        StorageError: the folder cannot be written, or is a file.
        UserError: matplotlib is not installed.
    """
    require_matplotlib()
    kinds = figure_kinds(names)
    if Path(str(out)).is_file():
        raise StorageError(f"--out: {out} is a file, and a folder is needed")
    results = results.held()
    files: dict[str, bytes] = {}
    missing = []
    for kind in kinds:
        try:
            drawing = read_figure(results, kind, None if not names and not kind.takes_metric else options.metric)
        except QueryError as error:
            if names or (options.metric is not None and kind.takes_metric):
                raise
            missing.append(str(error))
            continue
        files |= figure_files(kind.name, drawing, options)
    if not files:
        raise QueryError(f"plot: no figure of this study; {missing[0]}")
    folder = Root.open(out)
    for name, content in files.items():
        folder.write_bytes(name, content)
    return SavedFigures([folder.location_of(name) for name in files], missing)
