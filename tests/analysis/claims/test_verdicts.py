"""Studies whose truth is known, and the words that they get."""

import numpy as np
import pytest
import scipy.stats

from kd_sweep.analysis.study_analysis import analyse
from tests.analysis.tables import trial, write_study

ACCURACY = "stronger augmentation raises the student's accuracy"


def judged(tmp_path, made, outcome="val_accuracy"):
    found = analyse(write_study(tmp_path, made), resamples=500)
    (row,) = [row for row in found.verdicts.to_pylist() if row["outcome"] == outcome and row["mediator"] is None]
    return row


def along(means, seeds=5, noise=0.004, strengths=(0.0, 0.25, 0.5, 0.75, 1.0), sizes=(1, 2), outcome="val_accuracy"):
    """Trials whose outcome has these means along the strengths; seeds differ in level."""
    generator = np.random.default_rng(seeds)
    return [
        trial(s, size, seed, **{outcome: 0.013 * seed + mean + generator.normal(0, noise)})
        for seed in range(seeds)
        for s, mean in zip(strengths, means, strict=True)
        for size in sizes
    ]


# --- the size of the gap ----------------------------------------------------------------------------------------------


def test_a_gap_that_grows_on_the_other_side_of_zero_is_not_narrower(tmp_path):
    generator = np.random.default_rng(1)
    made = [
        trial(s, 1, seed, generalization_gap=0.006 - 0.152 * s + generator.normal(0, 0.002))
        for s in (0.0, 0.5)
        for seed in range(5)
    ]
    row = judged(tmp_path, made, "generalization_gap")
    assert row["verdict"] == "refuted"
    assert row["effect"] == pytest.approx(0.064, abs=0.004)
    assert "its size changes by +0.06" in row["sentence"]
    assert "train minus validation goes from +0.00" in row["sentence"]
    assert "to -0.0" in row["sentence"]


# --- all strengths ----------------------------------------------------------------------------------------------------


def test_a_hump_with_unequal_ends_is_called_one(tmp_path):
    row = judged(tmp_path, along((0.60, 0.66, 0.64, 0.60, 0.56)))
    assert (row["verdict"], row["best_level"], row["best_low"], row["best_high"]) == ("mixed", 0.25, 0.25, 0.25)
    assert row["sentence"].startswith(f"Mixed: {ACCURACY} (val_accuracy).")
    assert "It rises up to 0.25 and falls beyond. Highest at 0.25 (95 %: 0.25). Against 0: 0.25 +0.0" in row["sentence"]
    assert row["curvature"] == pytest.approx(0.063, abs=0.006)
    assert row["trend"] == pytest.approx(-0.056, abs=0.006)


def test_a_hump_with_equal_ends_is_called_one(tmp_path):
    row = judged(tmp_path, along((0.58, 0.64, 0.66, 0.64, 0.58)))
    assert (row["verdict"], row["best_level"]) == ("mixed", 0.5)
    assert row["best_low"] <= 0.5 <= row["best_high"]
    assert "It rises up to 0.5 and falls beyond." in row["sentence"]
    assert "seeds in all would decide it" not in row["sentence"]


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ((0.50, 0.60, 0.64, 0.66, 0.67), "supported"),
        ((0.67, 0.66, 0.64, 0.60, 0.50), "refuted"),
        ((0.66, 0.60, 0.58, 0.60, 0.66), "mixed"),
        ((0.60, 0.60, 0.60, 0.60, 0.60), "undecided"),
    ],
    ids=["levelling off", "falling faster", "valley", "level"],
)
def test_other_shapes(tmp_path, means, verdict):
    assert judged(tmp_path, along(means))["verdict"] == verdict


def test_every_strength_is_compared_with_the_lowest_with_a_correction(tmp_path):
    made = along((0.60, 0.66, 0.64, 0.60, 0.56), seeds=6)
    levels = analyse(write_study(tmp_path, made), resamples=500).levels.to_pylist()
    value = {(t["augmentation_strength"], t["ensemble_size"], t["seed"]): t["val_accuracy"] for t in made}
    assert [row["to_level"] for row in levels] == [0.25, 0.5, 0.75, 1.0]
    for row in levels:
        by_seed = [np.mean([value[row["to_level"], m, s] - value[0.0, m, s] for m in (1, 2)]) for s in range(6)]
        theirs = scipy.stats.ttest_1samp(by_seed, 0.0).confidence_interval(1 - 0.05 / 4)
        assert row["estimate"] == pytest.approx(np.mean(by_seed))
        assert (row["low"], row["high"]) == pytest.approx((theirs.low, theirs.high))
        assert (row["p_corrected"] <= 0.05) == (row["to_level"] != 0.75)


