import io
import json

import numpy as np
import pytest
import scipy.stats

from kd_sweep.analysis.analysis_output import write_analysis
from kd_sweep.analysis.comparisons import ADJACENT, EXTREMES
from kd_sweep.analysis.effects import MEAN
from kd_sweep.analysis.study_analysis import analyse
from tests.analysis.tables import SIZES, STRENGTHS, planted, trial, write_study


def rows(table, **wanted):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def one(table, **wanted):
    found = rows(table, **wanted)
    assert len(found) == 1, found
    return found[0]


def test_planted_effect_is_found_although_seeds_differ_by_more(tmp_path):
    effects = analyse(write_study(tmp_path, planted()), resamples=3000).effects
    strength = one(effects, outcome="val_accuracy", varied="augmentation_strength", kind=EXTREMES, is_pooled=True)
    assert strength["low"] < -0.1 < strength["high"] < 0
    assert strength["t_low"] < -0.1 < strength["t_high"] < 0
    assert (strength["num_pairs"], strength["num_seeds"]) == (18, 6)
    size = one(effects, outcome="val_accuracy", varied="ensemble_size", kind=EXTREMES, is_pooled=True)
    assert 0 < size["low"] < 0.02 < size["high"]


def test_every_row_is_the_mean_difference_by_hand(tmp_path):
    made = planted(seeds=4)
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    value = {(t["augmentation_strength"], t["ensemble_size"], t["seed"]): t["val_accuracy"] for t in made}
    for low, high, kind in ((0.0, 0.25, ADJACENT), (0.25, 0.5, ADJACENT), (0.0, 0.5, EXTREMES)):
        per_size = {size: [value[high, size, s] - value[low, size, s] for s in range(4)] for size in SIZES}
        wanted = {"outcome": "val_accuracy", "varied": "augmentation_strength", "kind": kind, "from_level": low}
        for size in SIZES:
            row = one(effects, **wanted, to_level=high, ensemble_size=size, is_pooled=False)
            assert row["estimate"] == pytest.approx(np.mean(per_size[size]))
            assert row["std"] == pytest.approx(np.std(per_size[size], ddof=1))
            assert (row["num_pairs"], row["augmentation_strength"]) == (4, None)
        pooled = one(effects, **wanted, to_level=high, is_pooled=True)
        by_seed = np.mean([per_size[size] for size in SIZES], axis=0)
        theirs = scipy.stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
        assert pooled["estimate"] == pytest.approx(by_seed.mean())
        assert (pooled["t_low"], pooled["t_high"]) == pytest.approx((theirs.low, theirs.high))
        assert (pooled["num_pairs"], pooled["num_seeds"]) == (12, 4)
    sizes = rows(effects, outcome="val_accuracy", varied="ensemble_size", is_pooled=False)
    assert len(sizes) == 9
    for row in sizes:
        low, high, strength = int(row["from_level"]), int(row["to_level"]), row["augmentation_strength"]
        differences = [value[strength, high, seed] - value[strength, low, seed] for seed in range(4)]
        assert row["estimate"] == pytest.approx(np.mean(differences))


def test_means_of_each_setting(tmp_path):
    made = planted(seeds=5)
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    for strength in STRENGTHS:
        values = [
            t["generalization_gap"] for t in made if (t["augmentation_strength"], t["ensemble_size"]) == (strength, 2)
        ]
        row = one(effects, kind=MEAN, outcome="generalization_gap", augmentation_strength=strength, ensemble_size=2)
        assert row["estimate"] == pytest.approx(np.mean(values))
        assert min(values) <= row["low"] < row["estimate"] < row["high"] <= max(values)
        assert (row["num_seeds"], row["varied"], row["from_level"]) == (5, None, None)


def test_pooling_over_sizes_counts_seeds_and_not_pairs(tmp_path):
    """Pairs of one seed are the same number three times: an interval over 15 pairs would be too narrow."""
    generator = np.random.default_rng(2)
    made = []
    for seed in range(5):
        effect = generator.normal(0.05, 0.03)
        made += [trial(s, size, seed, val_accuracy=0.5 + effect * (s > 0)) for s in (0.0, 0.5) for size in SIZES]
    effects = analyse(write_study(tmp_path, made), resamples=2000).effects
    wanted = {"outcome": "val_accuracy", "varied": "augmentation_strength"}
    pooled = one(effects, **wanted, is_pooled=True)
    alone = one(effects, **wanted, is_pooled=False, ensemble_size=2)
    assert (pooled["num_pairs"], alone["num_pairs"]) == (15, 5)
    for end in ("low", "high", "t_low", "t_high"):
        assert pooled[end] == pytest.approx(alone[end])


