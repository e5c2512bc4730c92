"""A search that is interrupted again and again proposes what an unbroken one would."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.tune.sweep import source_of
from kd_sweep.driver.tune.trial_sources import KnownTrial
from kd_sweep.driver.tune.tune_trial import assignment_in, result_of
from kd_sweep.driver.worker_messages import EpochDone, WorkerSettings
from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import points_of, trial_config
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.schema import FINISHED
from tests.driver.reports import report_of

SETTINGS = WorkerSettings(root="r", study="s", device="cpu", num_threads=1)

Values = tuple[float, ...] | None

CONTINUOUS = {
    "augmentation_strength": {"uniform": [0, 1]},
    "distillation.alpha": {"uniform": [0.1, 0.95], "step": 0.07},
    "student.learning_rate": {"uniform": [1e-3, 1], "log": True},
}
SMALL = {
    "augmentation_strength": {"grid": [0, 0.25, 0.5, 0.75, 1]},
    "ensemble_size": {"int": [1, 4]},
    "distillation.loss": {"choice": ["kl", "dkd", "none"]},
}
CONDITIONAL = CONTINUOUS | {
    "distillation.loss": {"choice": ["kl", "dkd"]},
    "distillation.non_target_class_weight": {"uniform": [1, 10], "when": {"distillation.loss": "dkd"}},
    "distillation.target_class_weight": {
        "uniform": [0.5, 2],
        "when": {"distillation.loss": "dkd", "distillation.ensemble_reducer": "probabilities"},
    },
    "distillation.ensemble_reducer": {"choice": ["teachers", "probabilities"], "when": {"distillation.loss": "dkd"}},
    "ensemble_size": {"int": [2, 3]},
}
NUM_TRIALS = 24
ONE = [{"metric": "val_accuracy", "mode": "max"}]
TWO = [*ONE, {"metric": "ece", "mode": "min"}]
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {"name": "tpe", "num_startup_trials": 8},
    "nsga2": {"name": "nsga2", "population_size": 7},
    "nsga3": {"name": "nsga3", "population_size": 7},
    "gp": {"name": "gp", "num_startup_trials": 8},
    "cmaes": {"name": "cmaes"},
    "qmc": {"name": "qmc"},
}
OF_ONE_OBJECTIVE = "cmaes"
SLOW_TO_FIT = "gp"


def study(sampler: str, search: dict[str, Any], objectives: list[dict[str, str]], seed: int = 0) -> StudySpec:
    dimensions = {name: dimension for name, dimension in search.items() if name != "seeds"}
    content = {"name": "s", "search": dimensions, "objectives": objectives, "seeds": search.get("seeds")}
    return parse_spec(
        json.dumps(content | {"sampler": SAMPLERS.get(sampler, {}) | {"name": sampler, "seed": seed}}), "s"
    )


def accuracy_and_error(trial: TrialConfig) -> tuple[float, float]:
    """Two smooth functions of every field that is searched here, with different optima."""
    size = trial.ensemble_size / 4 + 0.1 * len(trial.distillation.loss)
    rate = trial.student.learning_rate
    first = (trial.student_strength - 0.6) ** 2 + (trial.distillation.alpha - 0.3) ** 2 + (size - 0.9) ** 2
    luck = 0.05 * trial.seed * (trial.student_strength - 0.5)
    return 1 - first - 0.1 * abs(rate - 0.1) + luck, (trial.student_strength - 0.1) ** 2 + size * rate


def outcome(trial: TrialConfig, num_objectives: int) -> Values:
    """Return a trial's objectives; every ninth fails, whenever it is run."""
    return None if int(trial.trial_id, 16) % 9 == 0 else accuracy_and_error(trial)[:num_objectives]


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
    """Yield every sampler with every space that it takes."""
    spaces = {
        "continuous": (CONTINUOUS, ONE, range(5)),
        "15 more seeds": (CONTINUOUS, ONE, range(5, 20)),
        "two objectives": (CONTINUOUS, TWO, range(5)),
        "small": (SMALL, TWO, range(3)),
        "conditional": (CONDITIONAL, ONE, range(3)),
        "with seeds": (CONTINUOUS | {"seeds": 3}, ONE, range(3)),
    }
    for sampler, (name, (search, objectives, seeds)) in itertools.product(SAMPLERS, spaces.items()):
        if sampler == OF_ONE_OBJECTIVE and len(objectives) > 1:
            continue
        marks = [pytest.mark.slow] if sampler == SLOW_TO_FIT else []
        marks += [pytest.mark.long] if name == "15 more seeds" else []
        yield pytest.param(sampler, search, objectives, seeds, marks=marks, id=f"{sampler} {name}")
    yield pytest.param(SLOW_TO_FIT, CONTINUOUS, ONE, range(1), id=f"{SLOW_TO_FIT} one seed")


