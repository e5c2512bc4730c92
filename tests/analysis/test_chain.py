"""The links of the chain in studies whose truth is known, and the words that they get."""

import numpy as np
import pytest

from kd_sweep.analysis.chain import LINKS
from kd_sweep.analysis.claims.chain_claims import CHAIN_CLAIMS
from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from tests.analysis.tables import trial, write_study

OVERLAP, FIDELITY, ACCURACY = "attention_overlap_teachers", "fidelity_val", "val_accuracy"
TOGETHER = CHAIN_CLAIMS[0].together.name
CARRIES = CHAIN_CLAIMS[0].carries.name


def chained(slope=0.5, direct=-0.03, moves=-0.2, seeds=6, sizes=(2, 3), noise=0.004, random_state=0, **fields):
    """Strength moves the overlap, fidelity follows the overlap by `slope` and strength by `direct`."""
    generator = np.random.default_rng(random_state)
    made = []
    for seed in range(seeds):
        level, other = generator.normal(0, 0.03, 2)
        for size in sizes:
            for strength in (0.0, 0.5, 1.0):
                overlap = 0.5 + moves * strength + 0.01 * size + level + generator.normal(0, 0.02)
                fidelity = 0.7 + slope * (overlap - 0.5) + direct * strength + other + generator.normal(0, noise)
                made.append(trial(strength, size, seed, **{OVERLAP: overlap, FIDELITY: fidelity}, **fields))
    return made


def found(tmp_path, made, **options):
    return analyse(write_study(tmp_path, made), resamples=500, **options)


def link(analysis, mediator=OVERLAP, outcome=FIDELITY, **wanted):
    rows = [r for r in analysis.chain.to_pylist() if (r["mediator"], r["outcome"]) == (mediator, outcome)]
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def verdict(analysis, claim):
    (row,) = [row for row in analysis.verdicts.to_pylist() if row["claim"] == claim]
    return row


def test_the_links_are_metrics():
    assert {name for link in LINKS for name in link} <= set(REPORTED_METRICS)


def test_what_was_planted_is_found(tmp_path):
    row = link(found(tmp_path, chained()))
    assert row["slope"] == pytest.approx(0.5, abs=0.1)
    assert row["slope_low"] < 0.5 < row["slope_high"]
    assert row["effect"] == pytest.approx(row["carried"] + row["not_carried"])
    assert row["carried"] == pytest.approx(-0.1, abs=0.03)
    assert row["not_carried"] == pytest.approx(-0.03, abs=0.03)
    assert row["share_low"] < 0.1 / 0.13 < row["share_high"]
    assert (row["num_settings"], row["num_seeds"], row["note"]) == (6, 6, None)
    assert (row["from_level"], row["to_level"], row["varied"]) == (0.0, 1.0, "augmentation_strength")


def test_effects_are_those_of_the_effects_table(tmp_path):
    analysis = found(tmp_path, chained())
    row = link(analysis)
    pooled = {
        e["outcome"]: (e["estimate"], e["t_low"], e["t_high"])
        for e in analysis.effects.to_pylist()
        if e["is_pooled"] and e["kind"] == "lowest-highest" and e["varied"] == "augmentation_strength"
    }
    assert (row["effect"], row["effect_low"], row["effect_high"]) == pytest.approx(pooled[FIDELITY])
    assert (row["on_mediator"], row["on_mediator_low"], row["on_mediator_high"]) == pytest.approx(pooled[OVERLAP])


def test_a_strength_that_drives_both_is_no_link(tmp_path):
    """Between all trials the two correlate by nearly 1."""
    analysis = found(tmp_path, chained(slope=0.0, direct=-0.1))
    pooled = next(r for r in analysis.correlations.to_pylist() if (r["x"], r["y"]) == (OVERLAP, FIDELITY))
    assert pooled["rho"] > 0.6
    row = link(analysis)
    assert row["carried_low"] < 0.0 < row["carried_high"]
    assert (row["rho_to_undecided"], abs(row["correlation"]) < 0.5) == (0.0, True)
    assert verdict(analysis, TOGETHER)["verdict"] == verdict(analysis, CARRIES)["verdict"] == "undecided"