def test_seeds_missing_in_one_arm_are_dropped_from_its_pairs(tmp_path):
    made = [trial(s, 1, seed, val_accuracy=0.5 + 0.1 * s + 0.01 * seed) for s in (0.0, 0.5) for seed in range(5)]
    made = [t for t in made if (t["augmentation_strength"], t["seed"]) not in {(0.5, 1), (0.0, 4)}]
    row = one(
        analyse(write_study(tmp_path, made), resamples=500).effects, varied="augmentation_strength", is_pooled=True
    )
    assert (row["num_pairs"], row["num_seeds"]) == (3, 3)
    assert row["estimate"] == pytest.approx(0.05)


def test_a_further_searched_field_keeps_pairs_apart(tmp_path):
    """Strength adds 0.1 at one temperature and takes 0.1 at the other; crossed pairs would give neither."""
    made = [
        trial(s, 1, seed, val_accuracy=0.5 + sign * 0.2 * s + 0.3 * (sign > 0), distillation_temperature=temperature)
        for s in (0.0, 0.5)
        for temperature, sign in ((2.0, 1), (4.0, -1))
        for seed in range(3)
    ]
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    wanted = {"varied": "augmentation_strength", "is_pooled": False}
    warm = one(effects, **wanted, other_fields="distillation_temperature=2.0")
    cold = one(effects, **wanted, other_fields="distillation_temperature=4.0")
    assert (warm["estimate"], cold["estimate"]) == pytest.approx((0.1, -0.1))
    assert (warm["num_pairs"], cold["num_pairs"]) == (3, 3)
    pooled = one(effects, varied="augmentation_strength", is_pooled=True)
    assert (pooled["estimate"], pooled["num_pairs"]) == (pytest.approx(0.0, abs=1e-12), 6)
    assert "distillation_temperature" not in effects["outcome"].to_pylist()


def test_a_field_searched_only_later_is_known_from_the_configuration(tmp_path):
    """Trials before the field was searched have no value in its column; they ran with temperature 4."""
    early = [trial(s, 1, seed, val_accuracy=0.5 + s) for s in (0.0,) for seed in range(3)]
    late = [
        trial(0.5, 1, seed, val_accuracy=0.5 + t, distillation_temperature=t) for t in (2.0, 4.0) for seed in range(3)
    ]
    effects = analyse(write_study(tmp_path, early + late), resamples=500).effects
    row = one(effects, varied="augmentation_strength", is_pooled=False)
    assert (row["other_fields"], row["estimate"]) == ("distillation_temperature=4.0", pytest.approx(4.0))


def test_sizes_are_compared_within_ensembles_of_one_composition(tmp_path):
    """A second equal teacher adds 0.01, a second pair 0.02; what the first ones of another network add is no effect."""
    values = {("a",): 0.5, ("a", "a"): 0.51, ("b",): 0.8, ("a", "b"): 0.6, ("a", "b", "a", "b"): 0.62}
    made = [
        trial(strength, len(models), seed, val_accuracy=value, teacher_models=json.dumps(models))
        for strength in (0.0, 0.5)
        for models, value in values.items()
        for seed in range(3)
    ]
    analysis = analyse(write_study(tmp_path, made), resamples=500)
    wanted = {"varied": "ensemble_size", "is_pooled": False, "augmentation_strength": 0.5}
    found = rows(analysis.effects, kind=EXTREMES, **wanted)
    by_composition = {row["other_fields"]: row["estimate"] for row in found}
    assert by_composition == {
        'teacher_models=["a"]': pytest.approx(0.01),
        'teacher_models=["a", "b"]': pytest.approx(0.02),
    }


def test_which_models_a_trial_has_is_known_from_its_configuration(tmp_path):
    """Trials before ensembles were searched have no value in the column: two equal teachers, or a mixed pair."""
    pair = {"teacher_strengths": [0.0, 0.0], "teacher": {"model": "a", "epochs": 2}}
    mixed = pair | {"members": [{"model": "a", "epochs": 2}, {"model": "b", "epochs": 3}]}
    later = [('["a"]', 1, 0.5, None), ('["a", "b"]', 2, 0.6, mixed)]
    made = [trial(0.5, 2, seed, val_accuracy=0.51, config=pair) for seed in range(3)]
    made += [trial(0.5, 2, seed, val_accuracy=0.7, config=mixed, teachers_1_epochs=None) for seed in range(3)]
    made = [row | {"trial_id": f"{number}"} for number, row in enumerate(made)]
    made += [
        trial(0.5, size, seed, val_accuracy=value, config=config, teacher_models=models)
        for models, size, value, config in later
        for seed in range(3)
    ]
    made += [trial(0.0, 2, seed, val_accuracy=0.4, config=mixed, teacher_models='["a", "b"]') for seed in range(3)]
    analysis = analyse(write_study(tmp_path, made), resamples=500)
    (row,) = rows(analysis.effects, varied="ensemble_size", is_pooled=False)
    assert (row["other_fields"], row["estimate"]) == ('teacher_models=["a"]', pytest.approx(0.01))
    out = io.BytesIO()
    write_analysis(analysis, "table", out)
    assert "teachers that differ in network or recipe" in " ".join(out.getvalue().decode().split())


