"""The search of a study: which trial comes next, from a list where the space is finite, from Optuna where it is not.

A source suggests trials that are not done yet; `TuneSearcher` carries them to Tune. No state is saved here:
what a source has to know, it is given from the study's tables when it is made.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from kd_sweep.driver.tune.optuna_samplers import WARM, sampler_for
from kd_sweep.driver.tune.suggested_point import SuggestedPoint
from kd_sweep.driver.tune.tune_trial import config_of, reports_in
from kd_sweep.driver.warm_start import warm_points
from kd_sweep.driver.worker_messages import Assignment, WorkerSettings
from kd_sweep.study.adaptive_sampler import AdaptiveSampler
from kd_sweep.study.recipe import MAX_COUNT
from kd_sweep.study.space.conditions import Conditions, Point
from kd_sweep.study.space.dimensions import dimension_size, index_of, listed_values, range_bounds, value_at
from kd_sweep.study.space.plan import num_points
from kd_sweep.study.space.points import grid_points, point_of, points_of, random_point, trial_config
from kd_sweep.study.space.repeats import repeats, without_seed
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
    """Index among all points that an adaptive sampler has suggested for the study, known ones included, from 0."""
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
            unfinished ones are suggested first, and seeds that a point lacks.
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
        self._waiting: deque[tuple[Suggestion, bool]] = deque()
        """Trials that shall run, and whether they have begun."""
        self._points: dict[str, SuggestedPoint] = {}
        """By the ids of their trials."""
        self._conditions = Conditions(spec)
        # By name, so that the order of the file changes nothing, but for those that decide on others.
        order = Conditions(spec.model_copy(update={"search": dict(sorted(spec.search.items()))})).order
        self._distributions = {name: _distribution(spec.search[name]) for name in order}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # its news are ours to report
        self._study = optuna.create_study(
            directions=["maximize" if objective.mode == "max" else "minimize" for objective in spec.objectives],
            sampler=self._sampler(0),
        )
        for warm in warm_points(spec, self._conditions):
            self._study.add_trial(self._optuna_trial(TrialState.COMPLETE, *warm, user_attrs={WARM: True}))
        for point in self._known_points(known):
            self._add(point)

    def _known_points(self, known: Sequence[KnownTrial]) -> list[SuggestedPoint]:
        """Return the points of the known trials, in the order of their suggestion."""
        points: dict[tuple[Any, ...], SuggestedPoint] = {}
        of_trials = points_of(self._spec, (trial.config for trial in known))
        for trial in known:
            trial_id = trial.config.trial_id
            if trial_id not in of_trials:
                continue
            point = without_seed(self._spec, of_trials[trial_id])
            suggested = points.setdefault(tuple(point.items()), SuggestedPoint(point, {}))
            suggested.trials = suggested.trials or self._trials(point)
            suggested.trials[trial_id] = trial.config
            if suggested.number is None:
                suggested.number, suggested.generation = trial.number, trial.generation
            if trial.finished:
                suggested.outcomes[trial_id] = trial.values
        return list(points.values())

    def next(self) -> Suggestion | None:
        """Return an unfinished trial, or a point that no trial of the study has had yet."""
        waiting = self._next_waiting()
        if waiting is not None or self._num_left <= 0:
            return waiting
        candidates = (self._trials(point) for point in self._candidates())
        trials = next((trials for trials in candidates if not self._known & trials.keys()), None)
        while self._suggested:
            # What runs is added in canonical form instead, as a resume would add it.
            self._study.tell(self._suggested.pop(), state=TrialState.FAIL)
        if trials is None:
            return None
        point = point_of(self._spec, next(iter(trials.values())), self._conditions)
        self._add(SuggestedPoint(point, trials, self._number - 1, self._generation))
        return self._next_waiting()

    def _next_waiting(self) -> Suggestion | None:
        """Take the first trial that has begun, or that may begin."""
        for index, (suggestion, has_begun) in enumerate(self._waiting):
            if has_begun or self._num_left > 0:
                del self._waiting[index]
                self._num_left -= 0 if has_begun else 1
                return suggestion
        return None

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Give Optuna the objectives' values, or that it failed; of a point with several trials when all have ended."""
        point = self._points.get(trial.trial_id)
        if point is None or trial.trial_id in point.outcomes:
            return
        point.outcomes[trial.trial_id] = values
        if not point.is_over:
            return
        assert point.number_in_optuna is not None
        outcome = point.outcome
        self._study.tell(point.number_in_optuna, outcome, state=None if outcome else TrialState.FAIL)

    def _trials(self, point: Point) -> dict[str, TrialConfig]:
        """Return the trials of a point, by their ids, in the order of the seeds."""
        trials = (trial_config(self._spec, repeat) for repeat in repeats(self._spec, point))
        return {trial.trial_id: trial for trial in trials}

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
        return sampler_for(self._settings, number, self._distributions, self._conditions.conditional)

    def _add(self, point: SuggestedPoint) -> None:
        """Tell Optuna of a point, and let those of its trials that have not ended wait."""
        outcome = point.outcome if point.is_over else None
        ended = TrialState.FAIL if outcome is None else TrialState.COMPLETE
        state = ended if point.is_over else TrialState.RUNNING
        self._study.add_trial(self._optuna_trial(state, point.point, outcome, point.generation))
        point.number_in_optuna = len(self._study.get_trials(deepcopy=False)) - 1
        for trial_id, trial in point.trials.items():
            self._points[trial_id] = point
            if trial_id not in point.outcomes:
                suggestion = Suggestion(trial, point.number, point.generation)
                self._waiting.append((suggestion, trial_id in self._known))
        self._known |= point.trials.keys()

    def _optuna_trial(
        self,
        state: TrialState,
        point: Point,
        values: tuple[float, ...] | None,
        generation: int | None = None,
        user_attrs: dict[str, Any] | None = None,
    ) -> optuna.trial.FrozenTrial:
        params = {name: _param(name, self._spec.search[name], value) for name, value in point.items()}
        # Trials of another sampler are the first generation.
        attributes = {key: generation or 0} if (key := self._settings.generations) else {}
        return optuna.trial.create_trial(
            state=state,
            values=values,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            system_attrs=attributes,
            user_attrs=user_attrs,
        )


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
