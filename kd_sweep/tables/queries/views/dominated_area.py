"""The view of the area that a study's trials dominate in two objectives, and how it grew as they finished."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from kd_sweep.tables.queries.named_query import NamedQuery, QueryParameters, with_remarks
from kd_sweep.tables.queries.setting_columns import FINISHED_SQL
from kd_sweep.tables.reader import Results

MAX_STEPS = 1_000

Point = tuple[float, float]


def dominated_area(results: Results, _: QueryParameters) -> pa.Table:
    """The area that finished trials dominate in two objectives: a row for each that enlarged it, in their order.

    As a share of the box between the worst and the best value of each objective: the hypervolume of Zitzler and Thiele
    (1998) with the worst values as reference. That box is the one of now, so the areas of all rows compare.
    """
    rows: list[dict[str, Any]] = []
    remarks = []
    studies = results.objectives()
    most = MAX_STEPS // len(studies)
    for study, objectives in studies.items():
        modes = {objective["metric"]: objective["mode"] for objective in objectives}
        if len(modes) != 2:
            remarks.append(f"{study} has {len(modes)} objective{'s' * (len(modes) != 1)}: an area is of two.")
            continue
        steps = _steps(results, study, modes)
        kept = [steps[at * (len(steps) - 1) // (most - 1)] for at in range(most)] if len(steps) > most else steps
        if len(kept) < len(steps):
            remarks.append(f"{study}: {len(kept)} of {len(steps)} steps, evenly, with the last.")
        rows += kept
    return with_remarks(pa.Table.from_pylist(rows, DOMINATED_AREA_COLUMNS), remarks)


def _steps(results: Results, study: str, modes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a study."""
    x, y = modes
    query = f"""SELECT trial_id, finished_at, "{x}" AS x, "{y}" AS y FROM trials
        WHERE study = $study AND {FINISHED_SQL} AND "{x}" IS NOT NULL AND "{y}" IS NOT NULL
        ORDER BY finished_at NULLS FIRST, trial_id"""
    trials = results.sql(query, {"study": study}).to_pylist()
    shares = [_shares([trial[axis] for trial in trials], mode) for axis, mode in zip("xy", modes.values(), strict=True)]
    return [
        {"study": study, "trial_id": trials[at]["trial_id"], "finished_at": trials[at]["finished_at"]}
        | {"num_trials": at + 1, "area": area}
        for at, area in _grown(zip(*shares, strict=True))
    ]


def _shares(values: list[float], mode: str) -> list[float]:
    """Return how far each value is from the worst to the best: 0 to 1; 0 where all are equal."""
    if not values:
        return []
    low, high = min(values), max(values)
    best, worst = (high, low) if mode == "max" else (low, high)
    return [(value - worst) / (best - worst) if high > low else 0.0 for value in values]


def _grown(points: Iterable[Point]) -> Iterator[tuple[int, float]]:
    """Yield the number of each point that enlarges what is dominated, from 0, and the area then: more is better."""
    front: list[Point] = []  # ascending in x, so descending in y
    area = 0.0
    for number, (x, y) in enumerate(points):
        place = bisect_left(front, (x, y))
        if any(other_y >= y for _, other_y in front[place : place + 1]):
            continue
        first = place
        while first and front[first - 1][1] <= y:
            first -= 1
        front[first:place] = [(x, y)]
        before, area = area, _area(front)
        if area > before:
            yield number, area


def _area(front: list[Point]) -> float:
    left = [0.0, *(x for x, _ in front)]
    return sum((x - before) * y for before, (x, y) in zip(left, front, strict=False))


DOMINATED_AREA_COLUMNS = pa.schema(
    [
        ("study", pa.string()),
        ("trial_id", pa.string()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("num_trials", pa.int64()),
        ("area", pa.float64()),
    ]
)
DOMINATED_AREA = NamedQuery(dominated_area, QueryParameters, DOMINATED_AREA_COLUMNS, MAX_STEPS)
