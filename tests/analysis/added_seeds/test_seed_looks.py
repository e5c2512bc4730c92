"""What a look at a study with adaptive seeds is made of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kd_sweep.analysis.added_seeds.decision import SeedDecision, decide
from kd_sweep.analysis.added_seeds.expected import EFFECTS, PlannedTests, expected_seeds, least_effect
from kd_sweep.analysis.added_seeds.seed_looks import looked_at, num_complete
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from tests.analysis.tables import trial, write_study

SEEDS = AdaptiveSeeds(min=3, max=6, first=10)


def rows(numbers: range, slope: float = 0.5) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    made = [
        trial(strength, 2, seed, val_accuracy=0.5 + slope * strength + float(generator.normal(0, 0.004)))
        for seed in range(10, 16)
        for strength in (0.0, 0.5)
    ]
    return [row for row in made if row["seed"] in numbers]


def table(tmp_path: Path, made: list[dict[str, Any]]) -> pa.Table:
    return write_study(tmp_path, made).table("trials")


def test_a_seed_counts_once_all_its_settings_have_ended(tmp_path: Path) -> None:
    made = rows(range(10, 14))
    assert num_complete(table(tmp_path / "all", made), SEEDS) == 4
    made[-1] |= {"status": "running", "last_epoch": 1}
    assert num_complete(table(tmp_path / "running", made), SEEDS) == 3
    made[-1] |= {"status": "failed"}
    assert num_complete(table(tmp_path / "failed", made), SEEDS) == 4
    assert num_complete(table(tmp_path / "one-lacks", made[:-1]), SEEDS) == 3
    assert num_complete(table(tmp_path / "none", rows(range(11, 13))), SEEDS) == 0  # the first one is not there


def test_a_look_is_made_of_its_own_seeds_alone(tmp_path: Path) -> None:
    few, many = (looked_at(table(tmp_path / str(n), rows(range(10, n))), "planted", SEEDS) for n in (14, 16))
    assert (len(few.samples), len(many.samples)) == (2, 4)
    for early, late in zip(few.samples, many.samples, strict=False):
        assert early.trials.keys == late.trials.keys
        assert early.trials.columns.keys() == late.trials.columns.keys()
        for name, values in early.trials.columns.items():
            np.testing.assert_array_equal(values, late.trials.columns[name])
        assert early.steps == late.steps
    assert {seed for seeds in many.samples[0].trials.keys.values() for seed in seeds} == {10, 11, 12}


def test_images_that_have_moved_are_the_same_setting(tmp_path: Path) -> None:
    made = rows(range(10, 13))
    made[0]["config"] = json.dumps(json.loads(made[0]["config"]) | {"data": {"path": "/elsewhere"}})
    assert num_complete(table(tmp_path, made), SEEDS) == 3


def test_a_decision_in_words(tmp_path: Path) -> None:
    assert str(decide(table(tmp_path / "2", rows(range(10, 12))), "planted", SEEDS)) == (
        "2 seeds of at most 6, no look before 3"
    )
    decided = decide(table(tmp_path / "6", rows(range(10, 16))), "planted", SEEDS)
    assert (str(decided), decided.num_wanted) == ("6 seeds of at most 6; decided: val_accuracy", 6)


def test_where_everything_failed_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    made = [row | {"status": "failed", "last_epoch": 0} for row in rows(range(10, 13))]
    assert decide(table(tmp_path, made), "planted", SEEDS).num_wanted == 3


@pytest.mark.parametrize(
    ("decision", "wanted"),
    [
        (SeedDecision(SEEDS, 0), 3),
        (SeedDecision(SEEDS, 3, open=("a",)), 4),
        (SeedDecision(SEEDS, 4, decided=("a",), given_up=("b",)), 4),
        (SeedDecision(SEEDS, 6, open=("a",)), 6),
    ],
)
def test_how_many_seeds_are_wanted(decision: SeedDecision, wanted: int) -> None:
    assert decision.num_wanted == wanted


def test_more_is_expected_of_middling_effects_than_of_none_and_of_large_ones() -> None:
    seeds, tests = AdaptiveSeeds(min=3, max=12), PlannedTests(num_questions=9, num_watched=9, has_curvature=False)
    none, middling, large = (expected_seeds(tests, seeds, effect) for effect in EFFECTS)
    assert none < middling
    assert large < middling
    assert expected_seeds(tests, seeds, 200.0) <= 4.0
    assert 2.0 < least_effect(tests, seeds) < 3.5