def test_both_links_make_a_verdict_on_what_is_carried(tmp_path):
    analysis = found(tmp_path, chained(seeds=8))
    together, carries = verdict(analysis, TOGETHER), verdict(analysis, CARRIES)
    moved = verdict(analysis, "stronger augmentation lowers the teachers' attention IoU")
    assert [row["verdict"] for row in (together, carries, moved)] == ["supported"] * 3
    assert carries["p_corrected"] == max(together["p_corrected"], moved["p_corrected"])
    assert carries["num_tests"] == together["num_tests"] == 5  # trend and curvature of two outcomes, and the slope
    assert (together["mediator"], together["varied"], carries["varied"]) == (OVERLAP, None, "augmentation_strength")
    assert together["effect"] == pytest.approx(link(analysis)["slope"])
    assert carries["effect"] == pytest.approx(link(analysis)["carried"])
    assert (carries["t_low"], carries["t_high"]) == (link(analysis)["carried_low"], link(analysis)["carried_high"])


def test_a_mediator_that_strength_does_not_move_carries_nothing(tmp_path):
    analysis = found(tmp_path, chained(moves=0.0, direct=-0.1, seeds=8))
    assert verdict(analysis, TOGETHER)["verdict"] == "supported"
    assert verdict(analysis, CARRIES)["verdict"] == "undecided"


def test_what_is_carried_the_other_way_refutes_the_claim(tmp_path):
    analysis = found(tmp_path, chained(slope=-0.5, direct=0.0, seeds=8))
    assert verdict(analysis, TOGETHER)["verdict"] == verdict(analysis, CARRIES)["verdict"] == "refuted"


def test_a_hump_of_the_mediator_carries_no_direction(tmp_path):
    generator = np.random.default_rng(1)
    made = []
    for row in chained(seeds=8):
        overlap = row[OVERLAP] + 0.2 * row["augmentation_strength"] + 0.3 * (row["augmentation_strength"] == 0.5)
        made.append(row | {OVERLAP: overlap, FIDELITY: 0.7 + 0.5 * overlap + generator.normal(0, 0.002)})
    carries = verdict(found(tmp_path, made), CARRIES)
    assert carries["verdict"] == "undecided"
    assert f"Strength moves {OVERLAP} up and down, so no one direction is carried." in carries["sentence"]


def test_sentences_have_the_numbers_and_what_they_do_not_show(tmp_path):
    analysis = found(tmp_path, chained(seeds=8))
    row, carries = link(analysis), verdict(analysis, CARRIES)["sentence"]
    assert carries.startswith(
        f"Supported: {CARRIES} (fidelity_val). From strength 0 to 1 it changes by {row['effect']:+.4f}"
    )
    assert (
        f"that much of it goes with {row['carried']:+.4f} [{row['carried_low']:+.4f}, {row['carried_high']:+.4f}]"
        in carries
    )
    assert f"That is a share of {row['share']:.2f} [{row['share_low']:.2f}, {row['share_high']:.2f}]." in carries
    assert (
        f"It is no proof of a cause: a hidden cause of both that explains {row['rho_to_nothing']:.0%} of what"
        in carries
    )
    together = verdict(analysis, TOGETHER)["sentence"]
    assert f"{row['slope']:+.4f} of it goes with 1 of {OVERLAP} (8 seeds, 48 trials; correlation" in together
    few = verdict(found(tmp_path / "few", chained(seeds=4, noise=0.05)), TOGETHER)
    assert few["verdict"] == "undecided"
    assert f"A slope below {few['detectable']:.4f} could not have been seen" in few["sentence"]


def test_seeds_and_settings_that_lack_trials_are_left_out_and_named(tmp_path):
    made = [t for t in chained() if (t["seed"], t["augmentation_strength"], t["ensemble_size"]) != (2, 1.0, 3)]
    made += chained(seeds=2, sizes=(7,))
    row = link(found(tmp_path, made))
    assert (row["num_settings"], row["num_seeds"]) == (6, 5)
    assert row["note"] == "left out: 3 settings of few seeds, 1 seed without all settings"


