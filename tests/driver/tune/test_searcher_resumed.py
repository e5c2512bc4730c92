"""A search that is interrupted again and again proposes what an unbroken one would."""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.tune.trial_sources import KnownTrial
from kd_sweep.driver.tune.tune_trial import assignment_in, result_of
from kd_sweep.driver.worker_messages import EpochDone
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import points_of, trial_config
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from tests.driver.reports import report_of
from tests.driver.tune.searches import (
    CONDITIONAL,
    CONTINUOUS,
    NUM_SEEDS,
    NUM_TRIALS,
    OF_ONE_OBJECTIVE,
    ONE,
    SAMPLERS,
    SETTINGS,
    SLOW_TO_FIT,
    SMALL,
    TWO,
    outcome,
    register_plugin,
    study,
)


@pytest.fixture(autouse=True)
def _samplers_of_a_plugin() -> None:
    register_plugin()


class Tables:
    """The trials of a study as the tables hold them, and a search that goes on from there."""

    def __init__(self) -> None:
        self.known: dict[str, KnownTrial] = {}

    def search(self, spec: StudySpec, num_trials: int, at_once: int = 1) -> Iterator[str]:
        """Yield the id of each trial that is started; leave the generator to interrupt the search.

        With ``at_once`` trials at a time the one that began first ends first.
        """
        metrics = tuple(objective.metric for objective in spec.objectives)
        searcher = TuneSearcher(
            OptunaSource(spec, self.known.values(), num_trials - len(self.known)), SETTINGS, metrics, lambda _: 0
        )
        running: list[tuple[str, TrialConfig]] = []
        for index in range(10_000):
            config = searcher.suggest(f"tune{index}")
            if isinstance(config, dict):
                assigned = assignment_in(config)
                trial = assigned.trial
                started = KnownTrial(trial, False, None, assigned.suggestion, assigned.generation)
                self.known[trial.trial_id] = started
                running.append((f"tune{index}", trial))
                yield trial.trial_id
            if running and (len(running) == at_once or not isinstance(config, dict)):
                tune_id, trial = running.pop(0)
                values = outcome(trial, len(metrics))
                report = report_of(1, **dict(zip(metrics, values, strict=True))) if values else None
                result = result_of(EpochDone(report)) if report else None
                searcher.on_trial_complete(tune_id, result, error=values is None)
                known = self.known[trial.trial_id]
                self.known[trial.trial_id] = replace(known, finished=values is not None, values=values)
            elif not running:
                return


def new_ones(tables: Tables, started: Iterable[str]) -> list[str]:
    """Return the ids of trials that were not in the tables before, in order."""
    before = set(tables.known)
    return [trial_id for trial_id in started if trial_id not in before]


def searches() -> Iterator[Any]:
    """Yield every sampler with every space that it takes, once and with more seeds, with one space 20."""
    spaces = {
        "continuous": (CONTINUOUS, ONE, NUM_SEEDS),
        "two objectives": (CONTINUOUS, TWO, 2),
        "small": (SMALL, TWO, 2),
        "conditional": (CONDITIONAL, ONE, 2),
        "with seeds": (CONTINUOUS | {"seeds": 3}, ONE, 2),
    }
    for sampler, (name, (search, objectives, num_seeds)) in itertools.product(SAMPLERS, spaces.items()):
        if sampler == OF_ONE_OBJECTIVE and len(objectives) > 1:
            continue
        once, more = (sampler, search, objectives, range(1)), (sampler, search, objectives, range(1, num_seeds))
        is_quick = sampler != SLOW_TO_FIT or name == "continuous"
        yield pytest.param(*once, marks=[] if is_quick else pytest.mark.slow, id=f"{sampler} {name}")
        yield pytest.param(*more, marks=pytest.mark.long, id=f"{sampler} {name}, more seeds")


@pytest.mark.parametrize(("sampler", "search", "objectives", "seeds"), list(searches()))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_interrupted_or_extended_a_search_is_the_unbroken_one(
    sampler: str, search: dict[str, Any], objectives: list[dict[str, str]], seeds: range
) -> None:
    num_trials = 13 if sampler == SLOW_TO_FIT else NUM_TRIALS
    for seed in seeds:
        spec = study(sampler, search, objectives, seed)
        unbroken = list(Tables().search(spec, num_trials))
        assert len(set(unbroken)) == num_trials
        assert interrupted(spec, num_trials) == unbroken, f"interrupted, sampler.seed {seed}"
        assert extended(spec, num_trials) == unbroken, f"extended, sampler.seed {seed}"


def interrupted(spec: StudySpec, num_trials: int) -> list[str]:
    """Return the trials of a search that is interrupted after every ten, the last of which is running then."""
    tables, trials = Tables(), list[str]()
    while len(trials) < num_trials:
        most = min(num_trials, len(trials) + 10)
        going = tables.search(spec, num_trials)
        while len(trials) < most:
            trials += new_ones(tables, itertools.islice(going, 1))
    return trials


