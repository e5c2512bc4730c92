"""The area that trials dominate, against cells that are counted one by one."""

import datetime
import json
from pathlib import Path

import numpy as np
import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.queries.views import dominated_area
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import trial_row

BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
OBJECTIVES = [{"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"}]
CELLS = 40


def study_of(folder: Path, points: np.ndarray, objectives: list[dict[str, str]] = OBJECTIVES) -> Results:
    """Write finished trials with these values of both objectives, which finish in this order."""
    with StudyWriter(Root.open(folder), "s") as writer:
        writer.set_study(objectives=json.dumps(objectives))
        for number, (x, y) in enumerate(points):
            finished_at = BEGAN + datetime.timedelta(minutes=number)
            row = trial_row(number, val_accuracy=float(x), ece=float(y), seed=number, finished_at=finished_at)
            writer.upsert_trial(row | {"trial_id": f"{number:08x}"})
    return open_results(folder)


def counted(points: np.ndarray, number: int) -> float:
    """Return the share of the cells of the box that the first so many points dominate: more of x, less of y."""
    (left, bottom), (right, top) = points.min(0), points.max(0)
    x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(bottom, top) + 0.5)
    is_dominated = np.zeros(x.shape, bool)
    for point_x, point_y in points[:number]:
        is_dominated |= (point_x > x) & (point_y < y)
    return float(is_dominated.mean())


@pytest.mark.parametrize("seed", range(8))
def test_areas_are_those_of_counted_cells(tmp_path: Path, seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, CELLS, (60, 2))
    found = answer(study_of(tmp_path, points / CELLS), "dominated_area").to_pylist()
    areas = [counted(points, number) for number in range(1, len(points) + 1)]
    grown = [number for number in range(1, len(points) + 1) if areas[number - 1] > ([0.0, *areas][number - 1])]
    assert [row["num_trials"] for row in found] == grown
    assert [row["area"] for row in found] == pytest.approx([areas[number - 1] for number in grown], abs=1e-12)
    assert [row["trial_id"] for row in found] == [f"{number - 1:08x}" for number in grown]


def test_what_has_no_area_has_no_row(tmp_path: Path) -> None:
    assert answer(study_of(tmp_path / "one", np.array([[0.5, 0.5]])), "dominated_area").num_rows == 0
    assert answer(study_of(tmp_path / "flat", np.array([[0.5, 0.5], [0.75, 0.5]])), "dominated_area").num_rows == 0
    best = answer(study_of(tmp_path / "best", np.array([[0.5, 0.5], [0.75, 0.25]])), "dominated_area").to_pylist()
    assert [(row["num_trials"], row["area"]) for row in best] == [(2, 1.0)]
    single = answer(study_of(tmp_path / "single", np.array([[0.5, 0.5]]), OBJECTIVES[1:]), "dominated_area")
    assert (single.num_rows, remarks_of(single)) == (0, ["s has 1 objective: an area is of two."])


def test_of_very_many_steps_some_are_left_out_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dominated_area, "MAX_STEPS", 5)
    points = np.array([[step / 20, 1 - step / 20] for step in range(20)])
    view = answer(study_of(tmp_path, points), "dominated_area")
    assert remarks_of(view) == [f"s: 5 of {len(points) - 1} steps, evenly, with the last."]
    assert view["num_trials"].to_pylist()[-1] == 20
