import json
import math

import numpy as np
import pytest

from kd_sweep.analysis.claims.chain_claims import CHAIN_CLAIMS
from kd_sweep.analysis.claims.margins import MARGINS
from kd_sweep.analysis.claims.paper_claims import CLAIMS, LOGITS_MATCHING
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.sample import read_sample
from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.statistics.intervals import Bootstrap
from tests.analysis.tables import losses, trial, write_study

OUTCOMES = {
    "attention_iou_teachers": -1,
    "generalization_gap": -1,
    "fidelity_train": -1,
    "fidelity_val": -1,
    "fidelity_val_augmented": -1,
    "mutual_information_val": -1,
    "val_accuracy": 1,
}


def grid(effect, noise=0.01, seeds=6, strengths=(0.0, 0.5), sizes=(2, 3), random_state=0, outcomes=OUTCOMES):
    """Each outcome changes by `effect` in the paper's direction from the lowest strength to the highest."""
    generator = np.random.default_rng(random_state)
    top = max(strengths)
    return [
        trial(
            s,
            size,
            seed,
            **{
                name: 0.5 + 0.01 * seed + sign * effect * s / top + generator.normal(0, noise)
                for name, sign in outcomes.items()
            },
        )
        for seed in range(seeds)
        for s in strengths
        for size in sizes
    ]


def judge(tmp_path, made, margin=MARGINS, resamples=2000):
    """Verdicts by (claim, outcome)."""
    sample = read_sample(write_study(tmp_path, made))
    return {
        (v.question.claim.name, v.question.outcome): v for v in verdicts(sample, Bootstrap(resamples=resamples), margin)
    }


def directional(tmp_path, made):
    """Verdicts on the five claims about strength, by outcome."""
    return {outcome: v for (_, outcome), v in judge(tmp_path, made).items() if v.question.claim in CLAIMS}


@pytest.mark.parametrize(("effect", "answer"), [(0.05, "supported"), (-0.05, "refuted"), (0.0, "undecided")])
def test_verdicts_follow_the_planted_effect(tmp_path, effect, answer):
    found = directional(tmp_path, grid(effect))
    assert {outcome: v.answer for outcome, v in found.items()} == dict.fromkeys(OUTCOMES, answer)
    for outcome, v in found.items():
        e = v.evidence
        assert (e.basis, e.from_level, e.to_level, e.num_pairs) == ("profiles", 0.0, 0.5, 12)
        assert v.evidence.effect.value == pytest.approx(effect * OUTCOMES[outcome], abs=0.015)


def test_every_claim_of_the_paper_has_a_verdict(tmp_path):
    found = judge(tmp_path, grid(0.05))
    links = {claim.name for chain in CHAIN_CLAIMS for claim in (chain.together, chain.carries)}
    assert {claim for claim, _ in found} == {claim.name for claim in CLAIMS} | {LOGITS_MATCHING} | links


def test_two_seeds_decide_nothing_however_large_the_effect(tmp_path):
    for v in directional(tmp_path, grid(0.3, seeds=2)).values():
        assert v.answer == "undecided"
        assert v.evidence.effect.interval is None
        assert v.seeds_to_decide == 3


def by_seed(differences):
    """Accuracy differs by these, one per seed, between two strengths."""
    return [trial(s, 1, seed, val_accuracy=0.5 + d * (s > 0)) for seed, d in enumerate(differences) for s in (0.0, 0.5)]


def test_the_named_number_of_seeds_is_more_than_would_just_do(tmp_path):
    """With effect and spread exactly as observed it would be decided by fewer: chance is allowed for."""
    few = directional(tmp_path / "few", by_seed([0.05, -0.03, 0.09, 0.01, -0.02]))["val_accuracy"]
    assert few.answer == "undecided"
    needed = int(few.seeds_to_decide)
    assert needed > 5
    values = np.random.default_rng(0).normal(size=round(0.7 * needed))
    values = few.evidence.effect.value + few.evidence.effect.std * (values - values.mean()) / values.std(ddof=1)
    assert directional(tmp_path / "many", by_seed(values))["val_accuracy"].answer == "supported"


def test_absent_columns_are_not_tested_and_the_reason_is_given(tmp_path):
    made = [trial(s, 1, seed, val_accuracy=0.5 + s) for s in (0.0, 0.5) for seed in range(3)]
    found = analyse(write_study(tmp_path, made), resamples=500).verdicts.to_pylist()
    by_claim = {row["claim"]: row for row in found}
    information = by_claim["stronger augmentation lowers mutual information"]
    assert (information["verdict"], information["effect"], information["outcome"]) == ("not tested", None, None)
    assert "mutual_information_*" in information["sentence"]
    attention = by_claim["stronger augmentation lowers the teachers' attention IoU"]
    assert attention["verdict"] == "not tested"
    assert "ensemble_size of 2 or more" in attention["sentence"]