def test_fewer_than_three_pairs_have_no_interval_and_say_so(tmp_path):
    effects = analyse(write_study(tmp_path, planted(seeds=2)), resamples=500).effects
    for row in effects.to_pylist():
        assert (row["low"], row["high"], row["t_low"], row["t_high"]) == (None,) * 4
        assert row["note"] == "no interval: 2 seeds, at least 3 are needed"


def test_null_metrics_are_skipped_for_their_outcome_only(tmp_path):
    effects = analyse(write_study(tmp_path, planted(seeds=3)), resamples=500).effects
    iou = rows(effects, outcome="attention_iou_teachers")
    assert {row["ensemble_size"] for row in iou} == {None, 2, 3}
    pooled = one(effects, outcome="attention_iou_teachers", varied="ensemble_size", is_pooled=True)
    assert (pooled["from_level"], pooled["to_level"], pooled["kind"]) == (2, 3, EXTREMES)
    assert len(rows(effects, outcome="val_accuracy", kind=MEAN)) == 9
    assert not rows(effects, outcome="ece")


def test_only_trials_at_their_last_epoch_count(tmp_path):
    made = planted(seeds=3)
    wild = {"val_accuracy": 0.0}
    made += [trial(s, 1, 7, status="stopped", last_epoch=2, **wild) for s in (0.0, 0.5)]
    made += [trial(0.0, 1, 8, status="failed", last_epoch=4, **wild), trial(0.5, 1, 8, status="interrupted", **wild)]
    made += [trial(0.5, 1, 9, status="running", last_epoch=1, **wild)]
    made += [trial(0.25, 1, 9, status="completed", last_epoch=3, **wild)]
    results = write_study(tmp_path, made)
    found = analyse(results, resamples=500)
    assert found.about["num_completed"] == 27
    assert (found.about["num_stopped"], found.about["num_failed"], found.about["num_unfinished"]) == (2, 1, 3)
    clean = analyse(write_study(tmp_path / "clean", planted(seeds=3)), resamples=500)
    assert found.effects.equals(clean.effects)
    assert found.correlations.equals(clean.correlations)


def test_a_trial_stopped_at_its_very_last_epoch_is_complete(tmp_path):
    made = [trial(s, 1, seed, val_accuracy=s, status="stopped") for s in (0.0, 0.5) for seed in range(3)]
    assert analyse(write_study(tmp_path, made), resamples=500).about["num_completed"] == 6


def test_mutual_information_is_an_outcome_and_not_a_searched_field(tmp_path):
    made = [
        trial(s, 1, seed, val_accuracy=0.5, mutual_information_val=2.0 - s + 0.01 * seed)
        for s in (0.0, 0.5)
        for seed in range(3)
    ]
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    row = one(effects, outcome="mutual_information_val", varied="augmentation_strength", is_pooled=True)
    assert (row["estimate"], row["num_pairs"], row["num_seeds"]) == (pytest.approx(-0.5), 3, 3)


