"""Curves, bands and density against pandas and NumPy on the same Parquet files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_sweep.errors import QueryError
from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.queries.views.viewed_studies import (
    MARGIN,
    NUM_TRIALS,
    STUDIES,
    epochs_with_settings,
    parquet,
    settings_in,
)
from tests.tables.rows import epoch_row, trial_id, trial_row


def written(
    folder: Path, curves: dict[int, list[float | None]], metric: str = "val_loss", strength: float | None = None
) -> Results:
    """Write a study with these values of a metric, by trial; each has the strength, or that of its number."""
    with StudyWriter(Root.open(folder), "s") as writer:
        for number, values in curves.items():
            own = {"augmentation_strength": strength or float(number), "ensemble_size": 1, "seed": 0}
            for epoch, value in enumerate(values, 1):
                writer.add_epoch({"trial_id": trial_id(number), "epoch": epoch, metric: value, **own})
            writer.upsert_trial(trial_row(number, **own, last_epoch=len(values)))
    return open_results(folder)


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("metric", ["fidelity_val", "attention_iou_teachers", "epoch_s"])
def test_bands_are_the_quantiles_of_each_setting(root: Path, study: str, metric: str):
    parameters = {"study": study, "metric": metric, "quantiles": [0, 0.25, 0.5, 0.975]}
    found = answer(open_results(root), "bands", parameters).to_pandas()
    keys = [*settings_in(study), "epoch"]
    values = epochs_with_settings(root, study).dropna(subset=[metric])
    groups = values.groupby(keys)[metric]
    expected = groups.quantile([0, 0.25, 0.5, 0.975]).unstack()
    assert found[keys].to_numpy().tolist() == [list(key) for key in expected.index]
    np.testing.assert_allclose(found[["q0", "q0_25", "q0_5", "q0_975"]], expected, rtol=1e-12)
    assert found["num_trials"].to_list() == groups.size().to_list()
    assert found["num_trials"].max() > 1
    assert set(found["study"]) == {study}


def test_bands_of_several_studies_are_those_of_each(root: Path):
    both = answer(open_results(root), "bands").to_pandas()
    each = [answer(open_results(root / study), "bands").to_pandas() for study in STUDIES]
    pd.testing.assert_frame_equal(both, pd.concat(each, ignore_index=True)[both.columns])


def test_bands_by_some_fields_pool_the_others_but_never_versions_of_plugins(root: Path):
    results = open_results(root)
    found = answer(results, "bands", {"study": "second", "by": "ensemble_size"}).to_pandas()
    groups = parquet(root, "second", "epochs").groupby(["ensemble_size", "epoch"])["val_accuracy"]
    np.testing.assert_allclose(found["q0_5"], groups.median(), rtol=1e-12)
    first = answer(results, "bands", {"study": "first", "by": []})
    assert first.column_names[:4] == ["study", "distillation_loss_source", "epoch", "num_trials"]
    assert set(first["distillation_loss_source"].to_pylist()) == {"1+0", "1+1"}


def test_an_extra_metric_has_bands_and_curves_without_the_epochs_that_lack_it(root: Path):
    results = open_results(root)
    found = answer(results, "bands", {"metric": MARGIN, "by": "", "quantiles": "0.5"}).to_pandas()
    expected = epochs_with_settings(root, "first").dropna(subset=[MARGIN])
    medians = expected.groupby(["distillation_loss_source", "epoch"])[MARGIN].median()
    assert found["q0_5"].to_list() == pytest.approx(medians.to_list())
    assert 1 not in set(found["epoch"])
    curve = answer(results, "curves", {"metric": MARGIN, "trials": trial_id(7), "study": "first"})
    assert curve["value"].to_pylist() == [7 + epoch / 8 for epoch in curve["epoch"].to_pylist()]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    ),
    st.floats(0, 1),
)
def test_bands_of_any_values_are_numpys_quantiles(
    tmp_path_factory: pytest.TempPathFactory, curves: list[list[float | None]], quantile: float
):
    results = written(tmp_path_factory.mktemp("study"), dict(enumerate(curves)))
    found = answer(results, "bands", {"metric": "val_loss", "by": (), "quantiles": (quantile,)})
    expected = {}
    for epoch in range(1, 5):
        values = [values[epoch - 1] for values in curves if len(values) >= epoch]
        present = [value for value in values if value is not None]
        if present:
            expected[epoch] = (len(present), np.quantile(present, quantile))
    rows = {row["epoch"]: (row["num_trials"], row[found.column_names[-1]]) for row in found.to_pylist()}
    assert rows.keys() == expected.keys()
    for epoch, (number, value) in expected.items():
        assert rows[epoch] == (number, pytest.approx(value, rel=1e-9, abs=1e-6))


def test_curves_are_the_rows_of_the_trials_that_were_named(root: Path):
    wanted = [trial_id(number) for number in (3, 4, 11)]
    parameters = {"study": "first", "metric": "ece", "trials": ",".join(name[:8] for name in wanted)}
    found = answer(open_results(root), "curves", parameters).to_pandas()
    expected = epochs_with_settings(root, "first")
    expected = expected[expected["trial_id"].isin(wanted)].sort_values(["trial_id", "epoch"])
    assert len(expected) == 12
    keys = ["trial_id", *settings_in("first"), "seed", "status", "epoch"]
    pd.testing.assert_frame_equal(found[keys], expected[keys].reset_index(drop=True))
    assert found["value"].to_list() == expected["ece"].to_list()


def test_a_trial_of_two_studies_has_two_curves(root: Path):
    found = answer(open_results(root), "curves", {"trials": [trial_id(1)]}).to_pandas()
    assert found.groupby("study").size().to_dict() == {"first": 4, "second": 4}


def test_unnamed_curves_are_even_over_the_ranks_and_no_more_than_fit(tmp_path: Path):
    results = written(tmp_path, {number: [0.5] for number in range(130)})
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(130):
            writer.upsert_trial({"trial_id": trial_id(number), "objective": number / 130})
    found = answer(results, "curves", {"metric": "val_loss"})
    shown = {int(strength) for strength in found["augmentation_strength"].to_pylist()}
    assert len(shown) == found.num_rows == 100
    assert {0, 129} <= shown
    assert max(np.diff(sorted(shown))) == 2
    assert remarks_of(found) == ["100 of 130 trials, evenly over their ranks."]


def test_very_long_curves_are_thinned_with_first_and_last(tmp_path: Path):
    lengths = {0: 60_001, **dict.fromkeys(range(1, 10), 10)}
    results = written(tmp_path, {number: [epoch / 4 for epoch in range(1, n + 1)] for number, n in lengths.items()})
    found = answer(results, "curves", {"metric": "val_loss"})
    assert found.num_rows <= 25_000
    rows = found.to_pandas()
    assert rows["value"].to_list() == [epoch / 4 for epoch in rows["epoch"]]
    for number, length in lengths.items():
        epochs = rows[rows["trial_id"] == trial_id(number)]["epoch"].to_list()
        assert (epochs[0], epochs[-1]) == (1, length)
        assert len(set(np.diff(epochs)[1:-1])) <= 1
    assert found.num_rows > 2_000
    assert "one in 25:" in remarks_of(found)[0]
    whole = answer(results, "curves", {"metric": "val_loss", "trials": trial_id(3)})
    assert whole.num_rows < 10


@pytest.mark.parametrize(("quantiles", "most"), [("0.5", 10_000), ("0,0.1,0.2,0.3,0.5,0.6,0.7,0.8,1", 3_333)])
def test_bands_of_many_settings_are_thinned_with_first_and_last(tmp_path: Path, quantiles: str, most: int):
    many = written(tmp_path, {number: [0.5] * 150 for number in range(80)})
    bands = answer(many, "bands", {"metric": "val_loss", "quantiles": quantiles})
    assert most / 2 < bands.num_rows <= most
    assert {1, 150} <= set(bands["epoch"].to_pylist())
    assert bands.num_rows == 80 * len(set(bands["epoch"].to_pylist()))


def test_curves_that_a_sample_left_out_of_one_study_are_not_in_it_for_the_other(tmp_path: Path):
    """The same trial is in both, at another rank."""
    for study, sign in (("a", 1), ("b", -1)):
        with StudyWriter(Root.open(tmp_path), study) as writer:
            for number in range(90):
                writer.add_epoch(epoch_row(number, 1))
                objective = sign * (number * 37 % 90) / 128
                writer.upsert_trial(trial_row(number, last_epoch=1, objective=objective))
    found = answer(open_results(tmp_path), "curves").to_pandas()
    assert found.groupby("study").size().to_dict() == {"a": 50, "b": 50}
    assert set(found.query("study == 'a'")["trial_id"]) != set(found.query("study == 'b'")["trial_id"])


@pytest.mark.parametrize("bounds", [{}, {"low": 0.25, "high": "0.75"}])
def test_density_is_numpys_histogram(root: Path, bounds: dict[str, float]):
    parameters = {"study": "second", "metric": "ece", "columns": 3, "rows": 20, **bounds}
    found = answer(open_results(root), "density", parameters)
    epochs = parquet(root, "second", "epochs")
    low, high = float(bounds.get("low", epochs["ece"].min())), float(bounds.get("high", epochs["ece"].max()))
    inside = epochs[epochs["ece"].between(low, high)]
    counts, _, edges = np.histogram2d(inside["epoch"], inside["ece"], [[1, 3, 5, 7], np.linspace(low, high, 21)])
    raster = np.zeros_like(counts)
    for cell in found.to_pylist():
        column, row = [1, 3, 5].index(cell["epoch_low"]), np.argmin(np.abs(edges - cell["value_low"]))
        raster[column, row] = cell["num_values"]
        assert cell["value_high"] == pytest.approx(edges[row + 1])
        assert cell["epoch_high"] == min(cell["epoch_low"] + 1, 5)
    np.testing.assert_array_equal(raster, counts)
    outside = len(epochs) - len(inside)
    assert remarks_of(found) == ([f"{outside} values are outside of what is drawn."] if outside else [])
    assert bool(outside) == bool(bounds)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=7), min_size=1, max_size=4), st.integers(1, 9))
def test_density_holds_every_value_once(
    tmp_path_factory: pytest.TempPathFactory, curves: list[list[float]], cells: int
):
    results = written(tmp_path_factory.mktemp("study"), dict(enumerate(curves)))
    found = answer(results, "density", {"metric": "val_loss", "columns": cells, "rows": cells}).to_pylist()
    assert sum(cell["num_values"] for cell in found) == sum(map(len, curves))
    assert len({cell["epoch_low"] for cell in found}) <= cells
    for cell in found:
        values = [value for curve in curves for value in curve[cell["epoch_low"] - 1 : cell["epoch_high"]]]
        near = [value for value in values if cell["value_low"] - 1e-9 <= value <= cell["value_high"] + 1e-9]
        assert 0 < cell["num_values"] <= len(near)


def test_density_of_several_studies_is_refused(root: Path):
    with pytest.raises(QueryError, match=r"density: of one study at a time, and these are 2; name it: study=first"):
        answer(open_results(root), "density")


def test_a_random_dimension_is_pooled_and_that_is_said(tmp_path: Path):
    curves = {number: [0.5, number / 200] for number in range(150)}
    results = written(tmp_path, curves, strength=0.5)
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(150):
            loss = "kl" if number % 2 else "dkd"
            random = {
                "student_learning_rate": number / 7,
                "distillation_loss": loss,
                "student_pretrained": loss == "kl",
            }
            writer.upsert_trial({"trial_id": trial_id(number), **random})
    found = answer(results, "bands", {"metric": "val_loss", "quantiles": [1]})
    assert "student_learning_rate" not in found.column_names
    assert {"distillation_loss", "student_pretrained", "augmentation_strength"} <= set(found.column_names)
    assert found["num_trials"].to_pylist() == [75] * 4
    assert remarks_of(found) == ["Taken together, whatever their student_learning_rate: it has too many values."]
    with pytest.raises(QueryError, match=r"bands: 150 settings are more than 100; name fewer fields"):
        answer(results, "bands", {"metric": "val_loss", "by": "student_learning_rate"})


def test_views_of_epochs_while_they_are_written(tmp_path: Path):
    """A reader that was opened before the parts were merged sees every row once."""
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.set_study(status="running")
        results = open_results(tmp_path)
        for epoch in range(1, 11):
            for number in range(3):
                writer.add_epoch(epoch_row(number, epoch))
                writer.upsert_trial(trial_row(number, "running", last_epoch=epoch))
            writer.flush()
            assert sum(answer(results, "density")["num_values"].to_pylist()) == 3 * epoch
            assert sum(answer(results, "bands")["num_trials"].to_pylist()) == 3 * epoch
            assert answer(results, "curves").num_rows == 3 * epoch


def test_the_number_of_trials_is_that_of_the_fixture(root: Path):
    assert len(parquet(root, "first", "trials")) == NUM_TRIALS