def test_shuffled_and_rethinkkd_variants_are_no_evidence(tmp_path):
    names = ("mutual_information_val", "mutual_information_val_shuffled", "mutual_information_val_rethinkkd")
    found = judge(tmp_path, grid(0.05, outcomes=dict.fromkeys(names, -1)))
    assert {outcome for _, outcome in found if outcome} == {"mutual_information_val"}


def continuous(effect, seeds=5, per_seed=8):
    """Strengths that no two trials share."""
    generator = np.random.default_rng(4)
    return [
        trial(s, 2, seed, val_accuracy=0.5 + effect * s + generator.normal(0, 0.02))
        for seed in range(seeds)
        for s in generator.uniform(0, 1, per_seed)
    ]


@pytest.mark.parametrize(("effect", "answer"), [(0.2, "supported"), (-0.2, "refuted"), (0.0, "undecided")])
def test_strengths_drawn_at_random_are_judged_by_ranks_within_seeds(tmp_path, effect, answer):
    v = directional(tmp_path, continuous(effect))["val_accuracy"]
    e = v.evidence
    assert (v.answer, e.basis, e.num_pairs, e.effect.num_clusters) == (answer, "ranks", 40, 5)


def test_trials_that_share_no_seed_are_undecided_with_advice(tmp_path):
    made = [trial(s, 1, index, val_accuracy=s) for index, s in enumerate((0.0, 0.2, 0.4, 0.6))]
    v = directional(tmp_path, made)["val_accuracy"]
    assert (v.answer, v.evidence) == ("undecided", None)
    assert "search `seed` as a grid" in v.reason


@pytest.mark.parametrize(
    ("rise", "answer"), [(0.0, "supported"), (-0.1, "supported"), (0.1, "refuted"), (0.02, "undecided")]
)
def test_logits_matching_is_judged_against_the_margin(tmp_path, rise, answer):
    v = judge(tmp_path, losses(rise))[LOGITS_MATCHING, "fidelity_val"]
    assert (v.answer, v.evidence.basis, v.evidence.num_pairs, v.margin) == (answer, "losses", 10, 0.02)
    assert v.evidence.effect.value == pytest.approx(rise, abs=0.005)


def test_logits_matching_needs_alpha_zero(tmp_path):
    found = judge(tmp_path, losses(0.0, alpha=0.1))[LOGITS_MATCHING, None]
    assert found.answer == "not tested"
    assert "distillation.loss mse_logits and distillation.alpha 0" in found.reason


def test_logits_matching_is_testable_at_a_single_strength(tmp_path):
    made = [t for t in losses(0.0) if t["augmentation_strength"] == 0.5]
    found = judge(tmp_path, made)
    assert found[LOGITS_MATCHING, "fidelity_val"].answer == "supported"
    assert found["stronger augmentation lowers fidelity", None].answer == "not tested"
    assert analyse(write_study(tmp_path, made), resamples=500).verdicts.num_rows > 0


# --- what is judged apart ---------------------------------------------------------------------------------------------


def sentences(tmp_path, made, outcome=None):
    found = analyse(write_study(tmp_path, made), resamples=500).verdicts.to_pylist()
    return [row["sentence"] for row in found if outcome in (None, row["outcome"])]


def taught(kl, labels, seeds=5):
    """Fidelity, and accuracy, change by `kl` in students that are taught, and by `labels` in those that are not."""
    generator = np.random.default_rng(3)
    made = []
    for seed in range(seeds):
        for strength in (0.0, 1.0):
            for loss, effect in (("kl", kl), ("none", labels)):
                values = 0.7 + 0.02 * seed + effect * strength + generator.normal(0, 0.003, 2)
                metrics = {"fidelity_val": values[0], "val_accuracy": values[1]}
                made.append(trial(strength, 1, seed, loss=loss, distillation_loss=loss, **metrics))
    return made


def test_students_of_labels_alone_are_no_evidence_on_fidelity(tmp_path):
    found = analyse(write_study(tmp_path, taught(-0.05, 0.09)), resamples=500).verdicts.to_pylist()
    found = [row for row in found if row["mediator"] is None]
    (fidelity,) = [row for row in found if row["outcome"] == "fidelity_val"]
    assert (fidelity["verdict"], fidelity["distillation_loss"], fidelity["num_pairs"]) == ("supported", "kl", 5)
    assert fidelity["effect"] == pytest.approx(-0.05, abs=0.005)
    accuracy = {row["distillation_loss"]: row for row in found if row["outcome"] == "val_accuracy"}
    assert {loss: row["verdict"] for loss, row in accuracy.items()} == {"kl": "refuted", "none": "supported"}
    assert "(val_accuracy; labels alone). From strength 0 to 1" in accuracy["none"]["sentence"]
    assert "(val_accuracy; loss: kl). From strength 0 to 1" in accuracy["kl"]["sentence"]


