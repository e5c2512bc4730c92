"""Whether the effect of a strength depends on the ensemble's size, or on the other strength."""

import itertools

import numpy as np
import pandas as pd
import pytest

from kd_sweep.analysis.study_analysis import analyse
from tests.analysis.tables import trial, write_study

STRENGTHS, SIZES = (0.0, 0.25, 1.0), (1, 2, 4)


def crossed(strengths=(0.0, 1.0), sizes=(1, 3), seeds=5, noise=0.004, effects=(0.05, -0.05), random_state=0):
    """Accuracy changes by the first effect with the smallest ensemble, and by the second with the largest."""
    generator = np.random.default_rng(random_state)
    slope = (effects[1] - effects[0]) / (sizes[-1] - sizes[0])
    return [
        trial(
            strength,
            size,
            seed,
            val_accuracy=0.6
            + 0.01 * seed
            + 0.02 * size
            + strength * (effects[0] + slope * (size - sizes[0]))
            + generator.normal(0, noise),
        )
        for seed in range(seeds)
        for strength in strengths
        for size in sizes
    ]


def rows(tmp_path, made, **wanted):
    found = analyse(write_study(tmp_path, made), resamples=500).interactions.to_pylist()
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def test_an_effect_that_turns_with_the_size_is_found(tmp_path):
    made = crossed()
    (row,) = rows(tmp_path, made)
    value = {(t["augmentation_strength"], t["ensemble_size"], t["seed"]): t["val_accuracy"] for t in made}
    gains = {size: [value[1.0, size, s] - value[0.0, size, s] for s in range(5)] for size in (1, 3)}
    by_seed = np.subtract(gains[3], gains[1])
    assert (row["varied"], row["modifier"], row["outcome"]) == (
        "augmentation_strength",
        "ensemble_size",
        "val_accuracy",
    )
    assert [row[f"{end}_{what}"] for what in ("level", "modifier") for end in ("from", "to")] == [0.0, 1.0, 1.0, 3.0]
    assert row["estimate"] == pytest.approx(by_seed.mean())
    assert row["std"] == pytest.approx(by_seed.std(ddof=1))
    assert (row["effect_at_from"], row["effect_at_to"]) == pytest.approx((np.mean(gains[1]), np.mean(gains[3])))
    assert row["t_low"] < -0.1 < row["t_high"] < 0
    assert (row["num_settings"], row["num_seeds"]) == (4, 5)


@pytest.mark.parametrize("package", ["numpy", "statsmodels"])
def test_of_many_levels_it_is_the_product_of_least_squares(tmp_path, package):
    """Coefficient of strength times size beside both and a level for each seed, over the whole range of both."""
    made = crossed(STRENGTHS, SIZES, effects=(0.0, 0.06))
    (row,) = rows(tmp_path, made)
    strength, size, seed, y = (
        np.array([t[name] for t in made]) for name in ("augmentation_strength", "ensemble_size", "seed", "val_accuracy")
    )
    if package == "numpy":
        columns = [strength * size, strength, size, *(seed == s for s in range(5))]
        coefficient = np.linalg.lstsq(np.column_stack(columns).astype(float), y, rcond=None)[0][0]
    else:
        formula = pytest.importorskip("statsmodels.formula.api")
        data = pd.DataFrame({"strength": strength, "size": size, "seed": seed, "y": y})
        coefficient = formula.ols("y ~ strength * size + C(seed)", data).fit().params["strength:size"]
    assert row["estimate"] == pytest.approx(coefficient * 1.0 * 3, abs=1e-6)
    assert row["effect_at_to"] - row["effect_at_from"] == pytest.approx(row["estimate"])


def test_intervals_hold_what_was_planted(tmp_path):
    inside = []
    for k in range(30):
        (row,) = rows(tmp_path / str(k), crossed(seeds=4, noise=0.01, random_state=k))
        inside.append(row["t_low"] <= -0.1 <= row["t_high"])
    assert np.mean(inside) >= 0.87


def test_a_seed_counts_with_all_settings_or_not_at_all(tmp_path):
    made = crossed()
    lost = made.pop()
    (row,) = rows(tmp_path, made)
    assert (row["num_seeds"], lost["seed"]) == (4, 4)
    assert "1 seed left out, which lack trials" in row["note"]
    each_lacks_one = [t for at, t in enumerate(crossed(seeds=4)) if at % 5 != 0]
    (none,) = rows(tmp_path / "none", each_lacks_one)
    assert (none["num_seeds"], none["estimate"], none["note"]) == (0, None, "no seed has all of the settings")


def test_a_strength_that_one_seed_tried_costs_the_others_nothing(tmp_path):
    (row,) = rows(tmp_path, [*crossed(), trial(0.9, 1, 0, val_accuracy=0.1)])
    assert (row["to_level"], row["num_seeds"]) == (1.0, 5)


def test_without_all_combinations_there_is_none(tmp_path):
    made = [t for t in crossed() if (t["augmentation_strength"], t["ensemble_size"]) != (1.0, 3)]
    assert rows(tmp_path / "corner", made) == []
    generator = np.random.default_rng(1)
    drawn = [trial(generator.random(), size, seed, val_accuracy=0.5) for seed in range(4) for size in (1, 2)]
    assert rows(tmp_path / "drawn", drawn) == []


def test_strengths_of_teachers_and_student_may_depend_on_each_other(tmp_path):
    generator = np.random.default_rng(2)
    made = [
        trial(
            own, 1, seed, student_strength=student, val_accuracy=0.6 - 0.1 * own * student + generator.normal(0, 0.002)
        )
        for own, student, seed in itertools.product((0.0, 1.0), (0.0, 0.5), range(4))
    ]
    (row,) = rows(tmp_path, made, varied="augmentation_strength", modifier="student_strength")
    assert row["estimate"] == pytest.approx(-0.05, abs=0.006)
    assert (row["effect_at_from"], row["effect_at_to"]) == pytest.approx((0.0, -0.05), abs=0.005)


def test_seeds_that_agree_have_no_interval(tmp_path):
    made = [t | {"val_accuracy": t["val_accuracy"] / np.pi} for t in crossed(noise=0.0, effects=(0.0, 0.0))]
    (row,) = rows(tmp_path, made)
    assert row["estimate"] == pytest.approx(0.0, abs=1e-12)
    assert (row["t_low"], row["low"]) == (None, None)