MIXES = ([0.0], [1.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [1.0, 1.0])


def mixed(value, seeds=3):
    """Every list of teachers' strengths with students at 0 and 1; values are a function of list, strength and seed."""
    return [
        trial(
            sum(mix) / len(mix), len(mix), seed,
            teacher_strengths=json.dumps(mix), student_strength=student, val_accuracy=value(mix, student, seed),
        )
        for mix in MIXES
        for student in (0.0, 1.0)
        for seed in range(seeds)
    ]  # fmt: skip


def test_lists_of_equal_mean_strength_stay_apart(tmp_path):
    made = mixed(lambda mix, student, seed: 0.1 * (mix == [0.5, 0.5]) + 0.01 * seed)
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    means = rows(effects, kind=MEAN, augmentation_strength=0.5, student_strength=0.0)
    assert {row["teacher_strengths"]: round(row["estimate"], 9) for row in means} == {
        None: 0.11,
        "[0.0, 1.0]": 0.01,
        "[1.0, 0.0]": 0.01,
    }


def test_teachers_are_compared_list_by_list_where_none_becomes_weaker(tmp_path):
    made = mixed(lambda mix, student, seed: mix[-1] + 10 * student + 0.01 * seed)
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    first = rows(effects, varied="augmentation_strength", kind=ADJACENT, from_level=0.0, student_strength=0.0)
    assert {row["teacher_strengths"]: row["estimate"] for row in first} == pytest.approx(
        {"[0.0, 0.0] to [0.0, 1.0]": 1.0, "[0.0, 0.0] to [1.0, 0.0]": 0.0, None: 0.5}
    )
    pooled = one(effects, varied="augmentation_strength", kind=ADJACENT, from_level=0.0, is_pooled=True)
    assert (pooled["estimate"], pooled["num_pairs"], pooled["num_seeds"]) == (pytest.approx(0.5), 18, 3)
    whole = one(effects, varied="augmentation_strength", kind=EXTREMES, is_pooled=True)
    assert (whole["estimate"], whole["num_pairs"]) == (pytest.approx(1.0), 12)
    student = one(effects, varied="student_strength", is_pooled=True)
    assert (student["estimate"], student["num_pairs"]) == (pytest.approx(10.0), 21)


def test_sizes_are_compared_among_ensembles_of_one_strength(tmp_path):
    effects = analyse(write_study(tmp_path, mixed(lambda mix, student, seed: len(mix) + 0.5)), resamples=500).effects
    found = rows(effects, varied="ensemble_size", is_pooled=False)
    assert {(row["augmentation_strength"], row["student_strength"]) for row in found} == {
        (strength, student) for strength in (0.0, 1.0) for student in (0.0, 1.0)
    }
    assert {row["teacher_strengths"] for row in found} == {None}


def test_a_list_that_would_lower_a_teacher_is_no_step_up(tmp_path):
    made = [
        trial(sum(mix) / 2, 2, seed, teacher_strengths=json.dumps(mix), val_accuracy=0.5)
        for mix in ([0.0, 1.0], [0.75, 0.75], [1.0, 1.0])
        for seed in range(3)
    ]
    effects = analyse(write_study(tmp_path, made), resamples=500).effects
    steps = rows(effects, varied="augmentation_strength", is_pooled=False)
    assert {(row["from_level"], row["to_level"]) for row in steps} == {(0.75, 1.0), (0.5, 1.0)}


def test_a_list_of_equal_strengths_is_that_strength(tmp_path):
    """Studies that set a strength for all, or list it for each teacher, have the same trials."""
    listed = [
        trial(s, 2, seed, teacher_strengths=json.dumps([s, s]), val_accuracy=0.5 + s)
        for s in (0.0, 0.5)
        for seed in (0, 1, 2)
    ]
    plain = [trial(s, 2, seed, val_accuracy=0.5 + s) for s in (0.0, 0.5) for seed in (0, 1, 2)]
    first, second = (
        analyse(write_study(tmp_path / name, made), resamples=500) for name, made in (("a", listed), ("b", plain))
    )
    assert first.effects.equals(second.effects)
    assert first.verdicts.equals(second.verdicts)


def test_correlations_agree_with_scipy(tmp_path):
    made = planted(seeds=4, noise=0.05)
    correlations = analyse(write_study(tmp_path, made), resamples=500).correlations

    def column(name, size=None):
        chosen = [t for t in made if size in (None, t["ensemble_size"]) and t["attention_iou_teachers"] is not None]
        return [t[name] for t in chosen]

    for x, y in (
        ("augmentation_strength", "attention_iou_teachers"),
        ("attention_iou_teachers", "val_accuracy"),
        ("attention_iou_teachers", "generalization_gap"),
    ):
        for size in (None, 2, 3):
            row = one(correlations, x=x, y=y, augmentation_strength=None, ensemble_size=size)
            theirs = scipy.stats.spearmanr(column(x, size), column(y, size)).statistic
            assert row["rho"] == pytest.approx(theirs, abs=1e-12)
            assert row["low"] is None or row["low"] <= row["rho"] <= row["high"] <= row["ceiling"]
            assert (row["num_trials"], row["num_seeds"]) == (24 if size is None else 12, 4)
    fixed = one(correlations, x="ensemble_size", y="val_accuracy", augmentation_strength=0.25)
    values = [t for t in made if t["augmentation_strength"] == 0.25]
    theirs = scipy.stats.spearmanr([t["ensemble_size"] for t in values], [t["val_accuracy"] for t in values]).statistic
    assert fixed["rho"] == pytest.approx(theirs, abs=1e-12)


def test_a_constant_outcome_has_no_correlation_and_says_so(tmp_path):
    made = [trial(s, 1, seed, val_accuracy=0.5) for s in (0.0, 0.5) for seed in range(3)]
    row = one(analyse(write_study(tmp_path, made), resamples=500).correlations, y="val_accuracy")
    assert (row["rho"], row["low"], row["note"]) == (None, None, "val_accuracy is constant")
