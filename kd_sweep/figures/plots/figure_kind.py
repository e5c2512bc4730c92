"""A figure as a record: its name, what it shows, and the function from results to what is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_METRIC = "val_accuracy"


@dataclass(frozen=True)
class Drawing:
    """What a figure of one study draws. Nothing is drawn yet."""

    panels: Sequence[Callable[["Axes"], None]]
    """A function for each pair of axes, that draws into them."""
    tables: Mapping[str, pa.Table]
    """All that is drawn: the rows of the views, by a suffix of the file's name; the main table has the suffix ""."""
    caption: Sequence[str]
    """What is drawn, of how many, the kind of interval, what is left out: a sentence each."""
    shape: float = 0.72
    """Height of a panel over its width in one column."""
    height_mm: float | None = None
    """Height of a panel, where it follows from the number of rows; ``shape`` counts when None."""
    heights_mm: Sequence[float] = ()
    """Of panels that differ in height, where they stand below each other; else all have the greatest, ``height_mm``."""
    is_wide: bool = False
    """Whether panels stand below each other in two columns too."""


@dataclass(frozen=True)
class FigureKind:
    """A figure that any study can be asked for."""

    name: str
    title: str
    """In words, without a full stop."""
    shows: str
    """What it shows: a sentence."""
    views: tuple[str, ...]
    """The named queries whose rows it draws, or `analyse`."""
    read: Callable[[Results, str | None], Drawing] = field(repr=False)
    """From one study and the metric, None for the usual one, to what is drawn; `QueryError` says why there is none."""
    takes_metric: bool = False
    """Whether another metric can be asked for."""
