"""Agreement of single networks, bins of confidence, and differences from strength 0, against pandas."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.queries.views.viewed_studies import parquet
from tests.tables.rows import epoch_row, trial_row


def last_epochs(root: Path, study: str) -> pd.DataFrame:
    trials = parquet(root, study, "trials").query("status == 'completed'")[["trial_id", "last_epoch"]]
    return parquet(root, study, "epochs").merge(trials.rename(columns={"last_epoch": "epoch"}))


def test_sizes_are_kept_apart_though_others_are_named(root: Path) -> None:
    found = answer(open_results(root / "second"), "agreement_matrix", {"by": "augmentation_strength"}).to_pandas()
    epochs = last_epochs(root, "second")
    for (strength, size), rows in found.groupby(["augmentation_strength", "ensemble_size"]):
        own = epochs[(epochs["augmentation_strength"] == strength) & (epochs["ensemble_size"] == size)]
        pairs = list(zip(rows["first"], rows["second"], strict=True))
        expected = [("student", f"teacher {member}") for member in range(1, size + 1)]
        assert pairs == ([("teacher 1", "teacher 2")] if size == 2 else []) + expected
        for member, mean in enumerate(rows.query("first == 'student'")["mean"]):
            values = own.assign(value=[one[member] for one in own["agreement_student"]])
            assert mean == pytest.approx(values.groupby("seed")["value"].mean().mean(), rel=1e-12)
        assert set(rows["num_trials"]) == {len(own)}
        assert set(rows["num_seeds"]) == {own["seed"].nunique()}


def test_bins_hold_the_images_of_all_trials(root: Path) -> None:
    found = answer(open_results(root / "second"), "reliability", {"by": "ensemble_size"}).to_pandas()
    epochs = last_epochs(root, "second")
    assert found.groupby("ensemble_size").size().to_list() == [30, 30]
    for (size, network), rows in found.groupby(["ensemble_size", "network"]):
        who = "student" if network == "student" else "teachers"
        own = epochs[epochs["ensemble_size"] == size]
        counts, shares = (
            np.stack(own[f"reliability_{what}_{who}"].to_list()).astype(float) for what in ("count", "accuracy")
        )
        assert rows["num_images"].to_list() == counts.sum(0).tolist()
        expected = np.nansum(counts * shares, axis=0)[rows["num_images"] > 0] / counts.sum(0)[rows["num_images"] > 0]
        assert rows["accuracy"].dropna().to_list() == pytest.approx(expected.tolist(), rel=1e-12)
        assert rows["low"].to_list() == pytest.approx((np.arange(15) / 15).tolist())


def test_rows_of_earlier_metrics_are_counted_in_a_remark(tmp_path: Path) -> None:
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number, version in enumerate((2, 3)):
            changes = {"metrics_version": version, "ensemble_size": 1}
            writer.add_epoch(epoch_row(number, 1, **changes) | ({"agreement_student": None} if version == 2 else {}))
            writer.upsert_trial(trial_row(number, last_epoch=1, **changes))
    view = answer(open_results(tmp_path), "agreement_matrix")
    assert remarks_of(view) == ["Without 1 trial whose metrics are of version 2 or before."]
    assert view["num_trials"].to_pylist() == [1]


def test_a_difference_is_from_the_trial_at_strength_0_of_the_seed(tmp_path: Path) -> None:
    accuracies = {(0.0, 0): 0.5, (0.0, 1): 0.625, (1.0, 0): 0.75, (1.0, 1): 0.75, (1.0, 2): 0.25}
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for (strength, seed), accuracy in accuracies.items():
            row = trial_row(0, augmentation_strength=strength, ensemble_size=1, seed=seed, val_accuracy=accuracy)
            row |= {"affinity": 1 - strength / 2, "diversity": 1 + strength, "trial_id": f"{strength}-{seed}"}
            writer.upsert_trial(row)
    clean, strong = answer(open_results(tmp_path), "affinity_plane").to_pylist()
    assert (clean["relative"], clean["num_pairs"], clean["affinity"]) == (0.0, 2, 1.0)
    assert (strong["relative"], strong["num_pairs"], strong["num_seeds"]) == (pytest.approx((0.25 + 0.125) / 2), 2, 3)
    assert (strong["mean"], strong["affinity"], strong["diversity"]) == (pytest.approx(1.75 / 3), 0.5, 2.0)


@pytest.mark.parametrize("view", ["affinity_plane", "agreement_matrix", "reliability"])
def test_seeds_of_unequal_settings_are_told(tmp_path: Path, view: str) -> None:
    for study, seeds in (("even", (0, 1)), ("uneven", (0,))):
        with StudyWriter(Root.open(tmp_path), study) as writer:
            for number, (strength, seed) in enumerate([(0.0, 0), (0.0, 1), *((1.0, seed) for seed in seeds)]):
                point = {"augmentation_strength": strength, "ensemble_size": 1, "seed": seed}
                writer.add_epoch(epoch_row(number, 1, **point))
                of_trial = {"last_epoch": 1, "affinity": 1.0, "diversity": 1.0}
                writer.upsert_trial(trial_row(number, val_accuracy=0.5, metrics_version=3, **point, **of_trial))
    for study, num_rows in (("even", 0), ("uneven", {"reliability": 30}.get(view, 1))):
        found = answer(open_results(tmp_path / study), view, {"by": "ensemble_size"})
        rows = "1 row" if num_rows == 1 else f"{num_rows} rows"
        told = [f"Unbalanced: in {rows} some seeds have fewer of the settings that are averaged."] * (num_rows > 0)
        assert remarks_of(found) == told
        assert "is_unbalanced" not in found.column_names
        assert remarks_of(answer(open_results(tmp_path / study), view)) == []