def test_a_strength_that_one_seed_tried_costs_the_others_nothing(tmp_path):
    made = [*along((0.5, 0.55, 0.6), strengths=(0.0, 0.25, 0.5)), trial(0.9, 1, 0, val_accuracy=0.1)]
    row = judged(tmp_path, made)
    assert (row["verdict"], row["to_level"], row["num_seeds"]) == ("supported", 0.5, 5)
    assert row["missing"] == "strength 0.9 (1 of 10 trials)"
    assert f"Not in it: {row['missing']}." in row["sentence"]


# --- balance ----------------------------------------------------------------------------------------------------------


def uneven(failures, seeds=5):
    """One teacher gains 0.05, three lose it; these seeds have no trial of three at the highest strength."""
    generator = np.random.default_rng(3)
    made = []
    for seed in range(seeds):
        for size, effect in ((1, 0.05), (3, -0.05)):
            for s in (0.0, 1.0):
                if size == 3 and s == 1.0 and seed in failures:
                    made.append(trial(s, size, seed, status="failed", last_epoch=1))
                else:
                    made.append(trial(s, size, seed, val_accuracy=0.6 + effect * s + generator.normal(0, 0.01)))
    return made


def test_failures_of_one_size_do_not_make_an_effect_of_the_others(tmp_path):
    row = judged(tmp_path, uneven({0, 1, 2, 3}))
    assert (row["verdict"], row["num_seeds"]) == ("undecided", 1)
    assert row["missing"] == "4 of 5 seeds, which lack trials (strength 1 with ensemble size 3 in 4)"
    effects = analyse(write_study(tmp_path / "effects", uneven({0, 1, 2, 3})), resamples=500).effects.to_pylist()
    (pooled,) = [row for row in effects if row["is_pooled"] and row["varied"] == "augmentation_strength"]
    assert (pooled["num_pairs"], pooled["num_seeds"], pooled["low"]) == (2, 1, None)
    assert pooled["note"].endswith("4 seeds left out, which lack pairs")


def test_a_size_that_failed_at_every_strength_in_most_seeds_is_missing_too(tmp_path):
    made = [
        {**t, "status": "failed", "last_epoch": 1} if t["ensemble_size"] == 3 and t["seed"] < 4 else t
        for t in uneven(set())
    ]
    row = judged(tmp_path, made)
    assert (row["verdict"], row["num_seeds"]) == ("undecided", 1)
    assert "4 of 5 seeds, which lack trials (strength 0 with ensemble size 3 in 4 and" in row["sentence"]


def test_a_seed_that_lacks_a_trial_is_left_out_whole(tmp_path):
    row = judged(tmp_path, uneven({0}, seeds=8))
    assert (row["num_seeds"], row["num_pairs"]) == (7, 14)
    assert row["effect"] == pytest.approx(0.0, abs=0.012)
    assert row["verdict"] == "undecided"


def test_where_no_seed_is_complete_there_is_no_estimate(tmp_path):
    made = [t for t in uneven({0, 1}, seeds=4) if not (t["seed"] > 1 and t["ensemble_size"] == 1)]
    row = judged(tmp_path, made)
    assert (row["verdict"], row["effect"]) == ("undecided", None)
    assert "no verdict, since no seed is complete: not in it are 4 of 4 seeds, which lack trials" in row["sentence"]


def test_a_size_that_never_completed_is_named(tmp_path):
    results = write_study(tmp_path, uneven({0, 1, 2, 3, 4}))
    found = analyse(results, resamples=500)
    assert found.sample.never_completed == ((1.0, 3),)
    (row,) = [row for row in found.verdicts.to_pylist() if row["outcome"] == "val_accuracy"]
    assert (row["num_seeds"], row["num_pairs"]) == (5, 5)
    assert row["missing"] == "1 setting without both strength 0 and 1 (ensemble size 3)"


# --- trials that outcomes chose ---------------------------------------------------------------------------------------


def halved(random_state, seeds=6):
    """Strength does nothing. Of each seed's eight trials, the four with the better accuracy are completed."""
    generator = np.random.default_rng(random_state)
    made = []
    for seed in range(seeds):
        accuracies = {(s, m): generator.normal(0.6, 0.05 * (1 + s)) for s in (0.0, 0.25, 0.5, 1.0) for m in (2, 3)}
        kept = sorted(accuracies, key=accuracies.__getitem__)[4:]
        for (s, m), accuracy in accuracies.items():
            end = {} if (s, m) in kept else {"status": "stopped", "last_epoch": 2}
            iou = 0.6 - 0.2 * s + generator.normal(0, 0.004)
            made.append(
                trial(s, m, seed, val_accuracy=accuracy, fidelity_val=accuracy, attention_iou_teachers=iou, **end)
            )
    return made


