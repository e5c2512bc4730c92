"""Seeds of a student apart, in the analysis: components of variance, and one observation for each seed in effects."""

import io

import numpy as np
import pytest

from kd_sweep.analysis.analysis_text import write_text
from kd_sweep.analysis.study_analysis import analyse, pooled_effects
from kd_sweep.study.trial import SEED_LEVELS
from tests.analysis.tables import planted, trial, write_study

ORDER, INITIALISATION, AUGMENTATION = SEED_LEVELS


def made(seeds=(0,), strengths=(0.5,), orders=range(4), weights=range(6)):
    generator = np.random.default_rng(5)
    of_order, of_weights = generator.normal(0, 0.02, 10), generator.normal(0, 0.005, 10)
    rows = []
    for strength in strengths:
        for seed in seeds:
            for order in orders:
                for initial in weights:
                    accuracy = 0.7 + 0.1 * strength + 0.01 * seed + of_order[order] + of_weights[initial]
                    levels = {ORDER: order, INITIALISATION: initial}
                    rows.append(trial(strength, 1, seed, val_accuracy=accuracy + generator.normal(0, 0.002), **levels))
    return rows


def test_each_level_has_its_component_by_hand(tmp_path):
    rows = made()
    found = analyse(write_study(tmp_path, rows), outcomes=["val_accuracy"]).components.to_pylist()
    cells = np.array([row["val_accuracy"] for row in rows]).reshape(4, 6)
    grand, of_order, of_weights = cells.mean(), cells.mean(1), cells.mean(0)
    rest = ((cells - of_order[:, None] - of_weights[None, :] + grand) ** 2).sum() / 15
    expected = {
        ORDER: (6 * of_order.var(ddof=1) - rest) / 6,
        INITIALISATION: (4 * of_weights.var(ddof=1) - rest) / 4,
        "rest": rest,
    }
    assert {row["level"]: row["variance"] for row in found} == pytest.approx(expected, rel=1e-9)
    assert [row["degrees"] for row in found] == [3, 5, 15]
    assert sum(row["share"] for row in found) == pytest.approx(1.0)
    assert {row["num_trials"] for row in found} == {24}


def test_one_level_alone_is_its_sample_variance(tmp_path):
    rows = made(orders=(0,))
    (row,) = analyse(write_study(tmp_path, rows), outcomes=["val_accuracy"]).components.to_pylist()
    assert row["variance"] == pytest.approx(np.var([row["val_accuracy"] for row in rows], ddof=1))
    assert row["low"] < row["variance"] < row["high"]


def test_a_missing_trial_is_a_note_and_no_number(tmp_path):
    (row,) = analyse(write_study(tmp_path, made()[1:]), outcomes=["val_accuracy"]).components.to_pylist()
    assert (row["variance"], row["num_trials"]) == (None, 23)
    assert "not every combination" in row["note"]


def test_effects_have_one_observation_for_each_seed_whatever_its_levels(tmp_path):
    rows = made(seeds=(0, 1, 2), strengths=(0.0, 0.5))
    analysis = analyse(write_study(tmp_path, rows), outcomes=["val_accuracy"])
    (row,) = pooled_effects(analysis.effects).to_pylist()
    assert (row["num_seeds"], row["num_pairs"], row["other_fields"]) == (3, 3, None)
    of = {
        strength: [row["val_accuracy"] for row in rows if row["augmentation_strength"] == strength]
        for strength in (0.0, 0.5)
    }
    assert row["estimate"] == pytest.approx(np.mean(of[0.5]) - np.mean(of[0.0]))
    out = io.BytesIO()
    write_text(analysis, out, complete=False)
    assert "Variance by seeds" in out.getvalue().decode()
    assert "varies seeds of the student apart" in out.getvalue().decode()


def test_a_study_of_one_seed_for_all_has_none(tmp_path):
    assert analyse(write_study(tmp_path, planted(seeds=3)), outcomes=["val_accuracy"]).components.num_rows == 0