def test_without_repeated_settings_there_is_no_link(tmp_path):
    generator = np.random.default_rng(0)
    drawn = [
        trial(generator.random(), 2, seed, **{OVERLAP: generator.random(), FIDELITY: generator.random()})
        for seed in range(12)
    ]
    analysis = found(tmp_path, drawn)
    assert analysis.chain.num_rows == 0
    together = verdict(analysis, TOGETHER)
    assert together["verdict"] == "undecided"
    assert "no two settings were run with the same two seeds" in together["sentence"]


def test_students_of_labels_alone_are_no_evidence(tmp_path):
    alone = chained(slope=-3.0, loss="none", distillation_loss="none")
    taught = chained(loss="kl", distillation_loss="kl")
    analysis = found(tmp_path, [*taught, *alone])
    assert {row["distillation_loss"] for row in analysis.chain.to_pylist()} == {"kl"}
    assert verdict(analysis, TOGETHER)["effect"] == pytest.approx(0.5, abs=0.1)


def test_where_outcomes_chose_trials_no_link_is_judged(tmp_path):
    made = [*chained(seeds=8), trial(0.0, 2, 99, status="stopped", last_epoch=1, **{FIDELITY: 0.2, OVERLAP: 0.5})]
    analysis = found(tmp_path, made)
    for claim in (TOGETHER, CARRIES):
        row = verdict(analysis, claim)
        assert (row["verdict"], row["p"]) == ("undecided", None)
        assert "1 trial was stopped by the scheduler" in row["sentence"]


def test_a_gap_is_taken_by_its_size(tmp_path):
    generator = np.random.default_rng(5)
    made = [row | {"generalization_gap": -0.3 * row[FIDELITY] + generator.normal(0, 0.002)} for row in chained(seeds=8)]
    analysis = found(tmp_path, made)
    assert link(analysis, FIDELITY, "generalization_gap")["slope"] == pytest.approx(0.3, abs=0.1)
    assert verdict(analysis, CHAIN_CLAIMS[2].together.name)["verdict"] == "supported"
    assert "its size changes by -0.0" in verdict(analysis, CHAIN_CLAIMS[2].carries.name)["sentence"]


def test_teachers_and_student_apart_carry_apart(tmp_path):
    """The student's strength cannot move its teachers' overlap."""
    generator = np.random.default_rng(6)
    made = []
    for row in chained(seeds=4, sizes=(2,)):
        for own in (0.0, 1.0):
            fidelity = row[FIDELITY] - 0.05 * own + generator.normal(0, 0.003)
            accuracy = 0.6 - 0.5 * fidelity + generator.normal(0, 0.003)
            changed = {"trial_id": f"{row['trial_id']}-{own}", "student_strength": own, FIDELITY: fidelity}
            made.append(row | changed | {ACCURACY: accuracy})
    analysis = found(tmp_path, made)
    assert link(analysis)["varied"] == "augmentation_strength"
    by_student = link(analysis, FIDELITY, ACCURACY, varied="student_strength")
    assert by_student["on_mediator"] == pytest.approx(-0.05, abs=0.005)
    assert by_student["carried"] == pytest.approx(0.025, abs=0.005)
    link(analysis, FIDELITY, ACCURACY, varied="augmentation_strength")


def test_fidelity_is_split_by_what_the_teachers_do(tmp_path):
    made = [
        row
        | {
            "fidelity_ensemble_right_val": 0.9 + 0.01 * row["seed"] - 0.02 * row["augmentation_strength"],
            "fidelity_ensemble_wrong_together_val": 0.5 + 0.01 * row["seed"] - 0.2 * row["augmentation_strength"],
            "fidelity_ensemble_wrong_apart_val": None if row["seed"] == 0 else 0.3,
        }
        for row in chained()
    ]
    fidelity = verdict(found(tmp_path, made), "stronger augmentation lowers fidelity")
    assert "By images: where the ensemble is right -0.0200 [" in fidelity["sentence"]
    assert "where its members err together -0.2000 [" in fidelity["sentence"]
    assert "where they err apart +0.0000; which images these are depends on the teachers." in fidelity["sentence"]
