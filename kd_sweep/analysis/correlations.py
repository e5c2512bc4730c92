"""Spearman's rank correlations between what was varied and what came out, and between outcomes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kd_sweep.analysis.effects import too_few_seeds
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import BOTH, DIMENSIONS, STRENGTH, STUDENT, Setting
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Floats, Ints
from kd_sweep.statistics.ranks import RankCorrelation, rank_correlation, spearman

ATTENTION = ("attention_overlap_teachers", "attention_iou_teachers")

CORRELATIONS = pa.schema(
    [
        ("study", pa.string()),
        ("x", pa.string()),
        ("y", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("augmentation_strength", pa.float64()),
        ("student_strength", pa.float64()),
        ("ensemble_size", pa.int32()),
        ("rho", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("ceiling", pa.float64()),
        ("rho_within", pa.float64()),
        ("within_low", pa.float64()),
        ("within_high", pa.float64()),
        ("num_trials", pa.int32()),
        ("num_seeds", pa.int32()),
        ("note", pa.string()),
    ]
)
"""The columns are described in docs/statistics.md."""

MIN_TRIALS = 3
UNBALANCED = "unbalanced: not every seed has every setting"
_MAX_LEVELS = 20
_ROUNDING = 1e-12
_ROWS_AT_ONCE = 512
_STRENGTHS = (STRENGTH, STUDENT, BOTH)
_WITH_ATTENTION = ("generalization_gap", "generalization_gap_augmented", "val_accuracy")

Explaining = Floats | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Observations:
    """The trials that have both of two variables, by setting and seed in their order."""

    settings: tuple[Setting, ...]
    at_N: Ints
    """Which of the settings a trial has."""
    seeds_N: Ints
    x_N: Floats
    y_N: Floats

    @property
    def is_balanced(self) -> bool:
        """Whether every seed has every setting, so that the settings' differences are not those of seeds."""
        num_seeds, counts = len(np.unique(self.seeds_N)), np.bincount(self.at_N)
        return bool((counts[counts > 0] == num_seeds).all())

    def at_levels(self, restriction: Mapping[str, Any]) -> "Observations":
        """Return those whose settings have these levels."""
        wanted = [all(getattr(one, name) == level for name, level in restriction.items()) for one in self.settings]
        kept_N = np.array(wanted)[self.at_N]
        return Observations(self.settings, self.at_N[kept_N], self.seeds_N[kept_N], self.x_N[kept_N], self.y_N[kept_N])


def correlations_table(sample: Sample, outcomes: Iterable[str], confidence: float) -> pa.Table:
    """Return the correlation of each outcome with what was varied, and of the teachers' attention with others."""
    rows = []
    for x, y in _questions(sample, list(outcomes)):
        measured = (y,) if x in DIMENSIONS else (x, y)
        for arm, settings in sample.arms(*measured).items():
            if x in DIMENSIONS and x not in sample.dimensions_of(settings):
                continue
            labels = {"study": sample.study, "x": x, "y": y, "distillation_loss": arm.label, "attention_maps": arm.maps}
            whole = _observed(sample, settings, x, y)
            for restriction in _restrictions(sample, settings, x):
                observed = whole.at_levels(restriction)
                if len(observed.x_N) >= MIN_TRIALS:
                    row = {**labels, **restriction, **_row(x, y, observed, confidence)}
                    if not observed.is_balanced:
                        row["note"] = "; ".join(filter(None, [row["note"], UNBALANCED]))
                    if x not in DIMENSIONS:
                        row |= _within_columns(sample, observed, confidence)
                    rows.append(row)
    return pa.Table.from_pylist(rows, schema=CORRELATIONS)


def within_seeds(
    sample: Sample,
    outcome: str,
    settings: Iterable[Setting],
    dimension: str,
    measure: Callable[[float], float] = float,
) -> dict[int, tuple[float, int]]:
    """Return seed -> (Spearman's correlation of the outcome with the dimension within it, number of its trials).

    Seeds in which either does not vary, or with fewer than three trials, have none.
    """
    observed = _observed(sample, settings, dimension, outcome)
    correlations = {}
    for seed in np.unique(observed.seeds_N).tolist():
        of_seed_N = observed.seeds_N == seed
        y_N = np.array([measure(y) for y in observed.y_N[of_seed_N].tolist()])
        rho = spearman(observed.x_N[of_seed_N], y_N)
        if len(y_N) >= MIN_TRIALS and rho is not None:
            correlations[seed] = (rho, len(y_N))
    return correlations