def test_alpha_one_is_no_teaching_either(tmp_path):
    generator = np.random.default_rng(1)
    made = [
        trial(
            *(s, 1, seed),
            **{"alpha": alpha, "distillation_alpha": alpha},
            fidelity_val=0.5 + (0.1 * s if alpha == 1 else -0.1 * s) + generator.normal(0, 0.003),
        )
        for alpha in (0.5, 1.0)
        for s in (0.0, 1.0)
        for seed in range(4)
    ]
    found = directional(tmp_path, made)["fidelity_val"]
    assert (found.answer, found.evidence.num_pairs) == ("supported", 4)
    assert found.evidence.effect.value == pytest.approx(-0.1, abs=0.005)


def test_where_nobody_was_taught_fidelity_is_not_tested(tmp_path):
    made = [t for t in taught(0.0, 0.1) if t["distillation_loss"] == "none"]
    found = judge(tmp_path, made)
    untested = found["stronger augmentation lowers fidelity", None]
    assert (untested.answer, untested.reason) == ("not tested", "every student learned from labels alone")
    assert found["stronger augmentation raises the student's accuracy", "val_accuracy"].answer == "supported"


def test_losses_have_verdicts_of_their_own(tmp_path):
    generator = np.random.default_rng(1)
    made = [
        trial(
            *(s, 1, seed),
            **{"loss": loss, "alpha": 0.0, "distillation_loss": loss},
            fidelity_val=0.5 + sign * 0.1 * s + generator.normal(0, 0.001),
        )
        for loss, sign in (("kl", -1), ("mse_logits", 1))
        for s in (0.0, 1.0)
        for seed in range(4)
    ]
    found = analyse(write_study(tmp_path, made), resamples=500)
    rows = [row for row in found.verdicts.to_pylist() if row["claim"] == "stronger augmentation lowers fidelity"]
    assert {row["distillation_loss"]: (row["verdict"], row["num_pairs"]) for row in rows} == {
        "kl": ("supported", 4),
        "mse_logits": ("refuted", 4),
    }
    pooled = [row for row in found.effects.to_pylist() if row["is_pooled"]]
    assert {row["distillation_loss"]: round(row["estimate"], 2) for row in pooled} == {"kl": -0.1, "mse_logits": 0.1}
    signs = {row["distillation_loss"]: math.copysign(1, row["rho"]) for row in found.correlations.to_pylist()}
    assert signs == {"kl": -1.0, "mse_logits": 1.0}


def apart(teachers, student, seeds=5, noise=0.003, lists=((0.0, 0.0), (1.0, 1.0))):
    """Fidelity and accuracy change by `teachers` with the teachers' mean strength, by `student` with the student's."""
    generator = np.random.default_rng(6)
    made = []
    for seed in range(seeds):
        for mix in lists:
            mean = sum(mix) / len(mix)
            for own in (0.0, 1.0):
                value = 0.7 + 0.02 * seed + teachers * mean + student * own + generator.normal(0, noise)
                metrics = {
                    "fidelity_val": value,
                    "val_accuracy": value,
                    "attention_iou_teachers": 0.5 - 0.1 * mean + generator.normal(0, noise),
                }
                searched = {"teacher_strengths": json.dumps(mix), "student_strength": own}
                made.append(trial(mean, len(mix), seed, **searched, **metrics))
    return made


def test_teachers_and_student_set_apart_are_judged_apart(tmp_path):
    found = analyse(write_study(tmp_path, apart(0.0, -0.1)), resamples=500).verdicts.to_pylist()
    fidelity = {row["varied"]: row for row in found if row["outcome"] == "fidelity_val" and row["mediator"] is None}
    assert {varied: row["verdict"] for varied, row in fidelity.items()} == {
        "augmentation_strength": "undecided",
        "student_strength": "supported",
    }
    assert fidelity["student_strength"]["effect"] == pytest.approx(-0.1, abs=0.005)
    assert fidelity["student_strength"]["sentence"].startswith(
        "Supported: stronger augmentation lowers fidelity (fidelity_val). "
        "From the student's strength 0 to 1, the teachers' held equal, it changes by -0."
    )
    assert (
        "From the teachers' strength 0 to 1, the student's held equal, it changes by "
        in (fidelity["augmentation_strength"]["sentence"])
    )
    (attention,) = [row for row in found if row["outcome"] == "attention_iou_teachers"]
    assert (attention["varied"], attention["verdict"], attention["num_pairs"]) == (
        "augmentation_strength",
        "supported",
        10,
    )