def extended(spec: StudySpec, num_trials: int) -> list[str]:
    """Return the trials of a search that has ended twice, and is asked for more."""
    tables, trials = Tables(), list[str]()
    for most in (5, num_trials - 4, num_trials):
        trials += new_ones(tables, tables.search(spec, most))
    return trials


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {SLOW_TO_FIT}))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_sees_a_dimension_only_where_it_is_there(sampler: str) -> None:
    tables = Tables()
    spec = study(sampler, CONDITIONAL, ONE)
    list(tables.search(spec, NUM_TRIALS))
    told = OptunaSource(spec, tables.known.values(), 0).optuna_trials()
    assert len(told) == NUM_TRIALS
    seen = set()
    for trial, known in zip(told, tables.known.values(), strict=True):
        distillation = known.config.distillation
        names = {*CONTINUOUS, "distillation.loss", "ensemble_size"}
        if distillation.loss == "dkd":
            names |= {"distillation.non_target_class_weight", "distillation.ensemble_reducer"}
            if distillation.ensemble_reducer == "probabilities":
                names |= {"distillation.target_class_weight"}
        assert set(trial.params) == names
        seen.add(len(names))
    assert len(seen) == 3


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {SLOW_TO_FIT}))
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_trials_that_were_running_keep_their_place_and_generation(sampler: str) -> None:
    spec = study(sampler, CONTINUOUS, ONE if sampler == OF_ONE_OBJECTIVE else TWO)
    tables = Tables()
    going = tables.search(spec, 36, at_once=4)
    started = [next(going) for _ in range(22)]
    running = {trial_id: known for trial_id, known in tables.known.items() if not known.finished}
    assert len(running) >= 4
    source = OptunaSource(spec, tables.known.values(), 14)
    for known in running.values():
        suggestion = source.next()
        assert suggestion is not None
        assert (suggestion.trial, suggestion.number, suggestion.generation) == (
            known.config,
            known.number,
            known.generation,
        )
    following = source.next()
    assert following is not None
    assert following.trial.trial_id not in started
    assert following.number == max(known.number or 0 for known in tables.known.values()) + 1
    if sampler in ("nsga2", "nsga3", "tests:genetic"):
        assert following.generation == max(known.generation or 0 for known in tables.known.values())


def test_the_first_generation_holds_what_another_sampler_has_found() -> None:
    tables = Tables()
    list(tables.search(study("tpe", CONTINUOUS, ONE), 12))
    known = [replace(trial, number=None, finished=True) for trial in tables.known.values()]
    suggestion = OptunaSource(study("nsga2", CONTINUOUS, ONE), known, 1).next()
    assert suggestion is not None
    assert (suggestion.number, suggestion.generation) == (0, 1)


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [
        ({}, {}, True),
        # A range narrowed, a step set or changed, a logarithm taken.
        ({}, {"search": {"augmentation_strength": {"uniform": [0, 0.4]}}}, False),
        ({}, {"search": {"augmentation_strength": {"uniform": [0.5, 1]}}}, True),
        ({}, {"search": {"augmentation_strength": {"uniform": [0, 1], "step": 0.25}}}, True),
        ({}, {"search": {"augmentation_strength": {"uniform": [0, 1], "step": 0.3}}}, False),
        ({}, {"search": {"augmentation_strength": {"uniform": [0.01, 1], "log": True}}}, True),
        ({}, {"search": {"augmentation_strength": {"choice": [0.5, 0.75]}}}, True),
        ({}, {"search": {"augmentation_strength": {"choice": [0.5, 0.7]}}}, False),
        # A dimension more: the trial has its default, where that is in the space.
        ({}, {"search": {"augmentation_strength": {"uniform": [0, 1]}, "ensemble_size": {"int": [1, 3]}}}, True),
        ({}, {"search": {"augmentation_strength": {"uniform": [0, 1]}, "ensemble_size": {"int": [2, 3]}}}, False),
        ({}, {"search": {"augmentation_strength": {"uniform": [0, 1]}, "student.width": {"int": [4, 8]}}}, False),
        # A dimension less: what is fixed now must be what the trial had.
        ({"point": {"distillation.temperature": 8.0}}, {}, False),
        ({"point": {"distillation.temperature": 4.0}}, {}, True),
        ({"point": {"distillation.temperature": 8.0}}, {"distillation": {"temperature": 8.0}}, True),
        # A fixed field, another dataset.
        ({"student": {"epochs": 9}}, {}, False),
        ({"distillation": {"alpha": 0.5}}, {"search": {"distillation.alpha": {"uniform": [0, 1]}}}, False),
        ({"data": {"max_train_images": 100}}, {}, False),
        # Strengths of their own, and the lists that say the same as one strength.
        ({"point": {"student_strength": 0.0}}, {}, False),
        ({"point": {"student_strength": 0.75}}, {}, True),
        ({}, {"search": {"teacher_strengths": {"choice": [[0.75], [0.0, 1.0]]}}}, True),
        ({}, {"search": {"teacher_strengths": {"choice": [[0.0], [0.0, 1.0]]}}}, False),
        ({"point": {"ensemble_size": 2}}, {"search": {"teacher_strengths": {"choice": [[0.5, 1.0], [0.75]]}}}, False),
        ({"point": {"ensemble_size": 2}}, {"search": {"teacher_strengths": {"choice": [[0.75, 0.75]]}}}, True),
        (
            {},
            {"search": {"teacher_strengths": {"choice": [[0.75], [0.0]]}, "student_strength": {"grid": [0.75, 0]}}},
            True,
        ),
    ],
)
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_optuna_is_told_what_a_point_of_the_space_would_give_today(
    before: dict[str, Any], now: dict[str, Any], is_told: bool, sampler: str
) -> None:
    strengths = {"augmentation_strength": {"uniform": [0, 1]}}
    point = {"augmentation_strength": 0.75} | before.get("point", {})
    earlier = {key: value for key, value in before.items() if key != "point"}
    trial = trial_config(parse_spec(json.dumps({"name": "s"} | earlier), "s"), point)
    spec = parse_spec(json.dumps({"name": "s", "search": strengths, "sampler": {"name": sampler}} | now), "s")
    assert list(points_of(spec, [trial])) == ([trial.trial_id] if is_told else [])
    for finished in (True, False):
        source = OptunaSource(spec, [KnownTrial(trial, finished, (0.9,) if finished else None)], 0)
        assert len(source.optuna_trials()) == is_told
        assert (source.next() is not None) == (is_told and not finished)
