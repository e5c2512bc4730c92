"""How figures look: sizes of paper, a style that is the same everywhere, lines that differ without colour."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kd_sweep.errors import QueryError, StorageError

MM_PER_INCH = 25.4
SIZES_MM = {"one-column": 85.0, "two-columns": 174.0}
"""Width of a figure by the name of its size."""
RASTER_FROM = 400
"""So many lines or points are drawn as pixels inside of PDF and SVG, with text and axes as vectors."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # the one that comes with matplotlib
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.formatter.useoffset": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",  # looks alike on machines without the font
    "svg.hashsalt": "kd_sweep",
    "path.simplify": True,
}


class Look(NamedTuple):
    """What tells a line from the others, in colour and in grey."""

    color: tuple[float, float, float]
    marker: str
    dashes: Any


_MARKERS = "osD^vPX*"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)))
_DARKEST_TO_LIGHTEST = (0.0, 0.82)
"""Of viridis, whose lightness rises evenly: its last yellow is too light for paper."""


def looks(number: int) -> list[Look]:
    """Return what lines of an order look like, the first the darkest; of more than eight, markers come again."""
    from matplotlib import colormaps

    low, high = _DARKEST_TO_LIGHTEST
    shares = [low + (high - low) * index / max(number - 1, 1) for index in range(number)]
    colors = [colormaps["viridis"](share) for share in shares]
    return [
        Look((red, green, blue), _MARKERS[index % len(_MARKERS)], _DASHES[index % len(_DASHES)])
        for index, (red, green, blue, _) in enumerate(colors)
    ]


@contextmanager
def style(file: Path | None = None) -> Iterator[None]:
    """Draw in the block with the style of figures, and a user's own style file over it.

    Raises:
        StorageError: the file cannot be read. One line.
        QueryError: it has something that is no style of matplotlib's. One line.
    """
    import matplotlib
    from matplotlib import style as styles

    with styles.context(["default", _STYLE]):
        if file is not None:
            matplotlib.rcParams.update(_own_style(file))
        yield


def _own_style(file: Path) -> Any:
    """Return the settings of a style file; lines that matplotlib would warn of are mistakes."""
    import matplotlib

    if not file.is_file():
        raise StorageError(f"--style: {file} is not a file")
    logger, told = logging.getLogger("matplotlib"), _Told()
    logger.addHandler(told)
    was, logger.propagate = logger.propagate, False
    try:
        own = matplotlib.rc_params_from_file(file, use_default_template=False)
    except (OSError, ValueError) as error:
        raise QueryError(f"--style: {file}: {' '.join(str(error).split())}") from None
    finally:
        logger.removeHandler(told)
        logger.propagate = was
    if told.lines:
        raise QueryError(f"--style: {file}: {told.lines[0]}")
    return own


class _Told(logging.Handler):
    """Keeps what matplotlib says of a style file."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))


class Page(NamedTuple):
    """A figure on paper."""

    width: float
    """In inches, as is the height."""
    height: float
    rows: int
    columns: int
    ratios: Sequence[float] | None
    """Of the rows' heights; None where they are equal."""


def page(
    size: str,
    num_panels: int,
    *,
    shape: float,
    height_mm: float | None,
    heights_mm: Sequence[float],
    is_wide: bool,
) -> Page:
    """Return how large a figure is and how its panels stand.

    Args:
        size: one of `SIZES_MM`.
        num_panels: in all; side by side in two columns, else below each other.
        shape: height of a panel over its width.
        height_mm: of a panel, instead of ``shape``.
        heights_mm: of each panel, where they stand below each other.
        is_wide: below each other in two columns too.
    """
    width = SIZES_MM[size]
    columns = 1 if size == "one-column" or is_wide else min(num_panels, 3)
    rows = -(-num_panels // columns)
    # Alone in two columns, a panel is flatter.
    flat = 0.6 if columns == 1 and size != "one-column" else 1.0
    panel = height_mm if height_mm is not None else shape * width / columns * flat
    legend = 8.0
    own = heights_mm if columns == 1 and heights_mm else None
    height = sum(own) if own else rows * panel
    return Page(width / MM_PER_INCH, (height + legend) / MM_PER_INCH, rows, columns, own)
