"""The trials of another study as a search starts from them: read once, at launch, and kept in the frozen study."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from kd_sweep.errors import KdSweepError, SpecError, alternatives
from kd_sweep.storage.root import Root
from kd_sweep.study.recorded_trials import recorded_trial
from kd_sweep.study.space.conditions import Conditions, Point
from kd_sweep.study.space.dimensions import holds, value_at
from kd_sweep.study.space.members import value_in
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.study.warm_trials import WarmTrial
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.schema import FINISHED, column_name

MAX_TRIALS = 1000
"""So many are taken, those that finished first."""
REPEATS = ("seed", "data.split_seed")
"""Dimensions that make repeats: the other study's values of them need not be in the space."""


def with_warm_start(spec: StudySpec, root: Root, frozen: StudySpec | None) -> StudySpec:
    """Return a study with the trials that it starts from.

    Args:
        spec: the study.
        root: the results root.
        frozen: the study as it was launched; None where it is new.

    Raises:
        SpecError: the other study cannot be read, or none of its trials can be learned from.
    """
    if spec.warm_start is None:
        return spec
    if frozen is not None:
        begun = frozen.warm_start
        same = begun is not None and begun.study == spec.warm_start.study
        return spec.model_copy(update={"warm_start": begun}) if same else spec  # another one is refused with the rest
    if spec.warm_start.trials:
        return spec
    try:
        trials = _read(spec, _results(spec.warm_start.study, root))
    except KdSweepError as error:
        raise SpecError(f"warm_start.study: {error}") from None
    return spec.model_copy(update={"warm_start": spec.warm_start.model_copy(update={"trials": tuple(trials)})})


def warm_start_notes(spec: StudySpec) -> list[str]:
    """Return a line on what the search starts from, where it starts from something."""
    if spec.warm_start is None:
        return []
    num_points, num_used = len(spec.warm_start.trials), len(warm_points(spec, Conditions(spec)))
    others = "" if num_used == num_points else f", {num_points - num_used} of them not in the search space now"
    return [f"warm start: {num_points} points of {spec.warm_start.study}{others}"]


def warm_points(spec: StudySpec, conditions: Conditions) -> list[tuple[Point, tuple[float, ...]]]:
    """Return the points to start from that are in the study's space as it is now, and the value of each objective."""
    points = []
    for trial in spec.warm_start.trials if spec.warm_start is not None else ():
        point = _point(spec, conditions, trial.point)
        values = [trial.objectives.get(objective.metric) for objective in spec.objectives]
        if point is not None and None not in values:
            points.append((point, tuple(value for value in values if value is not None)))
    return points


def _results(study: str, root: Root) -> Results:
    if "/" not in study and not root.exists(study):
        raise SpecError(f"{study!r} is not in {root}; {alternatives(study, _studies(root))}, or the path of its folder")
    results = open_results(study if "/" in study else root.child(study))
    if len(results.studies()) > 1:
        raise SpecError(f"{study!r} holds several studies; {alternatives(study, results.studies())}")
    return results


def _studies(root: Root) -> list[str]:
    try:
        return open_results(root).studies()
    except KdSweepError:
        return []


def _read(spec: StudySpec, results: Results) -> list[WarmTrial]:
    """Return what can be learned from the finished trials of another study, in the order in which they finished."""
    _check_common(spec, results)
    conditions, metrics = Conditions(spec), [objective.metric for objective in spec.objectives]
    rows = [row for row in results.table("trials").to_pylist() if row["status"] in FINISHED]
    if not rows:
        raise SpecError(f"{results.root} has no finished trial yet")
    valued = [row for row in rows if None not in [row.get(metric) for metric in metrics]]
    if not valued:
        absent = next(metric for metric in metrics if all(row.get(metric) is None for row in rows))
        raise SpecError(f"no trial of {results.root} reports {absent!r}, an objective")
    repeats: dict[str, list[Mapping[str, Any]]] = {}
    points: dict[str, Point] = {}
    for row in sorted(valued, key=lambda row: (row["finished_at"], row["trial_id"])):
        trial = recorded_trial(row)
        point = _point(spec, conditions, _values(spec, trial))
        if point is not None:
            but_for_seed = trial.model_dump_json(exclude={"seed"})
            points[but_for_seed] = {name: value for name, value in point.items() if name not in REPEATS}
            repeats.setdefault(but_for_seed, []).append(row)
    if not points:
        raise SpecError(f"none of the {len(valued)} finished trials of {results.root} is in the search space")
    return [
        WarmTrial(point=points[key], objectives={metric: _mean(rows, metric) for metric in metrics})
        for key, rows in list(repeats.items())[:MAX_TRIALS]
    ]


def _check_common(spec: StudySpec, results: Results) -> None:
    """Refuse a study that has searched nothing which this one searches."""
    columns = {column_name(name): name for name in spec.search if name not in REPEATS}
    varied = [*results.searched_columns(), "augmentation_strength", "ensemble_size"]
    if not set(columns) & set(varied):
        searched = ", ".join(columns.values())
        raise SpecError(f"{results.root} has searched none of {searched}; it has searched {', '.join(varied)}")


def _values(spec: StudySpec, trial: TrialConfig) -> Point:
    return {name: value_in(spec, trial, name) for name in spec.search}


def _point(spec: StudySpec, conditions: Conditions, values: Mapping[str, Any]) -> Point | None:
    """Return the point of the study's space that has these values; None where one is missing or not in the space."""
    point: Point = {}
    for name in conditions.order:
        if not conditions.is_active(name, point):
            continue
        dimension = spec.search[name]
        if name in REPEATS:
            point[name] = value_at(name, dimension, 0)
        elif name in values and holds(name, dimension, values[name]):
            point[name] = values[name]
        else:
            return None
    return point


def _mean(rows: Sequence[Mapping[str, Any]], metric: str) -> float:
    return statistics.fmean(row[metric] for row in rows)
