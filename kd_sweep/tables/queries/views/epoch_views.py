"""Views of metrics over epochs: single curves, quantile bands of settings, the raster of all curves."""

from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import Field, model_validator

from kd_sweep.errors import QueryError
from kd_sweep.tables.queries.footnotes import footnotes
from kd_sweep.tables.queries.named_query import NamedQuery, Names, Numbers, QueryParameters, with_remarks
from kd_sweep.tables.queries.setting_columns import listed, ordered, searched_fields, without_empty
from kd_sweep.tables.queries.views.epoch_rows import epoch_rows, epoch_step, last_epoch, taken_sql, thinned
from kd_sweep.tables.queries.views.ranked_trials import spread_over_ranks
from kd_sweep.tables.queries.views.view_columns import checked_metrics, one_study, settings_of
from kd_sweep.tables.reader import Results
from kd_sweep.tables.trial_lookup import matching_id

MAX_CURVES = 100
MAX_CURVE_ROWS = 25_000
MAX_BANDS = 100
MAX_BAND_ROWS = 10_000
MAX_BAND_VALUES = 30_000
MAX_COLUMNS, MAX_ROWS = 400, 200
MAX_QUANTILES = 9

Share = Annotated[float, Field(ge=0, le=1)]


class CurvesParameters(QueryParameters):
    """Which curves."""

    metric: str = "val_accuracy"
    """A metric, `learning_rate`, `epoch_s` or `train_images_per_s`."""
    trials: Names = Field(default=(), max_length=MAX_CURVES)
    """Their ids, or beginnings of them; none: as many as may be, evenly over the ranks by the study's objective."""


