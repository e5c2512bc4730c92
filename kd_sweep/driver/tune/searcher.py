"""The search of a study: which trial comes next, from a list where the space is finite, from Optuna where it is not.

A source suggests trials that are not done yet; `TuneSearcher` carries them to Tune. No state is saved here:
what a source has to know, it is given from the study's tables when it is made.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from kd_sweep.driver.tune.optuna_samplers import sampler_for
from kd_sweep.driver.tune.tune_trial import config_of, reports_in
from kd_sweep.driver.worker_messages import Assignment, WorkerSettings
from kd_sweep.study.adaptive_sampler import AdaptiveSampler
from kd_sweep.study.recipe import MAX_COUNT
from kd_sweep.study.space.conditions import Conditions, Point
from kd_sweep.study.space.dimensions import dimension_size, index_of, listed_values, range_bounds, value_at
from kd_sweep.study.space.plan import num_points
from kd_sweep.study.space.points import grid_points, point_of, points_of, random_point, trial_config
from kd_sweep.study.space.searchable_fields import search_field
from kd_sweep.study.spec import Choice, Dimension, Grid, StudySpec, Uniform, Value
from kd_sweep.study.trial import TrialConfig

MAX_REPEATS = 20
"""So many suggestions in a row that are known already mean that Optuna has nothing new to offer."""
MAX_DRAWS = 200
"""So many random points are tried then, before the points of the space one by one."""


@dataclass(frozen=True)
class Suggestion:
    """A trial that shall run, and what the sampler has to know of it after a resume."""

    trial: TrialConfig
    number: int | None = None
    """Index among all that an adaptive sampler has suggested for the study, repeats included, from 0."""
    generation: int | None = None
    """Of a genetic sampler."""


@dataclass(frozen=True)
class KnownTrial:
    """A trial that the tables hold already."""

    config: TrialConfig
    finished: bool
    values: tuple[float, ...] | None
    """The last value of each objective, where the trial has them."""
    number: int | None = None
    """As in its `Suggestion`; None where another kind of sampler suggested it."""
    generation: int | None = None


class Source(Protocol):
    """Where trials come from."""

    def next(self) -> Suggestion | None:
        """Return the next trial to run, or None when there is none left."""

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn how a trial ended: its objectives' values, or None where it failed."""


