"""Control arms in the analysis: kept apart, compared with the usual arm seed by seed, and judged by no claim."""

import io

import numpy as np
import pytest
from scipy import stats

from kd_sweep.analysis.analysis_text import write_text
from kd_sweep.analysis.study_analysis import analyse, pooled_contrasts, pooled_effects
from tests.analysis.tables import trial, write_study

SEEDS = range(5)
ARMS = {
    ("kl", "none", "consistent"): 0.80,
    ("kl", "shuffled_labels", "consistent"): 0.72,
    ("kl", "random_weights", "consistent"): 0.70,
    ("kl", "none", "independent"): 0.78,
    ("kl", "none", "fixed"): 0.76,
    ("none", "none", "consistent"): 0.71,
}


def made(strengths=(0.0, 0.5)):
    """Accuracy rises with strength in arms that are taught, and by much more in those of controls."""
    generator = np.random.default_rng(3)
    rows = []
    for seed in SEEDS:
        for strength in strengths:
            for (loss, control, view), level in ARMS.items():
                noise = generator.normal(0, 0.003, 3)
                accuracy = level + 0.02 * seed + strength * (0.1 if control == "none" else 0.5) + noise[0]
                columns = {
                    "distillation_loss": loss,
                    "distillation_teacher_control": None if loss == "none" else control,
                    "distillation_teacher_view": None if loss == "none" or control != "none" else view,
                    "val_accuracy": accuracy,
                    "teacher_accuracy": (0.9 if control == "none" else 0.1) + noise[1],
                    "fidelity_val": 0.5 - strength * (0.2 if control == "none" else 0.4) + noise[2],
                }
                config = {"distillation": {"loss": loss, "alpha": 0.1, "teacher_control": "none", "teacher_view": view}}
                config["distillation"]["teacher_control"] = control
                rows.append(trial(strength, 1, seed, loss=loss, config=config, **columns))
    return rows


def by_hand(rows, outcome, first, second):
    """Mean difference per seed, and its t interval."""

    def of(arm, seed):
        wanted = [
            row[outcome]
            for row in rows
            if row["seed"] == seed
            and row["distillation_loss"] == arm[0]
            and (row["distillation_teacher_control"] or "none") == arm[1]
            and (row["distillation_teacher_view"] or "consistent") == arm[2]
        ]
        return np.mean(wanted)

    differences = np.array([of(second, seed) - of(first, seed) for seed in SEEDS])
    half = stats.t.ppf(0.975, len(SEEDS) - 1) * differences.std(ddof=1) / np.sqrt(len(SEEDS))
    return differences.mean(), differences.mean() - half, differences.mean() + half


USUAL = ("kl", "none", "consistent")


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("none to kl", ("none", "none", "consistent"), USUAL),
        ("kl to kl, shuffled_labels", USUAL, ("kl", "shuffled_labels", "consistent")),
        ("kl to kl, random_weights", USUAL, ("kl", "random_weights", "consistent")),
        ("kl to kl, independent", USUAL, ("kl", "none", "independent")),
        ("kl to kl, fixed", USUAL, ("kl", "none", "fixed")),
    ],
)
def test_each_arm_is_compared_with_the_usual_one_seed_by_seed(tmp_path, name, first, second):
    rows = made()
    found = pooled_contrasts(analyse(write_study(tmp_path, rows), outcomes=["val_accuracy"]).effects).to_pylist()
    row = next(row for row in found if row["distillation_loss"] == name)
    expected = by_hand(rows, "val_accuracy", first, second)
    assert (row["estimate"], row["t_low"], row["t_high"]) == pytest.approx(expected, abs=1e-9)
    assert (row["num_seeds"], row["num_pairs"]) == (5, 10)
    assert len(found) == 5


def test_what_is_about_the_teachers_alone_depends_on_what_they_know_and_not_on_the_loss_or_the_view(tmp_path):
    analysis = analyse(write_study(tmp_path, made()), outcomes=["teacher_accuracy"])
    contrasts = {row["distillation_loss"]: row["estimate"] for row in pooled_contrasts(analysis.effects).to_pylist()}
    assert contrasts.keys() == {f"trained teachers to {control}" for control in ("shuffled_labels", "random_weights")}
    assert list(contrasts.values()) == pytest.approx([-0.8, -0.8], abs=0.01)
    arms = {row["distillation_loss"] for row in pooled_effects(analysis.effects).to_pylist()}
    assert arms == {None, "shuffled_labels", "random_weights"}


def test_effects_are_of_one_arm_each_and_claims_are_judged_in_none_of_the_controls(tmp_path):
    analysis = analyse(write_study(tmp_path, made()), outcomes=["val_accuracy"])
    effects = {row["distillation_loss"]: row["estimate"] for row in pooled_effects(analysis.effects).to_pylist()}
    assert effects["kl"] == pytest.approx(0.05, abs=0.01)
    assert effects["kl, shuffled_labels"] == pytest.approx(0.25, abs=0.01)
    judged = {row["distillation_loss"] for row in analysis.verdicts.to_pylist() if row["effect"] is not None}
    assert judged == {"kl", "kl, independent", "kl, fixed", "none"}
    out = io.BytesIO()
    write_text(analysis, out, complete=False)
    text = out.getvalue().decode()
    assert "From one arm to another, paired by seed" in text
    assert "kl to kl, shuffled_labels" in text
    assert "are controls: no verdict is about them" in text


def test_a_study_of_controls_at_one_strength_can_be_analysed(tmp_path):
    analysis = analyse(write_study(tmp_path, made(strengths=(0.5,))))
    assert {row["verdict"] for row in analysis.verdicts.to_pylist()} == {"not tested"}
    assert pooled_contrasts(analysis.effects).num_rows


def test_ensembles_that_share_epochs_are_compared_with_those_of_equal_size(tmp_path):
    generator = np.random.default_rng(4)
    levels = {(1, "each"): 0.7, (2, "each"): 0.8, (2, "shared"): 0.76, (3, "each"): 0.9, (3, "shared"): 0.82}
    rows = [
        trial(
            strength,
            size,
            seed,
            loss="kl",
            config={"distillation": {"loss": "kl", "alpha": 0.1, "ensemble_epochs": epochs}},
            distillation_ensemble_epochs=None if size == 1 else epochs,
            val_accuracy=level + 0.02 * seed + generator.normal(0, 0.003),
            teacher_accuracy=level - 0.1,
        )
        for seed in SEEDS
        for strength in (0.0, 0.5)
        for (size, epochs), level in levels.items()
    ]
    analysis = analyse(write_study(tmp_path, rows), outcomes=["val_accuracy", "teacher_accuracy"])
    found = {(row["outcome"], row["distillation_loss"]): row for row in pooled_contrasts(analysis.effects).to_pylist()}
    assert {name: row["num_pairs"] for name, row in found.items()} == {
        ("val_accuracy", "kl to kl, shared epochs"): 4 * len(SEEDS),
        ("teacher_accuracy", "trained teachers to shared epochs"): 4 * len(SEEDS),
    }
    paired = [
        np.mean(
            [row["val_accuracy"] * (1 if row["distillation_ensemble_epochs"] == "shared" else -1) for row in of_seed]
        )
        * 2
        for seed in SEEDS
        if (of_seed := [row for row in rows if row["seed"] == seed and row["distillation_ensemble_epochs"]])
    ]
    assert found["val_accuracy", "kl to kl, shared epochs"]["estimate"] == pytest.approx(np.mean(paired), abs=1e-9)