def curves(results: Results, parameters: CurvesParameters) -> pa.Table:
    """The epochs of some trials: one row per trial and epoch."""
    (metric,) = checked_metrics(results, [parameters.metric], "epochs", "metric")
    chosen, remarks = _chosen(results, parameters.trials)
    columns = [*searched_fields(results), "seed"]
    step = epoch_step(last_epoch(results), MAX_CURVE_ROWS // max(len(chosen), 1))
    rows = epoch_rows(results, metric, [*columns, "status", "last_epoch"], with_ids=True)
    # The ids alone leave few of millions of rows, before two columns are put together.
    query = f"""
        SELECT study, trial_id, {listed(columns)}, status, epoch, value
        FROM ({rows.select} AND epochs.trial_id IN (SELECT unnest($ids)))
        WHERE (study || '/' || trial_id) IN (SELECT unnest($chosen)) AND {taken_sql(step, "last_epoch")}
        ORDER BY {ordered(["study", "trial_id", "epoch"])}"""
    names = [f"{study}/{trial_id}" for study, trial_id in chosen]
    ids = [trial_id for _, trial_id in chosen]
    answer = results.sql(query, {**rows.parameters, "ids": ids or [""], "chosen": names or [""]})
    notes = [*remarks, *thinned(step), *footnotes(results, [metric])]
    return with_remarks(without_empty(answer, columns[2:-1]), notes)


def _chosen(results: Results, wanted: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return study and id of the trials to draw, and what is to be said of them."""
    trials = results.table("trials").select(["study", "trial_id"])
    known = list(zip(*(trials[name].to_pylist() for name in trials.column_names), strict=True))
    if wanted:
        ids = {trial_id for _, trial_id in known}
        chosen = {matching_id(beginning, ids, results.root) for beginning in wanted}
        named = [(study, trial_id) for study, trial_id in known if trial_id in chosen]
        if len(named) > MAX_CURVES:
            raise QueryError(
                f"curves: {len(named)} trials, of several studies, are more than {MAX_CURVES}; name a study"
            )
        return named, []
    sample = spread_over_ranks(results, MAX_CURVES, [])
    pairs = list(zip(sample["study"].to_pylist(), sample["trial_id"].to_pylist(), strict=True))
    remarks = [] if len(pairs) == len(known) else [f"{len(pairs)} of {len(known)} trials, evenly over their ranks."]
    return pairs, remarks


class BandsParameters(QueryParameters):
    """Which bands."""

    metric: str = "val_accuracy"
    """A metric, `learning_rate`, `epoch_s` or `train_images_per_s`."""
    quantiles: Annotated[Numbers, Field(min_length=1, max_length=MAX_QUANTILES)] = (0.1, 0.5, 0.9)
    """From 0, the least value, to 1, the greatest."""
    by: Names | None = None
    """The fields that make a setting, as columns of `trials`; all that are searched when left out."""

    @model_validator(mode="after")
    def _are_shares(self) -> "BandsParameters":
        for quantile in self.quantiles:
            if not 0 <= quantile <= 1:
                raise ValueError(f"quantiles: {quantile:g} is not from 0 to 1")
        return self


def bands(results: Results, parameters: BandsParameters) -> pa.Table:
    """Quantiles of a metric over the trials of a setting: one row per setting and epoch."""
    (metric,) = checked_metrics(results, [parameters.metric], "epochs", "metric")
    settings = settings_of(results, parameters.by, MAX_BANDS, "bands")
    last = last_epoch(results)
    quantiles = list(dict.fromkeys(parameters.quantiles))
    most = min(MAX_BAND_ROWS, MAX_BAND_VALUES // len(quantiles))
    step = epoch_step(last, most // max(settings.number, 1))
    values = ", ".join(f"quantiles[{index}] AS {quantile_column(q)}" for index, q in enumerate(quantiles, 1))
    rows = epoch_rows(results, metric, settings.columns)
    groups = ["study", *settings.columns, "epoch"]
    query = f"""
        SELECT {listed(groups)}, num_trials, {values} FROM (
            SELECT {listed(groups)}, count(*) AS num_trials, quantile_cont(value, $quantiles) AS quantiles
            FROM ({rows.select}) WHERE {taken_sql(step, last)} GROUP BY {listed(groups)})
        ORDER BY {ordered(groups)}"""
    answer = results.sql(query.replace("$quantiles", str(quantiles)), rows.parameters)
    return with_remarks(
        without_empty(answer, settings.columns), [*settings.remarks, *thinned(step), *footnotes(results, [metric])]
    )


def quantile_column(quantile: float) -> str:
    """Return the name of a quantile's column: `q0_5` of 0.5."""
    return f"q{quantile:g}".replace(".", "_").replace("-", "_")


class DensityParameters(QueryParameters):
    """Which raster."""

    metric: str = "val_accuracy"
    """A metric, `learning_rate`, `epoch_s` or `train_images_per_s`."""
    columns: int = Field(default=MAX_COLUMNS, ge=1, le=MAX_COLUMNS)
    """Cells along the epochs, at most; never more than there are epochs."""
    rows: int = Field(default=MAX_ROWS, ge=1, le=MAX_ROWS)
    """Cells along the values."""
    low: float | None = None
    """The least value that is drawn; the least that there is when left out."""
    high: float | None = None
    """The greatest value that is drawn; the greatest that there is when left out."""

    @model_validator(mode="after")
    def _have_an_order(self) -> "DensityParameters":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low: {self.low:g} is above high, {self.high:g}")
        return self


def density(results: Results, parameters: DensityParameters) -> pa.Table:
    """The raster of all curves of one study: one row per cell that holds a value, and how many it holds."""
    study = one_study(results, "density")
    (metric,) = checked_metrics(results, [parameters.metric], "epochs", "metric")
    rows = epoch_rows(results, metric, [])
    of_values = f"""
        SELECT min(value) AS low, max(value) AS high, max(epoch) AS last,
            count(*) FILTER (value < coalesce($low, value) OR value > coalesce($high, value)) AS outside
        FROM ({rows.select})"""
    bounds = {"low": parameters.low, "high": parameters.high}
    (whole,) = results.sql(of_values, {**rows.parameters, **bounds}).to_pylist()
    low, high = _range(parameters, whole["low"], whole["high"])
    step = -(-(whole["last"] or 1) // parameters.columns)
    height = (high - low) / parameters.rows
    row = "0" if height == 0 else f"least(floor((value - $low) / $height)::INTEGER, {parameters.rows - 1})"
    query = f"""
        SELECT $study AS study, x * {step} + 1 AS epoch_low, least(x * {step} + {step}, $last) AS epoch_high,
            $low + y * $height AS value_low, $low + (y + 1) * $height AS value_high, num_values
        FROM (SELECT (epoch - 1) // {step} AS x, {row} AS y, count(*) AS num_values
            FROM ({rows.select}) WHERE value BETWEEN $low AND $high AND epoch <= $last GROUP BY ALL)
        ORDER BY x, y"""
    given = {"study": study, "low": low, "high": high, "height": height, "last": whole["last"] or 0}
    remarks = [f"{whole['outside']} values are outside of what is drawn."] if whole["outside"] else []
    return with_remarks(results.sql(query, given), [*remarks, *footnotes(results, [metric])])


def _range(parameters: DensityParameters, least: float | None, greatest: float | None) -> tuple[float, float]:
    """Return the lowest and the highest value of the raster; where no value is inside, they are equal."""
    low = least if parameters.low is None else parameters.low
    high = greatest if parameters.high is None else parameters.high
    if low is None or high is None or low > high:
        low = high = next((edge for edge in (parameters.low, parameters.high) if edge is not None), 0.0)
    return low, high


_KEYS = [("study", pa.string()), ("trial_id", pa.string())]
EPOCH_VIEWS = (
    NamedQuery(
        curves,
        CurvesParameters,
        pa.schema(
            [*_KEYS, ("seed", pa.int64()), ("status", pa.string()), ("epoch", pa.int32()), ("value", pa.float64())]
        ),
        MAX_CURVE_ROWS,
    ),
    NamedQuery(
        bands,
        BandsParameters,
        pa.schema([("study", pa.string()), ("epoch", pa.int32()), ("num_trials", pa.int64())]),
        MAX_BAND_ROWS,
    ),
    NamedQuery(
        density,
        DensityParameters,
        pa.schema(
            [
                ("study", pa.string()),
                ("epoch_low", pa.int32()),
                ("epoch_high", pa.int32()),
                ("value_low", pa.float64()),
                ("value_high", pa.float64()),
                ("num_values", pa.int64()),
            ]
        ),
        MAX_COLUMNS * MAX_ROWS,
    ),
)