def test_trials_stopped_by_the_objective_give_no_verdict_on_students(tmp_path):
    for random_state in range(5):
        results = write_study(tmp_path / str(random_state), halved(random_state))
        for row in analyse(results, resamples=500).verdicts.to_pylist():
            if row["outcome"] in ("val_accuracy", "fidelity_val"):
                assert (row["verdict"], row["p"]) == ("undecided", None)
                assert "no verdict, since 24 trials were stopped by the scheduler" in row["sentence"]


def test_what_is_about_teachers_alone_is_judged_with_the_stopped_trials_too(tmp_path):
    row = judged(tmp_path, halved(0), "attention_iou_teachers")
    assert (row["verdict"], row["num_seeds"], row["num_levels"]) == ("supported", 6, 4)


def test_an_adaptive_sampler_chooses_by_outcome_as_well(tmp_path):
    from kd_sweep.storage.root import Root
    from kd_sweep.tables.reader import open_results
    from kd_sweep.tables.writer import StudyWriter

    with StudyWriter(Root.open(tmp_path), "adaptive") as writer:
        writer.set_study(status="completed", sampler="tpe")
        for row in along((0.5, 0.6), strengths=(0.0, 1.0)):
            writer.upsert_trial(row)
    rows = analyse(open_results(tmp_path), resamples=500).verdicts.to_pylist()
    (row,) = [row for row in rows if row["outcome"] == "val_accuracy"]
    assert row["verdict"] == "undecided"
    assert "the sampler tpe chose trials by earlier ones" in row["sentence"]


# --- many questions, few seeds ----------------------------------------------------------------------------------------


def test_raw_and_corrected_p_values_are_shown(tmp_path):
    generator = np.random.default_rng(4)
    names = ("fidelity_train", "fidelity_val", "fidelity_val_augmented", "val_accuracy")
    made = [
        trial(
            s, 1, seed, **{name: 0.5 + 0.01 * s * index + generator.normal(0, 0.01) for index, name in enumerate(names)}
        )
        for s in (0.0, 1.0)
        for seed in range(6)
    ]
    found = analyse(write_study(tmp_path, made), resamples=500).verdicts.to_pylist()
    rows = [row for row in found if row["p"] is not None and not row["basis"].startswith("effect of strength on")]
    assert len(rows) == 5
    ordered = sorted(rows, key=lambda row: row["p"])
    largest = 0.0
    for rank, row in enumerate(ordered):
        largest = max(largest, min(1.0, (5 - rank) * row["p"]))
        assert row["p_corrected"] == pytest.approx(largest)
        assert (row["verdict"] == "undecided") == (largest > 0.05)
        assert row["num_tests"] == 5
    for row in [row for row in rows if row["mediator"] is None]:
        value = {(t["augmentation_strength"], t["seed"]): t[row["outcome"]] for t in made}
        theirs = scipy.stats.ttest_1samp([value[1.0, s] - value[0.0, s] for s in range(6)], 0.0)
        assert row["p_if_normal"] == pytest.approx(theirs.pvalue)


def test_what_would_hold_for_normal_differences_only_is_said_to(tmp_path):
    """Six times its standard error is a lot for three normal differences, and not for three skewed ones."""
    made = [
        trial(s, 1, seed, val_accuracy=0.5 + s * (0.1 + 0.0291 * (seed - 1))) for s in (0.0, 1.0) for seed in range(3)
    ]
    row = judged(tmp_path, made)
    assert (row["verdict"], row["verdict_if_normal"]) == ("undecided", "supported")
    assert row["p_if_normal"] < 0.05 < row["p"]
    assert "It would be supported if differences between seeds were known to be normal." in row["sentence"]


def test_an_exact_test_counts_where_it_can_decide(tmp_path):
    """One outcome at two strengths: five sign flips can reach 1/16, six 1/32."""
    generator = np.random.default_rng(5)
    rows = [
        judged(
            tmp_path / str(seeds),
            [
                trial(s, 1, seed, val_accuracy=0.5 + 0.1 * s + generator.normal(0, 0.01))
                for s in (0.0, 1.0)
                for seed in range(seeds)
            ],
        )
        for seeds in (5, 6)
    ]
    assert [(row["is_exact"], row["p_exact"], row["verdict"]) for row in rows] == [
        (False, 1 / 16, "supported"),
        (True, 1 / 32, "supported"),
    ]
    assert rows[1]["p"] == 1 / 32


# --- shares of images -------------------------------------------------------------------------------------------------


