"""Named queries against pandas."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_sweep.errors import QueryError
from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer, non_dominated
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import epoch_row, trial_id, trial_row

GROUPS = ["study", "augmentation_strength", "ensemble_size", "distillation_temperature"]
OBJECTIVES = {
    "first": [{"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"}],
    "second": [{"metric": "val_loss", "mode": "min"}],
}
STATUSES = ["completed", "stopped", "failed", "running", "completed"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("root")
    for study, objectives in OBJECTIVES.items():
        with StudyWriter(Root.open(root), study) as writer:
            writer.set_study(objectives=json.dumps(objectives))
            for number in range(60):
                last = 3 - (number % 7 == 0)
                for epoch in range(1, last + 1):
                    writer.add_epoch(epoch_row(number, epoch))
                outcome = {metric: row for metric, row in epoch_row(number, last).items() if metric in REPORTED_METRICS}
                more = {"distillation_temperature": float(number % 4 // 2)} if study == "first" else {}
                status = STATUSES[number % 5]
                objective = outcome[objectives[0]["metric"]] if number % 13 else None
                writer.upsert_trial(trial_row(number, status, **outcome, **more, objective=objective, last_epoch=last))
            for strength in (0.0, 0.5):
                for member in (1, 2):
                    row = {"teacher_id": f"{strength}-{member}", "augmentation_strength": strength, "seed": 0}
                    writer.upsert_teacher(row | {"member": member, "model": "resnet14", "val_accuracy": 0.9})
    return open_results(root)


def only(results: Results, study: str) -> Results:
    return open_results(results.root.child(study))


def finished(results: Results) -> pd.DataFrame:
    trials = results.pandas("trials")
    return trials[trials["status"].isin(["completed", "stopped"])]


def test_summary_is_the_mean_over_finished_trials(results: Results):
    found = answer(results, "summary").to_pandas()
    groups = finished(results).groupby(GROUPS, dropna=False)
    expected = groups.agg(
        num_trials=("trial_id", "size"),
        val_accuracy=("val_accuracy", "mean"),
        fidelity_val=("fidelity_val", "mean"),
        attention_iou_teachers=("attention_iou_teachers", "mean"),
        generalization_gap=("generalization_gap", "mean"),
        val_accuracy_std=("val_accuracy", "std"),
    ).reset_index()
    assert len(expected) == 18
    assert list(found.columns[:5]) == [*GROUPS, "num_trials"]
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)


def test_metrics_are_those_that_epochs_have_a_value_of_and_how_many(results: Results, with_extra: Results):
    for own, extra in ((only(results, "first"), []), (only(with_extra, "own"), ["mykd_margin"])):
        epochs = own.pandas("epochs")
        names = [*REPORTED_METRICS, *extra, "learning_rate", "epoch_s", "train_images_per_s"]
        counts = {name: epochs[name].notna().sum() for name in names if not epochs[name].map(np.ndim).any()}
        found = answer(own, "metrics")
        assert found.column_names == ["study", "metric", "num_values"]
        told = dict(zip(found["metric"].to_pylist(), found["num_values"].to_pylist(), strict=True))
        assert told == {name: count for name, count in counts.items() if count}
    assert "mykd_margin" in told
    both = answer(results, "metrics")["study"].to_pylist()
    assert both == sorted(both)
    assert set(both) == {"first", "second"}


def test_summary_of_one_study_has_only_its_columns(results: Results):
    first, second = (answer(only(results, study), "summary") for study in ("first", "second"))
    assert "distillation_temperature" in first.column_names
    assert "distillation_temperature" not in second.column_names
    assert set(second["study"].to_pylist()) == {"second"}


def test_summary_has_no_spread_of_single_trials(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(6):
            writer.upsert_trial(trial_row(number, val_accuracy=0.5, augmentation_strength=number / 10))
    found = answer(open_results(tmp_path), "summary")
    assert found["num_trials"].to_pylist() == [1] * 6
    assert not [name for name in found.column_names if name.endswith("_std")]


@pytest.mark.parametrize("study", OBJECTIVES)
def test_leaderboard_sorts_by_the_first_objective_and_its_mode(results: Results, study: str):
    found = answer(only(results, study), "leaderboard")
    trials = results.pandas("trials").query(f"study == '{study}' and objective.notna()")
    expected = trials.sort_values("objective", ascending=OBJECTIVES[study][0]["mode"] == "min")
    assert found["trial_id"].to_pylist() == expected["trial_id"].to_list()
    assert found["rank"].to_pylist() == list(range(1, len(expected) + 1))
    assert set(found["objective_metric"].to_pylist()) == {OBJECTIVES[study][0]["metric"]}


@pytest.mark.parametrize("study", ["first", "second"])
def test_points_are_ranked_by_the_mean_over_seeds(results: Results, study: str):
    found = answer(only(results, study), "points").to_pandas()
    trials = results.pandas("trials").query(f"study == '{study}' and objective.notna()")
    trials = trials[trials["status"].isin(["completed", "stopped"])]
    groups = [name for name in GROUPS if name in found.columns]
    means = trials.groupby(groups, dropna=False)["objective"].agg(["mean", "std", "size"]).reset_index()
    expected = means.sort_values("mean", ascending=OBJECTIVES[study][0]["mode"] == "min")
    assert found["rank"].to_list() == list(range(1, len(expected) + 1))
    assert found["objective"].to_list() == pytest.approx(expected["mean"].to_list())
    assert found["num_trials"].to_list() == expected["size"].to_list()
    assert max(found["num_trials"]) > 1
    assert found["objective_std"].fillna(-1).to_list() == pytest.approx(expected["std"].fillna(-1).to_list())


def test_leaderboard_of_all_studies_ranks_each(results: Results):
    found = answer(results, "leaderboard")
    each = [answer(only(results, study), "leaderboard") for study in ("first", "second")]
    assert found["trial_id"].to_pylist() == [trial for table in each for trial in table["trial_id"].to_pylist()]
    assert found["rank"].to_pylist() == [rank for table in each for rank in range(1, table.num_rows + 1)]


@pytest.mark.parametrize("study", [None, "first", "second"])
def test_trend_is_the_mean_per_epoch(results: Results, study: str | None):
    found = answer(only(results, study) if study else results, "trend").to_pandas()
    epochs = results.pandas("epochs").merge(
        results.pandas("trials")[["study", "trial_id", "distillation_temperature"]], on=["study", "trial_id"]
    )
    if study is not None:
        epochs = epochs[epochs["study"] == study]
    groups = [name for name in GROUPS if name in found.columns] + ["epoch"]
    assert ("distillation_temperature" in groups) == (study != "second")
    expected = (
        epochs.groupby(groups, dropna=False)
        .agg(
            num_trials=("trial_id", "size"),
            val_accuracy=("val_accuracy", "mean"),
            attention_iou_teachers=("attention_iou_teachers", "mean"),
        )
        .reset_index()
    )
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    assert expected["num_trials"].nunique() > 1


def test_pareto_against_every_pair(results: Results):
    trials = finished(results).query("study == 'first'")
    scores = np.stack([-trials["val_accuracy"], trials["ece"]], axis=1)
    beaten = [any((other <= score).all() and (other < score).any() for other in scores) for score in scores]
    expected = set(trials["trial_id"][~np.array(beaten)])
    found = answer(only(results, "first"), "pareto")
    assert set(found["trial_id"].to_pylist()) == expected
    assert 1 < len(expected) < len(trials)
    accuracies = found["val_accuracy"].to_pylist()
    assert accuracies == sorted(accuracies, reverse=True)
    assert {"val_accuracy", "ece"} <= set(found.column_names)


def test_pareto_of_one_objective_is_the_best(results: Results):
    (best,) = answer(only(results, "second"), "pareto").to_pylist()
    assert best["val_loss"] == finished(results).query("study == 'second'")["val_loss"].min()


@given(st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), max_size=25))
def test_non_dominated_is_what_its_definition_says(points: list[tuple[float, ...]]):
    def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    expected = [index for index, point in enumerate(points) if not any(dominates(other, point) for other in points)]
    found = non_dominated(points)
    assert sorted(found) == expected
    assert [points[index] for index in found] == sorted(points[index] for index in found)


def test_pareto_leaves_out_missing_values(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.set_study(objectives='[{"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"}]')
        writer.upsert_trial(trial_row(1, val_accuracy=0.9))
        writer.upsert_trial(trial_row(2, val_accuracy=0.5, ece=0.1))
        writer.upsert_trial(trial_row(3, "failed", val_accuracy=0.99, ece=0.01))
    assert answer(open_results(tmp_path), "pareto")["trial_id"].to_pylist() == [trial_id(2)]


def test_teachers_count_the_trials_that_learn_from_them(results: Results):
    found = {(row["study"], row["teacher_id"]): row for row in answer(results, "teachers").to_pylist()}
    trials = results.pandas("trials").query("study == 'second' and seed == 0")
    for strength in (0.0, 0.5):
        for member in (1, 2):
            uses = trials[(trials["augmentation_strength"] == strength) & (trials["ensemble_size"] >= member)]
            assert found["second", f"{strength}-{member}"]["num_trials"] == len(uses) > 0


def test_teachers_do_not_guess(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.upsert_trial(trial_row(0, teacher_width=8))
        writer.upsert_teacher({"teacher_id": "t", "augmentation_strength": 0.0, "seed": 0, "member": 1})
    assert answer(open_results(tmp_path), "teachers")["num_trials"].to_pylist() == [None]


def test_teachers_do_not_count_where_two_are_alike_but_for_what_no_column_says(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.upsert_trial(trial_row(0, ensemble_size=2))
        for name, member in (("short", 1), ("long", 1), ("other", 2)):
            writer.upsert_teacher({"teacher_id": name, "augmentation_strength": 0.0, "seed": 0, "member": member})
    found = answer(open_results(tmp_path), "teachers").to_pylist()
    assert {row["teacher_id"]: row["num_trials"] for row in found} == {"short": None, "long": None, "other": 1}


def test_best_epoch_is_the_row_of_the_best_clean_validation_accuracy_and_the_first_of_equals(results: Results):
    found = answer(results, "best_epoch").to_pandas()
    epochs = results.pandas("epochs").sort_values(["study", "trial_id", "epoch"])
    best = epochs.loc[epochs.groupby(["study", "trial_id"])["val_accuracy"].idxmax()]
    assert len(found) == len(best) == 120
    assert set(best["epoch"]) == {1, 2, 3}
    columns = ["study", "trial_id", "epoch", "val_accuracy", "fidelity_train_rethinkkd", "ece_train_rethinkkd"]
    order = ["study", "trial_id"]
    pd.testing.assert_frame_equal(
        found[columns].sort_values(order).reset_index(drop=True),
        best[columns].sort_values(order).reset_index(drop=True),
        check_dtype=False,
    )
    assert {name for name in REPORTED_METRICS if name.endswith("_rethinkkd")} <= set(found.columns)


def test_of_equal_epochs_the_first_is_best(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number, accuracies in enumerate([(0.5, 0.7, 0.7), (0.6, 0.6, 0.1), (None, 0.2, 0.1)]):
            writer.upsert_trial(trial_row(number))
            for epoch, accuracy in enumerate(accuracies, 1):
                writer.add_epoch(epoch_row(number, epoch, val_accuracy=accuracy))
    found = answer(open_results(tmp_path), "best_epoch").to_pylist()
    assert {row["trial_id"]: row["epoch"] for row in found} == {trial_id(0): 2, trial_id(1): 1, trial_id(2): 2}


@pytest.fixture(scope="module")
def with_extra(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A study that asks for a metric of a plug-in, which one trial has no value of, beside one that does not."""
    root = tmp_path_factory.mktemp("extra")
    for study, metrics in (("own", ["mykd_margin"]), ("plain", [])):
        with StudyWriter(Root.open(root), study, metrics=metrics) as writer:
            objective = metrics[0] if metrics else "val_loss"
            writer.set_study(objectives=json.dumps([{"metric": objective, "mode": "min"}]))
            for number in range(12):
                values = [None if number == 7 else number * epoch / 10 for epoch in (1, 2)]
                for epoch, value in enumerate(values, 1):
                    writer.add_epoch(epoch_row(number, epoch, **dict.fromkeys(metrics, value)))
                own = dict.fromkeys(metrics, values[-1]) | {"val_accuracy": 0.5, "fidelity_val": 0.25}
                writer.upsert_trial(trial_row(number, **own, objective=values[-1], last_epoch=2))
    return open_results(root)


