import numpy as np
import pytest

from kd_sweep.report.analysis import analyse
from kd_sweep.report.claims import CLAIMS, LOGITS_MATCHING, LOSSES, PAIRED, RANKS, verdicts
from kd_sweep.report.intervals import Bootstrap
from kd_sweep.report.sample import read_sample
from tests.report.tables import trial, write_study

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


def judge(tmp_path, made, margin=0.02, resamples=2000):
    """Verdicts by (claim, outcome)."""
    sample = read_sample(write_study(tmp_path, made))
    return {(v.claim, v.outcome): v for v in verdicts(sample, Bootstrap(resamples=resamples), margin)}


def directional(tmp_path, made):
    """Verdicts on the five claims about strength, by outcome."""
    return {outcome: v for (claim, outcome), v in judge(tmp_path, made).items() if claim != LOGITS_MATCHING}


@pytest.mark.parametrize(("effect", "answer"), [(0.05, "supported"), (-0.05, "refuted"), (0.0, "undecided")])
def test_verdicts_follow_the_planted_effect(tmp_path, effect, answer):
    found = directional(tmp_path, grid(effect))
    assert {outcome: v.answer for outcome, v in found.items()} == dict.fromkeys(OUTCOMES, answer)
    for outcome, v in found.items():
        assert (v.basis, v.from_level, v.to_level, v.num_pairs) == (PAIRED, 0.0, 0.5, 12)
        assert v.estimate.value == pytest.approx(effect * OUTCOMES[outcome], abs=0.015)


def test_every_claim_of_the_paper_has_a_verdict(tmp_path):
    found = judge(tmp_path, grid(0.05))
    assert {claim for claim, _ in found} == {claim.name for claim in CLAIMS} | {LOGITS_MATCHING}


def test_two_seeds_decide_nothing_however_large_the_effect(tmp_path):
    for v in directional(tmp_path, grid(0.3, seeds=2)).values():
        assert v.answer == "undecided"
        assert v.estimate.interval is None
        assert v.seeds_to_decide == 3


def test_verdicts_on_null_data_are_rarely_wrong_even_with_three_seeds(tmp_path):
    """Seven outcomes in 40 studies. The bootstrap alone would be wrong in a quarter of them."""
    sure = alone = total = 0
    for repeat in range(40):
        made = grid(0.0, seeds=3, random_state=repeat)
        for v in directional(tmp_path / str(repeat), made).values():
            total += 1
            sure += v.answer != "undecided"
            alone += not v.estimate.interval.low <= 0 <= v.estimate.interval.high
    assert total == 280
    assert sure / total <= 0.09
    assert alone / total >= 0.15


def by_seed(differences):
    """Accuracy differs by these, one per seed, between two strengths."""
    return [trial(s, 1, seed, val_accuracy=0.5 + d * (s > 0)) for seed, d in enumerate(differences) for s in (0.0, 0.5)]


def test_the_named_number_of_seeds_does_decide(tmp_path):
    few = directional(tmp_path / "few", by_seed([0.05, -0.03, 0.09, 0.01, -0.02]))["val_accuracy"]
    assert few.answer == "undecided"
    needed = int(few.seeds_to_decide)
    assert needed > 5
    # The same effect and spread, with more seeds: what the number assumes.
    values = np.random.default_rng(0).normal(size=needed + 1)
    values = few.estimate.value + few.estimate.std * (values - values.mean()) / values.std(ddof=1)
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
    assert (v.answer, v.basis, v.num_pairs, v.estimate.num_clusters) == (answer, RANKS, 40, 5)


def test_trials_that_share_no_seed_are_undecided_with_advice(tmp_path):
    made = [trial(s, 1, index, val_accuracy=s) for index, s in enumerate((0.0, 0.2, 0.4, 0.6))]
    v = directional(tmp_path, made)["val_accuracy"]
    assert (v.answer, v.estimate) == ("undecided", None)
    assert "search `seed` as a grid" in v.reason


def losses(rise, noise=0.003, seeds=5, alpha=0.0, columns=True):
    generator = np.random.default_rng(8)
    made = []
    for seed in range(seeds):
        for strength in (0.0, 0.5):
            for loss, weight in (("kl", 0.1), ("mse_logits", alpha)):
                fidelity = 0.8 + 0.02 * seed + rise * (loss == "mse_logits") + generator.normal(0, noise)
                searched = {"distillation_loss": loss, "distillation_alpha": weight} if columns else {}
                made.append(trial(strength, 1, seed, loss=loss, alpha=weight, fidelity_val=fidelity, **searched))
    return made


@pytest.mark.parametrize(
    ("rise", "answer"), [(0.0, "supported"), (-0.1, "supported"), (0.1, "refuted"), (0.02, "undecided")]
)
def test_logits_matching_is_judged_against_the_margin(tmp_path, rise, answer):
    v = judge(tmp_path, losses(rise))[LOGITS_MATCHING, "fidelity_val"]
    assert (v.answer, v.basis, v.num_pairs, v.margin) == (answer, LOSSES, 10, 0.02)
    assert v.estimate.value == pytest.approx(rise, abs=0.005)


def test_a_wider_margin_accepts_a_larger_rise(tmp_path):
    assert judge(tmp_path, losses(0.1), margin=0.2)[LOGITS_MATCHING, "fidelity_val"].answer == "supported"


def test_logits_matching_needs_alpha_zero(tmp_path):
    found = judge(tmp_path, losses(0.0, alpha=0.1))[LOGITS_MATCHING, None]
    assert found.answer == "not tested"
    assert "distillation.loss mse_logits and distillation.alpha 0" in found.reason


def test_logits_matching_is_testable_at_a_single_strength(tmp_path):
    made = [t for t in losses(0.0) if t["augmentation_strength"] == 0.5]
    found = judge(tmp_path, made)
    assert found[LOGITS_MATCHING, "fidelity_val"].answer == "supported"
    assert found["stronger augmentation lowers fidelity", "fidelity_val"].answer == "not tested"
    assert analyse(write_study(tmp_path, made), resamples=500).verdicts.num_rows > 0
