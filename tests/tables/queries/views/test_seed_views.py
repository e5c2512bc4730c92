"""Dose-response and agreement against pandas and SciPy."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.errors import QueryError
from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.writer import StudyWriter
from tests.analysis.tables import planted, write_study
from tests.tables.queries.views.viewed_studies import MARGIN, STUDIES, parquet, settings_in
from tests.tables.rows import trial_row


def of_values(folder: Path, values: dict[float, list[float]], **more: object) -> Results:
    """Write completed trials of one size: at each strength a seed for each value."""
    with StudyWriter(Root.open(folder), "s") as writer:
        for strength, of_seeds in values.items():
            for seed, value in enumerate(of_seeds):
                point = {"augmentation_strength": strength, "ensemble_size": 1, "seed": seed}
                trial = trial_row(0, val_accuracy=value, **point, **more)
                writer.upsert_trial(trial | {"trial_id": f"{strength}-{seed}"})
    return open_results(folder)


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("outcome", ["val_accuracy", "attention_iou_teachers", MARGIN])
def test_means_and_intervals_are_scipys(root: Path, study: str, outcome: str):
    if outcome == MARGIN and study == "second":
        return
    found = answer(open_results(root / study), "dose_response", {"outcome": outcome}).to_pandas()
    trials = parquet(root, study, "trials").query("status == 'completed'").dropna(subset=[outcome])
    keys = settings_in(study)
    of_seeds = trials.groupby([*keys, "seed"])[outcome].mean().reset_index()
    groups = of_seeds.groupby(keys)[outcome]
    expected = groups.agg(["mean", "std", "size"]).reset_index()
    assert found[keys].to_numpy().tolist() == expected[keys].to_numpy().tolist()
    np.testing.assert_allclose(found["mean"], expected["mean"])
    assert found["num_seeds"].to_list() == expected["size"].to_list()
    assert found["num_trials"].to_list() == trials.groupby(keys).size().to_list()
    for row, seeds in zip(
        found.to_dict("records"), [of_seeds.loc[index] for index in groups.indices.values()], strict=True
    ):
        assert list(row["seeds"]) == seeds["seed"].to_list()
        assert list(row["values"]) == pytest.approx(seeds[outcome].to_list())
        if outcome != MARGIN:
            std = seeds[outcome].std()
            assert row["std"] == pytest.approx(std, nan_ok=True)
            if len(seeds) > 2:
                low, high = scipy.stats.t.interval(0.95, len(seeds) - 1, row["mean"], std / len(seeds) ** 0.5)
                assert (row["t_low"], row["t_high"]) == (pytest.approx(low), pytest.approx(high))
        assert (len(seeds) > 2) == (not pd.isna(row["t_low"]))
    assert found["num_seeds"].max() > 2


def test_few_or_equal_seeds_have_no_interval_and_shares_count_as_rounded(tmp_path: Path):
    values = {0.0: [0.5], 0.1: [0.5, 0.25], 0.2: [0.3, 0.3, 0.3], 0.3: [1 / 360, 3 / 360, 2 / 360], 0.4: [1 / 360] * 4}
    shares = of_values(tmp_path / "shares", {s: v for s, v in values.items() if s >= 0.3})
    (three, equal) = answer(shares, "dose_response").to_pylist()
    assert three["std"] == pytest.approx(1 / 360)
    rounding = (1 / 12) ** 0.5 / 360
    assert equal["std"] == pytest.approx(rounding)
    low, high = scipy.stats.t.interval(0.95, 3, equal["mean"], rounding / 2)
    assert (equal["t_low"], equal["t_high"]) == (pytest.approx(low), pytest.approx(high))
    irrational = {0.0: [2**0.5 / 2], 0.1: [0.5**0.5, 3**0.5 / 2], 0.2: [3**0.5 / 2] * 3}
    one, two, same = answer(of_values(tmp_path / "others", irrational), "dose_response").to_pylist()
    assert (one["std"], one["t_low"], two["t_low"], same["t_low"], same["std"]) == (None, None, None, None, 0)
    assert two["std"] > 0


def test_intervals_are_those_that_analyse_shows(tmp_path: Path):
    """With accuracies in steps of one image, and their gaps, which move in the same steps."""
    trials = planted(seeds=4)
    for row in trials:
        accuracy = round(row["val_accuracy"] * 100) / 100
        row |= {"val_accuracy": accuracy, "train_accuracy": 0.75, "generalization_gap": 0.75 - accuracy}
        if row["augmentation_strength"] == 0.5:
            row |= {"val_accuracy": 0.61, "generalization_gap": 0.75 - 0.61}
    results = write_study(tmp_path, trials)
    for outcome in ("val_accuracy", "generalization_gap"):
        means = (
            analyse(results, outcomes=[outcome], resamples=100).tables["effects"].to_pandas().query("kind == 'mean'")
        )
        found = answer(results, "dose_response", {"outcome": outcome}).to_pandas()
        keys = ["augmentation_strength", "ensemble_size"]
        both = found.merge(means, on=keys, suffixes=("", "_analysed"))
        assert len(both) == len(found) == 9
        for column in ("t_low", "t_high", "std"):
            assert both[column].to_list() == pytest.approx(both[f"{column}_analysed"].to_list())
        assert both["mean"].to_list() == pytest.approx(both["estimate"].to_list())


def test_seeds_of_unequal_settings_are_told(tmp_path: Path):
    results = of_values(tmp_path, {0.0: [0.5, 0.6, 0.7], 1.0: [0.1, 0.2]})
    assert remarks_of(answer(results, "dose_response")) == []
    found = answer(results, "dose_response", {"by": "ensemble_size"})
    assert found["values"].to_pylist() == [[pytest.approx(0.3), pytest.approx(0.4), 0.7]]
    assert remarks_of(found) == ["Unbalanced: in 1 row some seeds have fewer of the settings that are averaged."]


def test_only_completed_trials_count_and_that_is_said(root: Path):
    (remark,) = remarks_of(answer(open_results(root / "first"), "dose_response"))
    counts = parquet(root, "first", "trials")["status"].value_counts()
    assert remark == f"Only completed trials count; left out: {counts['failed']} failed, {counts['stopped']} stopped."


def test_strengths_without_end_are_refused_and_seeds_of_very_many_left_out(tmp_path: Path):
    results = of_values(tmp_path / "s", {number / 3_000: [0.5] for number in range(2_100)})
    with pytest.raises(QueryError, match=r"dose_response: 2100 settings are more than 2000; name fewer fields"):
        answer(results, "dose_response")
    assert answer(results, "dose_response", {"by": "ensemble_size"})["num_trials"].to_pylist() == [2_100]


def test_agreement_is_the_mean_of_its_metrics(root: Path):
    found = answer(open_results(root), "agreement", {"study": "second"}).to_pandas()
    trials = parquet(root, "second", "trials").query("status == 'completed'")
    trials = trials.assign(same_class=1 - trials["diversity_teachers"])
    metrics = {
        ("student", "ensemble", "class", "train"): ("fidelity_train", None),
        ("student", "ensemble", "class", "val"): ("fidelity_val", None),
        ("student", "ensemble", "class", "val_augmented"): ("fidelity_val_augmented", None),
        ("teacher", "teacher", "class", "val"): ("same_class", None),
        ("student", "teacher", "attention", "val"): ("attention_iou_student", "attention_iou_student_chance"),
        ("teacher", "teacher", "attention", "val"): ("attention_iou_teachers", "attention_iou_teachers_chance"),
    }
    pairs = ["first", "second", "what", "split"]
    assert {tuple(row) for row in found[pairs].to_numpy()} == set(metrics)
    for pair, rows in found.groupby(pairs):
        metric, chance = metrics[pair]
        groups = trials.dropna(subset=[metric]).groupby(["augmentation_strength", "ensemble_size"])
        of_seeds = trials.dropna(subset=[metric]).groupby(["augmentation_strength", "ensemble_size", "seed"])
        np.testing.assert_allclose(rows["mean"], of_seeds[metric].mean().groupby(level=[0, 1]).mean())
        assert rows["num_trials"].to_list() == groups.size().to_list()
        if chance is None:
            assert rows["chance"].isna().all()
        else:
            np.testing.assert_allclose(rows["chance"], of_seeds[chance].mean().groupby(level=[0, 1]).mean())
    assert 1 not in set(found.query("first == 'teacher' and what == 'attention'")["ensemble_size"])


@pytest.mark.parametrize("view", ["dose_response", "agreement"])
def test_no_value_is_nan(root: Path, view: str):
    rows = answer(open_results(root), view).to_pylist()
    assert rows
    assert "NaN" not in json.dumps(rows)