def _questions(sample: Sample, outcomes: list[str]) -> Iterator[tuple[str, str]]:
    for outcome in outcomes:
        for dimension in DIMENSIONS:
            if len(sample.levels(dimension)) > 1:
                yield dimension, outcome
    for attention in ATTENTION:
        for outcome in outcomes if attention in sample.outcomes else ():
            if outcome.startswith("fidelity_") or outcome in _WITH_ATTENTION:
                yield attention, outcome


def _restrictions(sample: Sample, settings: list[Setting], x: str) -> list[dict[str, Any]]:
    """Return all trials together, then each level of every other dimension that has few enough to be levels."""
    # Between outcomes, the strengths are what moves both, so only the size is held.
    dimensions = sample.dimensions_of(settings)
    held = [name for name in dimensions if name != x and (x in dimensions or name not in _STRENGTHS)]
    restrictions: list[dict[str, Any]] = [{}]
    for name in held:
        levels = sample.levels(name, settings)
        if 1 < len(levels) <= _MAX_LEVELS:
            columns = (STRENGTH, STUDENT) if name == BOTH else (name,)
            restrictions += [dict.fromkeys(columns, level) for level in levels]
    return restrictions


def _row(x: str, y: str, observed: Observations, confidence: float) -> dict[str, Any]:
    x_N, y_N = observed.x_N, observed.y_N
    seeds, clusters_N = np.unique(observed.seeds_N, return_inverse=True)
    correlation = rank_correlation(x_N, y_N, clusters_N, confidence)
    interval = correlation and correlation.interval
    return {
        "rho": correlation and correlation.rho,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "ceiling": correlation and correlation.ceiling,
        "num_trials": len(x_N),
        "num_seeds": len(seeds),
        "note": _note(correlation, len(seeds)) if correlation else f"{x if np.all(x_N == x_N[0]) else y} is constant",
    }


def _within_columns(sample: Sample, observed: Observations, confidence: float) -> dict[str, Any]:
    """Return the correlation of what is left of two outcomes without strengths, ensemble size and seed.

    A strength that moves both makes them go together, whatever they have to do with each other.
    """
    _, clusters_N = np.unique(observed.seeds_N, return_inverse=True)
    left = _left(observed.x_N, observed.y_N, clusters_N, _explained(sample, observed))
    if left is None:
        return {}
    correlation = rank_correlation(*left, clusters_N, confidence)
    interval = correlation and correlation.interval
    return {
        "rho_within": correlation and correlation.rho,
        "within_low": interval and interval.low,
        "within_high": interval and interval.high,
    }


def _explained(sample: Sample, observed: Observations) -> list[Explaining]:
    """Return the columns that a constant and every level of every cause but the seed add; of many strengths, their
    square.
    """
    columns: list[Explaining] = [np.ones(len(observed.x_N), bool)]
    present = set(observed.at_N.tolist())
    by_setting = [[getattr(setting, name) for setting in observed.settings] for name in sample.dimensions]
    for cause in [*by_setting, [str(setting.others) for setting in observed.settings]]:
        levels = sorted({cause[at] for at in present})
        if len(levels) > _MAX_LEVELS and all(isinstance(level, float) for level in levels):
            columns += [np.array(cause)[observed.at_N], np.array(cause)[observed.at_N] ** 2]
        else:
            places = {level: place for place, level in enumerate(levels)}
            columns += _levels(np.array([places.get(level, 0) for level in cause])[observed.at_N], len(levels))
    return columns


def _levels(places_N: Ints, number: int) -> list[Explaining]:
    return [places_N == place for place in range(1, number)]  # bytes: there may be hundreds