def test_extra_metrics_are_in_the_answers_where_studies_have_them(with_extra: Results):
    own, plain = only(with_extra, "own"), only(with_extra, "plain")
    trials, epochs = own.pandas("trials"), own.pandas("epochs")
    groups = ["augmentation_strength", "ensemble_size"]
    summary = answer(own, "summary").to_pandas()
    expected = trials.groupby(groups)["mykd_margin"].agg(["mean", "std"])
    assert summary["mykd_margin"].to_list() == pytest.approx(expected["mean"].to_list())
    assert summary["mykd_margin_std"].to_list() == pytest.approx(expected["std"].to_list(), nan_ok=True)
    trend = answer(own, "trend").to_pandas()
    means = epochs.groupby([*groups, "epoch"])["mykd_margin"].mean()
    assert trend["mykd_margin"].to_list() == pytest.approx(means.to_list())
    best = answer(own, "best_epoch").to_pandas()
    at_best = best.merge(epochs, on=["trial_id", "epoch"])
    pd.testing.assert_series_equal(at_best["mykd_margin_x"], at_best["mykd_margin_y"], check_names=False)
    for name in NAMED_QUERIES:
        assert "mykd_margin" not in answer(plain, name).column_names


def test_an_extra_metric_is_an_objective_and_a_column_of_the_leaderboard(with_extra: Results):
    leaders = answer(only(with_extra, "own"), "leaderboard").to_pylist()
    assert [row["objective"] for row in leaders] == sorted(number / 5 for number in range(12) if number != 7)
    assert "mykd_margin" not in leaders[0], "it is the objective"
    with StudyWriter(with_extra.root, "own", metrics=["mykd_margin"]) as writer:
        writer.set_study(objectives=json.dumps([{"metric": "val_accuracy", "mode": "max"}]))
    shown = answer(with_extra, "leaderboard").to_pylist()
    values = {(row["study"], row["trial_id"]): row["mykd_margin"] for row in shown}
    assert (values["own", trial_id(3)], values["plain", trial_id(3)]) == (pytest.approx(0.6), None)


def test_a_study_that_has_no_epochs_yet_has_its_extra_metrics(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s", metrics=["mykd_margin"]) as writer:
        writer.upsert_trial(trial_row(1, "running"))
    for name in NAMED_QUERIES:
        answer(open_results(tmp_path), name)


@pytest.mark.parametrize("name", NAMED_QUERIES)
def test_every_query_answers_an_empty_study(tmp_path: Path, name: str):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.set_study(status="running")
    table = answer(open_results(tmp_path), name)
    assert table.num_rows == (name == "progress")
    assert "study" in table.column_names


def test_a_wrong_name_is_told_with_the_one_that_is_near(results: Results):
    with pytest.raises(QueryError, match=r"'leaderbord' is not a named query; did you mean 'leaderboard'"):
        answer(results, "leaderbord")