def test_a_study_of_the_student_s_strength_alone(tmp_path):
    made = [t for t in apart(0.0, 0.1) if t["augmentation_strength"] == 0.0]
    found = judge(tmp_path, made)
    assert found["stronger augmentation raises the student's accuracy", "val_accuracy"].answer == "supported"
    attention = found["stronger augmentation lowers the teachers' attention IoU", None]
    assert (attention.answer, attention.reason) == (
        "not tested",
        "the study has one augmentation strength of the teachers",
    )


def test_a_student_without_teaching_says_nothing_of_its_teachers_strength(tmp_path):
    made = [{**t, "distillation_loss": "none"} for t in apart(0.0, 0.1)]
    found = verdicts(read_sample(write_study(tmp_path, made)), Bootstrap(resamples=500), MARGINS)
    assert [v.question.varied for v in found if v.question.outcome == "val_accuracy"] == ["student_strength"]


# --- what to beware of ------------------------------------------------------------------------------------------------


def test_the_gap_is_also_judged_against_equally_augmented_images(tmp_path):
    """Tables without the column have both of its parts."""
    generator = np.random.default_rng(2)
    made = []
    for seed in range(4):
        for s in (0.0, 0.5):
            train, val, augmented = np.array([0.9 - 0.4 * s, 0.7, 0.7 - 0.4 * s]) + generator.normal(0, 0.002, 3)
            metrics = {"train_accuracy": train, "val_accuracy": val, "val_augmented_accuracy": augmented}
            made.append(trial(s, 1, seed, **metrics, generalization_gap=train - val))
    derived = directional(tmp_path / "derived", made)
    assert derived["generalization_gap"].answer == "supported"
    assert derived["generalization_gap_augmented"].answer == "undecided"
    (warned,) = sentences(tmp_path / "told", made, "generalization_gap")
    assert warned.endswith("(generalization_gap_augmented has both at one strength).")
    with_column = [
        {**t, "generalization_gap_augmented": t["train_accuracy"] - t["val_augmented_accuracy"]} for t in made
    ]
    reported = directional(tmp_path / "reported", with_column)
    assert reported["generalization_gap_augmented"].evidence == derived["generalization_gap_augmented"].evidence


def attended(maps, weights):
    config = {"metrics": {"attention": maps}, "teacher": {"weights": weights}}
    return [
        trial(s, 2, seed, config=config, metrics_attention=maps, attention_iou_teachers=0.5 + s * (maps == "cam"))
        for s in (0.0, 0.5)
        for seed in range(3)
    ]


def test_the_verdict_on_attention_names_the_kind_of_map(tmp_path):
    (cam,) = sentences(tmp_path / "cam", attended("cam", None), "attention_iou_teachers")
    assert "(attention_iou_teachers; maps: cam)." in cam
    assert cam.endswith("(docs/metrics.md), grad_cam where a network looks for its answer.")
    (pretrained,) = sentences(tmp_path / "pretrained", attended("cam", "pretrained"), "attention_iou_teachers")
    (grad_cam,) = sentences(tmp_path / "grad_cam", attended("grad_cam", None), "attention_iou_teachers")
    assert "maps: grad_cam" in grad_cam
    assert "random weights" not in pretrained + grad_cam


def test_two_kinds_of_maps_are_not_averaged(tmp_path):
    made = attended("cam", None) + attended("grad_cam", None)
    found = analyse(write_study(tmp_path, made), resamples=500).verdicts.to_pylist()
    effects = {row["attention_maps"]: row["effect"] for row in found if row["outcome"] == "attention_iou_teachers"}
    assert effects == pytest.approx({"cam": 0.5, "grad_cam": 0.0})


@pytest.mark.parametrize(("chance", "warns"), [(0.02, False), (0.4, True)])
def test_a_mutual_information_that_is_largely_chance_says_so(tmp_path, chance, warns):
    made = [
        trial(s, 1, seed, mutual_information_val=2.0 - s, mutual_information_val_shuffled=(2.0 - s) * chance)
        for s in (0.0, 0.5)
        for seed in range(3)
    ]
    (told,) = sentences(tmp_path, made, "mutual_information_val")
    assert ("Shuffled images have up to 0.40 of it as well" in told) == warns