@pytest.mark.parametrize(("sampler", "search", "objectives", "seeds"), list(searches()))
def test_interrupted_every_ten_trials_a_search_is_the_unbroken_one(
    sampler: str, search: dict[str, Any], objectives: list[dict[str, str]], seeds: range
) -> None:
    num_trials = 13 if sampler == SLOW_TO_FIT else NUM_TRIALS
    for seed in seeds:
        spec = study(sampler, search, objectives, seed)
        unbroken = list(Tables().search(spec, num_trials))
        assert len(set(unbroken)) == num_trials
        tables, interrupted = Tables(), list[str]()
        while len(interrupted) < num_trials:
            most = min(num_trials, len(interrupted) + 10)
            going = tables.search(spec, num_trials)
            while len(interrupted) < most:  # then the last of them is running
                interrupted += new_ones(tables, itertools.islice(going, 1))
        assert interrupted == unbroken, f"sampler.seed {seed}"


@pytest.mark.parametrize("search", [CONTINUOUS, SMALL, CONDITIONAL], ids=["continuous", "small", "conditional"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_extended_search_is_the_longer_one(sampler: str, search: dict[str, Any]) -> None:
    if sampler == SLOW_TO_FIT and search is not CONTINUOUS:
        pytest.skip("the slow test of interruptions has every space")
    if sampler == OF_ONE_OBJECTIVE and search is SMALL:
        with pytest.raises(SpecError, match="needs 2 dimensions"):
            study(sampler, search, ONE)
        return
    spec = study(sampler, search, ONE if sampler == OF_ONE_OBJECTIVE else TWO)
    tables, extended = Tables(), []
    lengths = (5, 10, 12) if sampler == SLOW_TO_FIT else (5, 20, NUM_TRIALS)
    for num_trials in lengths:
        extended += new_ones(tables, tables.search(spec, num_trials))
    assert extended == list(Tables().search(spec, lengths[-1]))


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {SLOW_TO_FIT}))
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


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3", "cmaes", "qmc"])
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
    if sampler in ("nsga2", "nsga3"):
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


# With the tables of a real study.


def spec_with(sampler: str, num_trials: int, search: dict[str, Any], more: str = "") -> StudySpec:
    named = (
        {"name": sampler}
        if sampler == "grid"
        else SAMPLERS.get(sampler, {}) | {"name": sampler, "num_trials": num_trials}
    )
    content = {"name": "s", "student": {"epochs": 1}, "search": search, "sampler": named, "objectives": TWO}
    return checked(parse_spec(json.dumps(content) + more, "s"), say=print)


def run(root: Path, spec: StudySpec, most: int = 1000, on_new: Callable[[str], None] = lambda trial_id: None) -> int:
    """Run up to ``most`` trials of the study without Ray; the last one is cut off where there are more."""
    with StudyState(spec, StudyFolder(root, "s")) as state:
        searcher = TuneSearcher(source_of(state), SETTINGS, ("val_accuracy", "ece"), state.recorder.last_epoch)
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
            values = outcome(trial, 2)
            if values is None:
                state.recorder.ended(trial.trial_id, "failed", "it raised", "")
                searcher.on_trial_complete(str(index), None, error=True)
                continue
            report = report_of(1, val_accuracy=values[0], ece=values[1])
            state.recorder.epoch(trial.trial_id, report)
            state.recorder.ended(trial.trial_id, "completed")
            searcher.on_trial_complete(str(index), result_of(EpochDone(report)))
        rest = state.finish()
        return rest.size + sum(row["status"] in FINISHED for row in state.recorder.trials().values())


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3", "qmc", "random", "grid"])
def test_a_study_that_is_resumed_and_extended_has_the_trials_of_an_unbroken_one(sampler: str, tmp_path: Path) -> None:
    grid = {"augmentation_strength": {"grid": [0, 0.25, 0.5, 1]}, "ensemble_size": {"grid": [1, 2, 3, 4, 5, 6]}}
    search = grid if sampler == "grid" else CONTINUOUS
    unbroken: list[str] = []
    run(tmp_path / "unbroken", spec_with(sampler, 24, search), on_new=unbroken.append)
    assert len(unbroken) == 24
    broken: list[str] = []
    for num_trials in (9, 24):
        for _ in range(2):
            run(tmp_path / "broken", spec_with(sampler, num_trials, search), 8, broken.append)
    run(tmp_path / "broken", spec_with(sampler, 24, search), on_new=broken.append)
    assert broken == unbroken


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
