"""The trials of an adaptive sampler: which point Optuna suggests after those that the study has, and its trials.

No state is saved: what Optuna has to know, it is told from the study's tables before each suggestion.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from kd_sweep.catalogue.parameters import MAX_COUNT
from kd_sweep.driver.tune.optuna_samplers import WARM, AskedStudies, Suggest, ToldTrial
from kd_sweep.driver.tune.suggested_point import SuggestedPoint
from kd_sweep.driver.tune.trial_sources import KnownTrial, Suggestion
from kd_sweep.driver.warm_start import warm_points
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


class OptunaSource:
    """Optuna's samplers, with every trial of earlier runs.

    What is suggested is a function of the spec, of the number of the suggestion, and of the trials that are known by
    then: each suggestion has random numbers of its own, and is made in a study of Optuna's that has the trials as the
    tables hold them, the running ones too. So a search that goes on after an interruption proposes what an unbroken one
    would.

    Args:
        spec: the study.
        known: the trials that the tables hold. Optuna learns of those that a point of the space stands for; of these,
            unfinished ones are suggested first, and seeds that a point lacks.
        num_new: how many further trials the study shall have.
    """

    def __init__(self, spec: StudySpec, known: Iterable[KnownTrial], num_new: int) -> None:
        # Those of another kind of sampler come first, as they were there first.
        known = sorted(known, key=lambda trial: -1 if trial.number is None else trial.number)
        self._spec = spec
        self._num_left = num_new
        self._known = {trial.config.trial_id for trial in known}
        self._number = 1 + max((trial.number for trial in known if trial.number is not None), default=-1)
        self._generation: int | None = None
        self._generation_key = spec.sampler.entry.traits.generation_key
        self._waiting: deque[tuple[Suggestion, bool]] = deque()
        """Trials that shall run, and whether they have begun."""
        self._points: list[SuggestedPoint] = []
        """In the order of their suggestion."""
        self._point_of: dict[str, SuggestedPoint] = {}
        """By the ids of their trials."""
        self._conditions = Conditions(spec)
        # By name, so that the order of the file changes nothing, but for those that decide on others.
        order = Conditions(spec.model_copy(update={"search": dict(sorted(spec.search.items()))})).order
        self._distributions = {name: _distribution(spec.search[name]) for name in order}
        self._warm = [(self._params(point), values) for point, values in warm_points(spec, self._conditions)]
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
            suggested = points.setdefault(tuple(point.items()), SuggestedPoint(point, {}, self._params(point)))
            suggested.trials = suggested.trials or self._trials(point)
            suggested.trials[trial_id] = trial.config
            if suggested.number is None:
                suggested.number, suggested.generation = trial.number, trial.generation
            if trial.finished:
                suggested.outcomes[trial_id] = trial.values
        return list(points.values())

    def next(self) -> Suggestion | None:
        """Return an unfinished trial, or a point that no trial of the study has had yet.

        Raises:
            SamplerError: the sampler is one of a plug-in, and fails.
        """
        waiting = self._next_waiting()
        if waiting is not None or self._num_left <= 0:
            return waiting
        candidates = (self._trials(point) for point in self.candidates())
        trials = next((trials for trials in candidates if not self._known & trials.keys()), None)
        if trials is None:
            return None
        point = point_of(self._spec, next(iter(trials.values())), self._conditions)
        self._add(SuggestedPoint(point, trials, self._params(point), self._number - 1, self._generation))
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
        """Learn the objectives' values of a trial, or that it failed. The first time counts."""
        if (point := self._point_of.get(trial.trial_id)) is not None:
            point.outcomes.setdefault(trial.trial_id, values)

    def _trials(self, point: Point) -> dict[str, TrialConfig]:
        """Return the trials of a point, by their ids, in the order of the seeds."""
        trials = (trial_config(self._spec, repeat) for repeat in repeats(self._spec, point))
        return {trial.trial_id: trial for trial in trials}

    def candidates(self) -> Iterator[Point]:
        """Yield points to try: Optuna's, random ones where those are all known, at last every point that there is."""
        spec, conditional = self._spec, self._conditions.conditional
        studies = AskedStudies(spec.sampler, spec.objectives, self._distributions, conditional, self.optuna_trials())
        for _ in range(MAX_REPEATS):
            self._number += 1
            point, self._generation = studies.ask(self._number - 1, self._read)
            yield point
        for _ in range(MAX_DRAWS):
            self._number += 1
            yield random_point(spec, self._number - 1, self._conditions)
        if num_points(spec) <= MAX_COUNT:
            yield from grid_points(spec)

    def _read(self, suggest: Suggest) -> Point:
        point: Point = {}
        for name in self._distributions:
            if self._conditions.is_active(name, point):
                value = _value(name, self._spec.search[name], suggest(name))
                point[name] = search_field(name).canonical(value)
        return point

    def _add(self, point: SuggestedPoint) -> None:
        """Take in a point, and let those of its trials that have not ended wait."""
        self._points.append(point)
        for trial_id, trial in point.trials.items():
            self._point_of[trial_id] = point
            if trial_id not in point.outcomes:
                suggestion = Suggestion(trial, point.number, point.generation)
                self._waiting.append((suggestion, trial_id in self._known))
        self._known |= point.trials.keys()

    def _params(self, point: Point) -> dict[str, Any]:
        return {name: _param(name, self._spec.search[name], value) for name, value in point.items()}

    def optuna_trials(self) -> list[FrozenTrial]:
        """Return what Optuna is told of: the points of a warm start, and those of the study as they are now."""
        trials = [self._optuna_trial(TrialState.COMPLETE, *point, user_attrs={WARM: True}) for point in self._warm]
        for point in self._points:
            outcome = point.outcome if point.is_over else None
            ended = TrialState.FAIL if outcome is None else TrialState.COMPLETE
            state = ended if point.is_over else TrialState.RUNNING
            trials.append(self._optuna_trial(state, point.params, outcome, point.generation))
        return trials

    def _optuna_trial(
        self,
        state: TrialState,
        params: dict[str, Any],
        values: tuple[float, ...] | None,
        generation: int | None = None,
        user_attrs: dict[str, Any] | None = None,
    ) -> FrozenTrial:
        # Trials of another sampler are the first generation.
        attributes = {key: generation or 0} if (key := self._generation_key) else {}
        return ToldTrial(state, values, params, self._distributions, attributes, user_attrs or {})


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna sees it: what is finite goes by its index, which no rounding can change."""
    size = dimension_size(dimension)
    if isinstance(dimension, Grid | Choice):
        return CategoricalDistribution(tuple(range(len(listed_values(dimension)))))
    if size is not None:
        return IntDistribution(0, size - 1)
    low, high = range_bounds(dimension)
    return FloatDistribution(low, high, log=isinstance(dimension, Uniform) and dimension.log)


def _value(name: str, dimension: Dimension, param: Any) -> Value:
    return param if dimension_size(dimension) is None else value_at(name, dimension, param)


def _param(name: str, dimension: Dimension, value: Any) -> Any:
    if dimension_size(dimension) is not None:
        return index_of(name, dimension, value)
    low, high = range_bounds(dimension)
    return min(max(value, low), high)  # its last digit was rounded
