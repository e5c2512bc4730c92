"""Which trial comes next: a list where the search space is finite, Optuna where it is not.

A source suggests trials that are not done yet; `TuneSearcher` carries them to Tune. No state is saved here:
what a source has to know, it is told from the study's tables when it is made.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from kd_sweep.study.digest import derived_seed
from kd_sweep.study.dimensions import dimension_values
from kd_sweep.study.space import trial_config
from kd_sweep.study.spec import Choice, Dimension, Grid, IntRange, Nsga2Sampler, StudySpec, TpeSampler
from kd_sweep.study.trial import TrialConfig

MAX_REPEATS = 200
"""So many suggestions in a row that are known already mean that the space has nothing new to offer."""


@dataclass(frozen=True)
class KnownTrial:
    """A trial that the tables hold already."""

    config: TrialConfig
    finished: bool
    values: tuple[float, ...] | None
    """The last value of each objective, where the trial has them."""


class Source(Protocol):
    """Where trials come from."""

    def next(self) -> TrialConfig | None:
        """Return the next trial to run, or None when there is none left."""

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn how a trial ended: its objectives' values, or None where it failed."""


class PlannedSource:
    """A finite list of trials, in order."""

    def __init__(self, trials: Iterable[TrialConfig]) -> None:
        self._trials = iter(trials)

    def next(self) -> TrialConfig | None:
        """Take the first of the list."""
        return next(self._trials, None)

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn nothing: the list is fixed."""


class OptunaSource:
    """Optuna's samplers, told every finished trial of earlier runs.

    Args:
        spec: the study.
        known: the trials that the tables hold; unfinished ones are suggested first.
        num_trials: how many distinct trials the study shall have in all.
    """

    def __init__(self, spec: StudySpec, known: Iterable[KnownTrial], num_trials: int) -> None:
        known = list(known)
        self._spec = spec
        self._num_trials = num_trials
        self._distributions = {name: _distribution(name, dimension) for name, dimension in spec.search.items()}
        self._values = {trial.config.trial_id: trial.values for trial in known if trial.finished}
        self._unfinished = deque(trial.config for trial in known if not trial.finished)
        self._running: set[str] = set()
        self._asked: dict[str, optuna.Trial] = {}  # not those of `_running` that the space no longer holds
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # its news are ours to tell
        self._study = optuna.create_study(
            directions=["maximize" if objective.mode == "max" else "minimize" for objective in spec.objectives],
            sampler=_sampler(spec, len(self._values)),
        )
        for trial in known:
            params = self._params(trial.config)
            if trial.finished and params is not None:
                self._study.add_trial(_frozen(params, self._distributions, trial.values))

    def next(self) -> TrialConfig | None:
        """Ask Optuna for a point that no trial of the study has had yet."""
        if self._unfinished:
            return self._ask_for(self._unfinished.popleft())
        for _ in range(MAX_REPEATS):
            if len(self._values) + len(self._running) >= self._num_trials:
                return None
            asked = self._study.ask(self._distributions)
            trial = trial_config(self._spec, self._point(asked.params))
            if trial.trial_id not in self._values and trial.trial_id not in self._running:
                self._running.add(trial.trial_id)
                self._asked[trial.trial_id] = asked
                return trial
            self._tell(asked, self._values.get(trial.trial_id))
        return None

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Give Optuna the objectives' values, or word of a failure."""
        self._running.discard(trial.trial_id)
        asked = self._asked.pop(trial.trial_id, None)
        self._values[trial.trial_id] = values
        if asked is not None:
            self._tell(asked, values)

    def _ask_for(self, trial: TrialConfig) -> TrialConfig:
        self._running.add(trial.trial_id)
        params = self._params(trial)
        if params is not None:  # None: the search space has changed and no longer holds this point
            self._study.enqueue_trial(params)
            self._asked[trial.trial_id] = self._study.ask(self._distributions)
        return trial

    def _tell(self, asked: optuna.Trial, values: tuple[float, ...] | None) -> None:
        if values is None:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._study.tell(asked, values)

    def _point(self, params: dict[str, Any]) -> dict[str, Any]:
        point = {}
        for name, dimension in self._spec.search.items():
            options = _options(name, dimension)
            point[name] = options[params[name]] if options else params[name]
        return point

    def _params(self, trial: TrialConfig) -> dict[str, Any] | None:
        params = {}
        for name, dimension in self._spec.search.items():
            options, value = _options(name, dimension), trial.at(name)
            if options and value not in options:
                return None
            params[name] = options.index(value) if options else value
            if not self._distributions[name]._contains(params[name]):
                return None
        return params


class TuneSearcher(Searcher):
    """Carries a source's trials to Tune, and their ends back.

    Args:
        source: where trials come from.
        settings: what every worker needs beside the trial.
        objectives: the metrics whose values the source learns.
        may_start: False once the budget is used up.
    """

    def __init__(
        self, source: Source, settings: dict[str, Any], objectives: tuple[str, ...], may_start: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._source = source
        self._settings = settings
        self._objectives = objectives
        self._may_start = may_start
        self._running: dict[str, TrialConfig] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return Tune's configuration of the next trial, or that there is none."""
        trial = self._source.next() if self._may_start() else None
        if trial is None:
            return Searcher.FINISHED
        self._running[trial_id] = trial
        return self._settings | {"trial_id": trial.trial_id, "trial": trial.model_dump_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the source how the trial ended. Tune may say it twice; the second time changes nothing."""
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        values = tuple((result or {}).get(metric) for metric in self._objectives)
        self._source.tell(trial, None if error or None in values else values)  # type: ignore[arg-type]

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study's tables are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the study's tables are the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; nothing ever reads that copy


def _frozen(
    params: dict[str, Any], distributions: dict[str, BaseDistribution], values: tuple[float, ...] | None
) -> optuna.trial.FrozenTrial:
    state = TrialState.FAIL if values is None else TrialState.COMPLETE
    return optuna.trial.create_trial(state=state, values=values, params=params, distributions=distributions)


def _options(name: str, dimension: Dimension) -> list[Any]:
    is_list = isinstance(dimension, Grid | Choice)
    return list(dimension_values(name, dimension) or ()) if is_list else []


def _distribution(name: str, dimension: Dimension) -> BaseDistribution:
    if options := _options(name, dimension):
        return CategoricalDistribution(
            tuple(range(len(options)))
        )  # by place: Optuna would take 1, 1.0 and true for one
    if isinstance(dimension, IntRange):
        return IntDistribution(*dimension.bounds, step=dimension.step)
    low, high = dimension.uniform  # type: ignore[union-attr]
    return FloatDistribution(low, high, step=dimension.step, log=dimension.log)  # type: ignore[union-attr]


def _sampler(spec: StudySpec, num_finished: int) -> optuna.samplers.BaseSampler:
    # The same seed would suggest the same points again after a resume.
    sampler = spec.sampler
    if isinstance(sampler, TpeSampler):
        return optuna.samplers.TPESampler(
            seed=derived_seed("tpe", sampler.seed, num_finished) % 2**32,
            n_startup_trials=sampler.num_startup_trials,
            constant_liar=True,
        )
    assert isinstance(sampler, Nsga2Sampler)
    return optuna.samplers.NSGAIISampler(
        seed=derived_seed("nsga2", sampler.seed, num_finished) % 2**32, population_size=sampler.population_size
    )
