"""A study that is resumed and extended has the trials of an unbroken one, by its tables."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.tune.sweep import source_of
from kd_sweep.driver.tune.tune_trial import assignment_in, result_of
from kd_sweep.driver.worker_messages import EpochDone
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.schema import FINISHED
from tests.driver.reports import report_of
from tests.driver.tune.searches import (
    CONTINUOUS,
    FINITE,
    NUM_SEEDS,
    OF_ONE_OBJECTIVE,
    ONE,
    SAMPLERS,
    SETTINGS,
    SLOW_TO_FIT,
    TWO,
    outcome,
    register_plugin,
)


@pytest.fixture(autouse=True)
def _samplers_of_a_plugin() -> None:
    register_plugin()


def spec_with(sampler: str, num_trials: int, search: dict[str, Any], seed: int = 0) -> StudySpec:
    named = SAMPLERS.get(sampler, {}) | {"name": sampler}
    named |= {} if sampler == "grid" else {"num_trials": num_trials, "seed": seed}
    objectives = ONE if sampler == OF_ONE_OBJECTIVE else TWO
    content = {"name": "s", "student": {"epochs": 1}, "search": search, "sampler": named, "objectives": objectives}
    return checked(parse_spec(json.dumps(content), "s"), say=print)


def run(root: Path, spec: StudySpec, most: int = 1000, on_new: Callable[[str], None] = lambda trial_id: None) -> int:
    """Run up to ``most`` trials of the study without Ray; the last one is cut off where there are more."""
    metrics = tuple(objective.metric for objective in spec.objectives)
    with StudyState(spec, StudyFolder(root, "s")) as state:
        searcher = TuneSearcher(source_of(state), SETTINGS, metrics, state.recorder.last_epoch)
        for index in range(most):
            config = searcher.suggest(str(index))
            if not isinstance(config, dict):
                break
            assigned = assignment_in(config)
            trial = assigned.trial
            if trial.trial_id not in state.recorder.trials():
                on_new(trial.trial_id)
            state.recorder.started(trial, assigned.suggestion, assigned.generation)
            if index == most - 1:
                break
            values = outcome(trial, len(metrics))
            if values is None:
                state.recorder.ended(trial.trial_id, "failed", "it raised", "")
                searcher.on_trial_complete(str(index), None, error=True)
                continue
            report = report_of(1, **dict(zip(metrics, values, strict=True)))
            state.recorder.epoch(trial.trial_id, report)
            state.recorder.ended(trial.trial_id, "completed")
            searcher.on_trial_complete(str(index), result_of(EpochDone(report)))
        rest = state.finish()
        return rest.size + sum(row["status"] in FINISHED for row in state.recorder.trials().values())


def studies() -> Iterator[Any]:
    """Yield every sampler with 20 seeds, of which one is enough for a quick answer."""
    for sampler in (*SAMPLERS, *FINITE):
        yield pytest.param(sampler, range(1), marks=[pytest.mark.slow] * (sampler == SLOW_TO_FIT))
        yield pytest.param(sampler, range(1, NUM_SEEDS), marks=pytest.mark.long, id=f"{sampler}, 20 seeds")


@pytest.mark.parametrize(("sampler", "seeds"), list(studies()))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.timeout(900)
def test_a_study_that_is_resumed_and_extended_has_the_trials_of_an_unbroken_one(
    sampler: str, seeds: range, tmp_path: Path
) -> None:
    for seed in seeds:
        first, whole = (9, 24) if sampler != SLOW_TO_FIT else (5, 13)
        small, large = grids(seed) if sampler == "grid" else (CONTINUOUS, CONTINUOUS)
        unbroken: list[str] = []
        root = tmp_path / str(seed)
        run(root / "unbroken", spec_with(sampler, whole, large, seed), on_new=unbroken.append)
        assert len(unbroken) == whole
        broken: list[str] = []
        for num_trials, search in ((first, small), (whole, large)):
            for _ in range(2):
                run(root / "broken", spec_with(sampler, num_trials, search, seed), 8, broken.append)
        run(root / "broken", spec_with(sampler, whole, large, seed), on_new=broken.append)
        assert len(broken) == whole
        if sampler == "grid":  # a larger grid has the points of the smaller one in between
            assert set(broken) == set(unbroken)
        else:
            assert broken == unbroken, f"sampler.seed {seed}"


def grids(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a grid of 24 points, and one of 9 of them."""
    whole = {"augmentation_strength": [0, 0.25, 0.5, 1], "ensemble_size": [1, 2, 3, 4, 5, 6]}
    draw = random.Random(seed)
    some = {name: {"grid": draw.sample(values, 3)} for name, values in whole.items()}
    return some, {name: {"grid": values} for name, values in whole.items()}


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_num_trials_counts_what_is_in_the_space_that_is_asked_for(sampler: str, tmp_path: Path) -> None:
    small = {"student.batch_size": {"choice": [16, 32, 48]}, "ensemble_size": {"int": [1, 2]}}
    large = small | {"student.batch_size": {"choice": [64, 128, 48]}}
    first: list[str] = []
    run(tmp_path, spec_with(sampler, 6, small), on_new=first.append)
    assert len(first) == 6
    second: list[str] = []
    run(tmp_path, spec_with(sampler, 6, large), on_new=second.append)
    assert len(second) == 4  # the two of 48 are there
    run(tmp_path, spec_with(sampler, 6, large), on_new=second.append)
    assert len(second) == 4


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "grid"])
def test_an_unfinished_trial_outside_the_space_is_not_run(sampler: str, tmp_path: Path) -> None:
    def space(*sizes: int) -> dict[str, Any]:
        return {"ensemble_size": {"grid": sizes}, "augmentation_strength": {"grid": [0, 0.5]}}

    run(tmp_path, spec_with(sampler, 4, space(5, 6)), most=1)
    ran: list[str] = []
    run(tmp_path, spec_with(sampler, 4, space(1, 2)), on_new=ran.append)
    assert len(ran) == 4
    with StudyState(spec_with(sampler, 4, space(1, 2)), StudyFolder(tmp_path, "s")) as state:
        assert sorted(config.ensemble_size for config in state.known.values()) in ([1, 1, 2, 2, 5], [1, 1, 2, 2, 6])
        assert not [config for config in state.work.unfinished if config.ensemble_size > 2]
