"""Parameters of named queries as text and as values, the columns and bounds that they declare, and their mistakes."""

import math
from pathlib import Path

import pytest

from kd_sweep.errors import QueryError
from kd_sweep.storage.root import Root
from kd_sweep.study.caveats import CAM
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.queries.views.viewed_studies import settings_in
from tests.tables.rows import trial_row

VIEWS = [name for name, query in NAMED_QUERIES.items() if query.columns is not None]


def test_views_and_older_queries_are_one_list():
    assert [
        *("curves", "bands", "density", "dose_response", "agreement", "agreement_matrix", "reliability"),
        *("affinity_plane", "dominated_area", "parallel", "neighbours", "progress", "timeline", "stops"),
    ] == VIEWS
    assert set(NAMED_QUERIES) - set(VIEWS) == {
        *("summary", "leaderboard", "points", "trend", "best_epoch", "pareto", "metrics", "teachers"),
    }


@pytest.mark.parametrize("name", NAMED_QUERIES)
def test_every_named_query_can_be_of_one_study(root: Path, name: str):
    found = answer(open_results(root), name, {"study": "second"})
    assert set(found["study"].to_pylist()) <= {"second"}
    assert found.equals(answer(open_results(root / "second"), name))
    with pytest.raises(QueryError, match="study: 'third' is not in"):
        answer(open_results(root), name, {"study": "third"})


@pytest.mark.parametrize("name", VIEWS)
def test_answers_have_the_columns_that_are_declared(root: Path, name: str, tmp_path: Path):
    """The same without a row, and the same types."""
    query = NAMED_QUERIES[name]
    with StudyWriter(Root.open(tmp_path), "first") as writer:
        writer.upsert_trial(trial_row(1, "running"))
    for results in (open_results(root), open_results(root / "first"), open_results(tmp_path)):
        if name == "density" and len(results.studies()) > 1:
            continue
        found = answer(results, name)
        declared = [field for field in found.schema if field.name in query.columns.names]
        assert [(field.name, field.type) for field in declared] == [(f.name, f.type) for f in query.columns]
        others = set(found.column_names) - set(query.columns.names) - set(settings_in("first"))
        assert all(column.startswith("q0") for column in others) or name in ("parallel", "neighbours")
        assert query.most_rows is None or found.num_rows <= query.most_rows
        for column in found.columns:
            assert not any(isinstance(value, float) and math.isnan(value) for value in column.to_pylist())


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("bands", {"metrik": "ece"}, "bands: 'metrik' is none of its parameters; did you mean 'metric'?"),
        ("summary", {"metric": "ece"}, "summary: 'metric' is none of its parameters; possible: study"),
        ("bands", {"metric": "val_acc"}, "metric: 'val_acc' is no metric of these studies; did you mean"),
        ("bands", {"metric": "fidelity_per_class_val"}, "is no metric of these studies"),
        ("curves", {"metric": "train_s"}, "is no metric of these studies"),
        ("bands", {"quantiles": "0.5,2"}, "bands: quantiles: 2 is not from 0 to 1"),
        ("bands", {"quantiles": "0.5,x"}, "bands: quantiles: 'x' is not a number"),
        ("bands", {"quantiles": ""}, "bands: quantiles: .*empty: at least 1 value is needed"),
        ("bands", {"quantiles": [math.nan]}, "bands: quantiles: .* is not a finite number"),
        ("bands", {"by": "student_model"}, "bands: by: 'student_model' is no searched field; possible: augm"),
        ("density", {"rows": "201"}, "density: rows: .*201.* is not at most 200"),
        ("density", {"columns": "many"}, "density: columns: 'many' is not a whole number"),
        ("density", {"low": 2, "high": 1}, "density: low: 2 is above high, 1"),
        ("curves", {"trials": "nothing"}, "trial: 'nothing' is no trial in"),
        ("curves", {"trials": ["a"] * 101}, "curves: trials: .* is longer than 100 values"),
        ("neighbours", {"trial": "nothing"}, "trial: 'nothing' is no trial in"),
        ("timeline", {"since": "noon"}, "timeline: since: 'noon' is not a time, such as 2026-01-31T12:00"),
        ("dose_response", {"outcome": "epoch_s"}, "outcome: 'epoch_s' is no metric"),
    ],
)
def test_mistakes_are_one_line(root: Path, name: str, given: dict[str, object], message: str):
    with pytest.raises(QueryError, match=message) as error:
        answer(open_results(root / "second"), name, given)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "given", "is_told"),
    [
        *((name, {"metric": "attention_iou_student"}, True) for name in ("curves", "bands", "density")),
        ("dose_response", {"outcome": "attention_area_student"}, True),
        ("agreement", {}, True),
        ("affinity_plane", {"outcome": "attention_overlap_student"}, True),
        ("affinity_plane", {}, False),
        ("bands", {}, False),
        ("dose_response", {}, False),
    ],
)
def test_the_weakness_of_class_activation_maps_is_told(
    tmp_path: Path, name: str, given: dict[str, object], is_told: bool
):
    """As under other answers with such a metric, though no column of a view has its name."""
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.upsert_trial(trial_row(1, config='{"metrics":{"attention":"cam"}}'))
    assert (CAM in remarks_of(answer(open_results(tmp_path), name, given))) == is_told
