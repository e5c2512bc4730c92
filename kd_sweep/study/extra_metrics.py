"""The metrics that a study asks for beside those that every trial reports: its `metrics.extra`."""

import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import SerializeAsAny

from kd_sweep.catalogue.entries import Entry, entry_names
from kd_sweep.catalogue.kinds import METRIC, Kind
from kd_sweep.catalogue.lookup import entry_of
from kd_sweep.catalogue.selecting_section import Selected, SelectingSection
from kd_sweep.catalogue.traits import MetricTraits
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.metric_record import Metric, Null, Range


class ExtraMetric(SelectingSection):
    """A metric that trials report in addition."""

    kind: ClassVar[Kind] = METRIC
    selector: ClassVar[str] = "name"
    word: ClassVar[str] = "metric"

    name: str = ""

    @property
    def column(self) -> str:
        """Its name in tables and as an objective."""
        return column_of(self.name)


ExtraMetrics = tuple[Annotated[SerializeAsAny[ExtraMetric], Selected()], ...]


def column_of(name: str) -> str:
    """Return the column of a metric: of `package:name` `package_name`."""
    return name.replace(":", "_")


def extra_columns(extra: Iterable[ExtraMetric]) -> tuple[str, ...]:
    """Return the columns of these metrics, in order."""
    return tuple(metric.column for metric in extra)


def metric_named(column: str) -> Metric | None:
    """Return what is known of a metric that every trial reports, or of an extra one that is loaded; else None."""
    known = REPORTED_METRICS.get(column)
    if known is not None:
        return known
    names = [name for name in entry_names(METRIC) if column_of(name) == column]
    entry = entry_of(METRIC, names[0]) if names else None
    return None if entry is None else record_of(entry)


def record_of(entry: Entry) -> Metric:
    """Return an extra metric as a record like those of the metrics that every trial reports."""
    declared: MetricTraits = entry.traits
    unit: Any = declared.unit
    bounds = Range(declared.low, declared.high, _range_text(declared.low, declared.high))
    null = (Null.DECLARED,) if declared.can_be_null else ()
    return Metric(
        column_of(entry.name), declared.meaning, bounds, unit, ("val",), declared.about, declared.better, null=null
    )


def _range_text(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "any number"
    if math.isinf(high):
        return f"≥ {low:g}"
    return f"≤ {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"