def one_image_more(seeds, images=360):
    counts = np.random.default_rng(6).integers(200, 300, seeds)
    return [
        trial(s, 1, seed, val_accuracy=(int(counts[seed]) + (s > 0)) / images)
        for s in (0.0, 1.0)
        for seed in range(seeds)
    ]


def test_one_image_more_in_each_of_three_seeds_decides_nothing(tmp_path):
    row = judged(tmp_path, one_image_more(3))
    assert row["verdict"] == "undecided"
    assert row["effect"] == pytest.approx(1 / 360)
    assert row["resolution"] == pytest.approx(1 / 360)
    assert row["t_low"] < 0 < row["t_high"]
    assert row["low"] < 1 / 360 < row["high"]


def test_no_interval_of_the_three_tables_has_no_width(tmp_path):
    made = one_image_more(4)
    made = [{**t, "fidelity_val": 0.5 + 0.25 * (t["augmentation_strength"] > 0), "ece": 0.1} for t in made]
    found = analyse(write_study(tmp_path, made), resamples=500)
    for table in (found.effects, found.correlations, found.verdicts):
        for row in table.to_pylist():
            for low, high in (("low", "high"), ("t_low", "t_high")):
                assert row.get(low) is None or row[low] < row[high], row


def test_an_effect_of_one_image_is_said_to_be_that(tmp_path):
    row = judged(tmp_path, one_image_more(12))
    assert "That is fewer than 2 images: one is 0.0028 of it." in row["sentence"]


# --- what both follow from --------------------------------------------------------------------------------------------


def driven_by_strength(random_state, seeds=5):
    """Attention and accuracy both follow the strength, and have nothing else to do with each other."""
    generator = np.random.default_rng(random_state)
    return [
        trial(
            *(s, m, seed),
            attention_iou_teachers=0.6 - 0.3 * s + generator.normal(0, 0.02),
            val_accuracy=0.5 + 0.3 * s + generator.normal(0, 0.02),
        )
        for seed in range(seeds)
        for s in (0.0, 0.25, 0.5, 1.0)
        for m in (2, 3)
    ]


def between(tmp_path, made):
    rows = analyse(write_study(tmp_path, made), resamples=500).correlations.to_pylist()
    (row,) = [
        r for r in rows if (r["x"], r["y"], r["ensemble_size"]) == ("attention_iou_teachers", "val_accuracy", None)
    ]
    return row


def test_outcomes_that_strength_drives_are_not_associated_within_it(tmp_path):
    rows = [between(tmp_path / str(k), driven_by_strength(k)) for k in range(10)]
    assert all(row["rho"] < -0.85 for row in rows)
    assert abs(np.mean([row["rho_within"] for row in rows])) < 0.15
    assert sum(row["within_low"] <= 0.0 <= row["within_high"] for row in rows) >= 8


def test_a_correlation_over_settings_that_some_seeds_lack_says_so(tmp_path):
    made = driven_by_strength(0)
    assert between(tmp_path / "whole", made)["note"] is None
    assert between(tmp_path / "torn", made[1:])["note"] == "unbalanced: not every seed has every setting"


def test_outcomes_that_go_together_within_strength_and_seed_are(tmp_path):
    generator = np.random.default_rng(7)
    made = []
    for t in driven_by_strength(0):
        common = generator.normal(0, 0.05)
        both = {name: t[name] + common for name in ("attention_iou_teachers", "val_accuracy")}
        made.append({**t, **both})
    row = between(tmp_path, made)
    assert row["rho"] < 0 < 0.5 < row["rho_within"]
    assert 0 < row["within_low"] < row["rho_within"] < row["within_high"]


# --- attention above chance -------------------------------------------------------------------------------------------


def test_attention_is_judged_above_chance_where_the_tables_have_it(tmp_path):
    """The regions grow with strength, so that they overlap more, by chance alone."""
    generator = np.random.default_rng(8)
    made = []
    for s in (0.0, 1.0):
        for seed in range(5):
            chance = 0.3 + 0.2 * s
            overlap = 0.2 - 0.1 * s + generator.normal(0, 0.005)
            iou = chance + overlap * (1 - chance)
            made.append(trial(s, 2, seed, attention_iou_teachers=iou, attention_overlap_teachers=overlap))
    found = analyse(write_study(tmp_path / "both", made), resamples=500).verdicts.to_pylist()
    attention = [row for row in found if row["outcome"] and row["outcome"].startswith("attention_")]
    assert [(row["outcome"], row["verdict"]) for row in attention] == [("attention_overlap_teachers", "supported")]
    without = [{name: value for name, value in t.items() if "overlap" not in name} for t in made]
    row = judged(tmp_path / "iou", without, "attention_iou_teachers")
    assert row["verdict"] == "refuted"
    assert "A part of it is chance: larger regions overlap more." in row["sentence"]
