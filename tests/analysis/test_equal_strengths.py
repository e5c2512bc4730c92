"""Arms that have the teachers' and the student's strength equal throughout, beside an arm that crosses them."""

import numpy as np
import pytest

from kd_sweep.analysis.claims.paper_claims import CLAIMS
from kd_sweep.analysis.study_analysis import analyse, pooled_effects
from tests.analysis.tables import trial, write_study

FIDELITY, ACCURACY, OVERLAP = "fidelity_val", "val_accuracy", "attention_overlap_teachers"
BOTH = "both_strengths"
SEEDS = 6


def crossed_and_equal():
    """The arm of kl has both strengths crossed; those of mse_logits and of labels alone have them equal."""
    generator = np.random.default_rng(3)
    made = []
    for seed in range(SEEDS):
        for loss, alpha, strengths in (
            ("kl", 0.1, [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]),
            ("mse_logits", 0.0, [(0.0, 0.0), (1.0, 1.0)]),
            ("none", 0.1, [(0.0, 0.0), (1.0, 1.0)]),
        ):
            for teachers, student in strengths:
                noise = generator.normal(0, 0.003, 3)
                metrics = {
                    OVERLAP: 0.5 - 0.1 * teachers + noise[0],
                    FIDELITY: 0.8 + 0.02 * seed - 0.04 * teachers - 0.06 * student + noise[1],
                    ACCURACY: 0.6 + 0.02 * seed + 0.1 * student + noise[2],
                }
                searched = {"distillation_loss": loss, "distillation_alpha": alpha, "student_strength": student}
                made.append(trial(teachers, 2, seed, loss=loss, alpha=alpha, **searched, **metrics))
    return made


def mean_difference(made, outcome, loss):
    """From (0, 0) to (1, 1), by hand."""
    value = {
        (row["augmentation_strength"], row["seed"]): row[outcome] for row in made if row["distillation_loss"] == loss
    }
    return np.mean([value[1.0, seed] - value[0.0, seed] for seed in range(SEEDS)])


@pytest.fixture(scope="module")
def made():
    return crossed_and_equal()


@pytest.fixture(scope="module")
def analysis(made, tmp_path_factory):
    return analyse(write_study(tmp_path_factory.mktemp("study"), made), resamples=500)


def verdict_on(analysis, outcome, loss, varied):
    claims = {claim.name for claim in CLAIMS}
    found = [
        row
        for row in analysis.verdicts.to_pylist()
        if row["claim"] in claims
        and (row["outcome"], row["distillation_loss"], row["varied"]) == (outcome, loss, varied)
    ]
    assert len(found) == 1
    return found[0]


def test_equal_strengths_are_judged_together(analysis, made):
    fidelity = verdict_on(analysis, FIDELITY, "mse_logits", BOTH)
    assert (fidelity["verdict"], fidelity["num_seeds"]) == ("supported", SEEDS)
    assert fidelity["effect"] == pytest.approx(mean_difference(made, FIDELITY, "mse_logits"), abs=1e-12)
    assert "From the teachers' and the student's strength 0 to 1 it changes by -0.1" in fidelity["summary"]


def test_of_labels_alone_they_are_the_student_s(analysis, made):
    accuracy = verdict_on(analysis, ACCURACY, "none", BOTH)
    assert accuracy["verdict"] == "supported"
    assert accuracy["effect"] == pytest.approx(mean_difference(made, ACCURACY, "none"), abs=1e-12)
    assert "From the student's strength 0 to 1 it changes by +0." in accuracy["summary"]
    assert not [
        row for row in analysis.verdicts.to_pylist() if (row["outcome"], row["distillation_loss"]) == (FIDELITY, "none")
    ]


def test_the_crossed_arm_has_each_by_itself(analysis):
    varied = {
        row["varied"]
        for row in analysis.verdicts.to_pylist()
        if row["distillation_loss"] == "kl" and row["outcome"] == FIDELITY and row["mediator"] is None
    }
    assert varied == {"augmentation_strength", "student_strength"}
    assert "no seed was run at two strengths" not in " ".join(analysis.verdicts["sentence"].to_pylist())


def test_every_table_has_them_as_one_dimension(analysis):
    effects = pooled_effects(analysis.effects).to_pylist()
    arms = {(row["distillation_loss"], row["varied"]) for row in effects if row["outcome"] == ACCURACY}
    assert arms == {
        ("kl", "augmentation_strength"),
        ("kl", "student_strength"),
        ("mse_logits", BOTH),
        ("none", BOTH),
    }
    single = [row for row in analysis.effects.to_pylist() if row["varied"] == BOTH and not row["is_pooled"]]
    assert single
    assert all(row["augmentation_strength"] is row["student_strength"] is None for row in single)
    assert {row["distillation_loss"] for row in analysis.interactions.to_pylist()} <= {"kl", None}
    correlations = [row for row in analysis.correlations.to_pylist() if row["y"] == ACCURACY]
    assert {(row["x"], row["distillation_loss"]) for row in correlations if row["distillation_loss"] != "kl"} == {
        (BOTH, "mse_logits"),
        (BOTH, "none"),
        (OVERLAP, "mse_logits"),
        (OVERLAP, "none"),
    }


def test_what_is_carried_is_of_both(analysis):
    (row,) = [
        row
        for row in analysis.chain.to_pylist()
        if (row["mediator"], row["outcome"], row["distillation_loss"]) == (OVERLAP, FIDELITY, "mse_logits")
    ]
    assert row["varied"] == BOTH
    (carried,) = [
        row
        for row in analysis.verdicts.to_pylist()
        if row["mediator"] == OVERLAP and row["varied"] == BOTH and row["basis"].startswith("effect of strength")
    ]
    assert "From the teachers' and the student's strength 0 to 1 it changes by" in carried["sentence"]