class PlannedSource:
    """A finite list of trials, in order."""

    def __init__(self, trials: Iterable[TrialConfig]) -> None:
        self._trials = iter(trials)

    def next(self) -> Suggestion | None:
        """Take the first of the list."""
        trial = next(self._trials, None)
        return None if trial is None else Suggestion(trial)

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn nothing: the list is fixed."""


class OptunaSource:
    """Optuna's samplers, with every trial of earlier runs.

    What is suggested is a function of the spec, of the number of the suggestion, and of the trials that are known by
    then: each suggestion has random numbers of its own, and Optuna has the trials as the tables hold them, the
    running ones too. So a search that goes on after an interruption proposes what an unbroken one would.

    Args:
        spec: the study.
        known: the trials that the tables hold. Optuna learns of those that a point of the space stands for; of these,
            unfinished ones are suggested first.
        num_new: how many further trials the study shall have.
    """

    def __init__(self, spec: StudySpec, known: Iterable[KnownTrial], num_new: int) -> None:
        # Those of another kind of sampler come first, as they were there first.
        known = sorted(known, key=lambda trial: -1 if trial.number is None else trial.number)
        assert isinstance(spec.sampler, AdaptiveSampler)
        self._spec = spec
        self._settings = spec.sampler
        self._num_left = num_new
        self._known = {trial.config.trial_id for trial in known}
        self._number = 1 + max((trial.number for trial in known if trial.number is not None), default=-1)
        self._generation: int | None = None
        self._suggested: list[optuna.Trial] = []
        self._unfinished: deque[Suggestion] = deque()
        self._running: dict[str, int] = {}  # trial id -> the trial's number in Optuna's study
        self._conditions = Conditions(spec)
        # By name, so that the order of the file changes nothing, but for those that decide on others.
        order = Conditions(spec.model_copy(update={"search": dict(sorted(spec.search.items()))})).order
        self._distributions = {name: _distribution(spec.search[name]) for name in order}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # its news are ours to report
        self._study = optuna.create_study(
            directions=["maximize" if objective.mode == "max" else "minimize" for objective in spec.objectives],
            sampler=self._sampler(0),
        )
        points = points_of(spec, (trial.config for trial in known))
        for trial in known:
            point = points.get(trial.config.trial_id)
            if point is None:
                continue
            suggestion = Suggestion(trial.config, trial.number, trial.generation)
            if trial.finished:
                self._add(
                    suggestion, point, TrialState.FAIL if trial.values is None else TrialState.COMPLETE, trial.values
                )
            else:
                self._add(suggestion, point, TrialState.RUNNING)
                self._unfinished.append(suggestion)

    def next(self) -> Suggestion | None:
        """Return an unfinished trial, or a point that no trial of the study has had yet."""
        if self._unfinished:
            return self._unfinished.popleft()
        if self._num_left <= 0:
            return None
        trials = (trial_config(self._spec, point) for point in self._candidates())
        trial = next((trial for trial in trials if trial.trial_id not in self._known), None)
        while self._suggested:
            # What runs is added in canonical form instead, as a resume would add it.
            self._study.tell(self._suggested.pop(), state=TrialState.FAIL)
        if trial is None:
            return None
        self._num_left -= 1
        self._known.add(trial.trial_id)
        suggestion = Suggestion(trial, self._number - 1, self._generation)
        self._add(suggestion, point_of(self._spec, trial, self._conditions), TrialState.RUNNING)
        return suggestion

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Give Optuna the objectives' values, or that it failed."""
        number = self._running.pop(trial.trial_id, None)
        if number is None:
            return
        if values is None:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, values)

    def _candidates(self) -> Iterator[Point]:
        """Yield points to try: Optuna's, random ones where those are all known, at last every point that there is."""
        for _ in range(MAX_REPEATS):
            yield self._modelled()
        for _ in range(MAX_DRAWS):
            self._number += 1
            yield random_point(self._spec, self._number - 1, self._conditions)
        if num_points(self._spec) <= MAX_COUNT:
            yield from grid_points(self._spec)

    def _modelled(self) -> Point:
        self._study.sampler = self._sampler(self._number)
        self._number += 1
        suggested = self._study.ask()
        self._suggested.append(suggested)  # a running trial to Optuna, whose next suggestion keeps away from it
        point: Point = {}
        for name, distribution in self._distributions.items():
            if self._conditions.is_active(name, point):
                dimension = self._spec.search[name]
                value = _value(name, dimension, _suggested(suggested, name, distribution))
                point[name] = search_field(name).canonical(value)
        self._generation = self._study.get_trials(deepcopy=False)[-1].system_attrs.get(self._settings.generations or "")
        return point

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        conditional = frozenset(name for name, dimension in self._spec.search.items() if dimension.when)
        return sampler_for(self._settings, number, self._distributions, conditional)

    def _add(
        self, suggestion: Suggestion, point: Point, state: TrialState, values: tuple[float, ...] | None = None
    ) -> None:
        params = {name: _param(name, self._spec.search[name], value) for name, value in point.items()}
        # Trials of another sampler are the first generation.
        attributes = {key: suggestion.generation or 0} if (key := self._settings.generations) else {}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=params,
                distributions={name: self._distributions[name] for name in params},
                system_attrs=attributes,
            )
        )
        if state == TrialState.RUNNING:
            self._running[suggestion.trial.trial_id] = len(self._study.get_trials(deepcopy=False)) - 1


class TuneSearcher(Searcher):
    """Carries a source's trials to Tune, and their ends back.

    Args:
        source: where trials come from.
        settings: for the workers.
        objectives: the metrics that the source learns the values of.
        last_epoch: returns how many epochs of a trial the tables hold, by its id.
    """

    def __init__(
        self,
        source: Source,
        settings: WorkerSettings,
        objectives: tuple[str, ...],
        last_epoch: Callable[[str], int],
    ) -> None:
        super().__init__()
        self._last_epoch = last_epoch
        self._source = source
        self._settings = settings
        self._objectives = objectives
        self._running: dict[str, TrialConfig] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return Tune's configuration of the next trial, or that there is none."""
        suggestion = self._source.next()
        if suggestion is None:
            return Searcher.FINISHED
        trial = self._running[trial_id] = suggestion.trial
        known_epochs = self._last_epoch(trial.trial_id)
        return config_of(Assignment(trial, self._settings, suggestion.number, suggestion.generation, known_epochs))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the source how the trial ended. Tune may say it twice; the second time changes nothing."""
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        reports = reports_in(result or {})
        values = tuple(reports[-1].metrics[metric] if reports else None for metric in self._objectives)
        self._source.tell(trial, None if error or None in values else values)  # type: ignore[arg-type]

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study's tables are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the study's tables are the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; nothing ever reads that copy


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna sees it: what is finite goes by its index, which no rounding can change."""
    size = dimension_size(dimension)
    if isinstance(dimension, Grid | Choice):
        return CategoricalDistribution(tuple(range(len(listed_values(dimension)))))
    if size is not None:
        return IntDistribution(0, size - 1)
    low, high = range_bounds(dimension)
    return FloatDistribution(low, high, log=isinstance(dimension, Uniform) and dimension.log)


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _value(name: str, dimension: Dimension, param: Any) -> Value:
    return param if dimension_size(dimension) is None else value_at(name, dimension, param)


def _param(name: str, dimension: Dimension, value: Any) -> Any:
    if dimension_size(dimension) is not None:
        return index_of(name, dimension, value)
    low, high = range_bounds(dimension)
    return min(max(value, low), high)  # its last digit was rounded