def _left(x_N: Floats, y_N: Floats, seeds_N: Ints, explaining: Sequence[Explaining]) -> tuple[Floats, Floats] | None:
    """Return the residuals of least squares of two outcomes, in multiples of what rounding loses, so that equal ones
    are ties; None where hardly a degree of freedom is left.

    Every seed has a level of its own. These are not among the columns: what they leave of anything is its distance from
    its seed's mean (Frisch and Waugh, Econometrica 1, 1933), which takes a tenth of the time with 300 seeds.
    """
    values_N2 = np.stack([x_N, y_N], axis=1)
    (left_N2,) = _blocks([x_N, y_N], seeds_N, len(x_N))
    solution_E2, rank = _least_squares(explaining, seeds_N, left_N2)
    if len(x_N) - rank - len(np.unique(seeds_N)) < MIN_TRIALS:
        return None
    grain_2 = _ROUNDING * np.maximum(np.abs(values_N2).max(axis=0), np.finfo(float).tiny / _ROUNDING)
    told_N2 = np.concatenate([rows_RE @ solution_E2 for rows_RE in _blocks(explaining, seeds_N)])
    left_N2 = np.round((left_N2 - told_N2) / grain_2)
    return left_N2[:, 0], left_N2[:, 1]


def _least_squares(explaining: Sequence[Explaining], seeds_N: Ints, values_N2: Floats) -> tuple[Floats, int]:
    """Return the least-squares solution, E2, and the rank of the columns less their seeds' means.

    By the triangular factor of the columns with the values behind them, which grows block by block of rows: all columns
    at once as floats would be too much memory where there are hundreds.
    """
    num_columns = len(explaining)
    factor: Floats = np.zeros((0, num_columns + 2))
    for at, rows_RE in enumerate(_blocks(explaining, seeds_N)):
        block = np.concatenate([rows_RE, values_N2[at * _ROWS_AT_ONCE : (at + 1) * _ROWS_AT_ONCE]], axis=1)
        factor = np.asarray(np.linalg.qr(np.concatenate([factor, block]), mode="r"), float)
    vanishing = np.finfo(float).eps * max(len(values_N2), num_columns)  # NumPy's own, of all rows
    solution_E2, _, rank, _ = np.linalg.lstsq(factor[:, :num_columns], factor[:, num_columns:], rcond=vanishing)
    return np.asarray(solution_E2, float), int(rank)


def _blocks(columns: Sequence[Explaining], seeds_N: Ints, num_rows: int = _ROWS_AT_ONCE) -> Iterator[Floats]:
    """Yield the columns less their seeds' means, in blocks of so many rows, RE; where that is rounding, nothing."""
    counts_S = np.bincount(seeds_N)
    means_SE = np.stack([np.bincount(seeds_N, column_N) / counts_S for column_N in columns], axis=1)
    largest_E = np.abs(means_SE).max(axis=0)
    for start in range(0, len(seeds_N), num_rows):
        rows_RE = np.stack([column_N[start : start + num_rows] for column_N in columns], axis=1, dtype=float)
        rows_RE -= means_SE[seeds_N[start : start + num_rows]]
        rows_RE[np.abs(rows_RE) <= _ROUNDING * largest_E] = 0.0
        yield rows_RE


def _note(correlation: RankCorrelation, num_seeds: int) -> str | None:
    if num_seeds < MIN_CLUSTERS:
        return too_few_seeds(num_seeds)
    if correlation.interval is None:
        return "no interval: seeds show no spread (no trial out of order, a variable constant, or all in one order)"
    return "descriptive: hardly a trial is out of order" if correlation.is_near_ceiling else None


def _observed(sample: Sample, settings: Iterable[Setting], x: str, y: str) -> Observations:
    trials, wanted = sample.trials, set(settings)
    kept = [(start, one) for start, one in zip(trials.starts, trials.keys, strict=False) if one in wanted]
    places_N = np.concatenate([np.arange(start, start + len(trials.keys[one])) for start, one in kept])
    at_N = np.repeat(np.arange(len(kept)), [len(trials.keys[one]) for _, one in kept])
    seeds_N = np.array([seed for _, one in kept for seed in trials.keys[one]], np.int64)
    if x in DIMENSIONS:
        x_N = np.array([getattr(one, x) for _, one in kept], float)[at_N]
    else:
        x_N = trials.columns[x][places_N]
    y_N = trials.columns[y][places_N]
    is_known_N = ~(np.isnan(x_N) | np.isnan(y_N))
    at_N, seeds_N, x_N, y_N = (values_N[is_known_N] for values_N in (at_N, seeds_N, x_N, y_N))
    return Observations(tuple(one for _, one in kept), at_N, seeds_N, x_N, y_N)
