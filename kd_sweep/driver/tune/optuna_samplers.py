"""Optuna's samplers as a search asks for them: a new one for each suggestion, in a study made for that.

A sampler of a plug-in is asked twice, in two studies, and has to suggest the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from numbers import Real
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.driver.tune.sampler_request import SamplerRequest
from kd_sweep.errors import SamplerError
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.sampler import Sampler
from kd_sweep.study.spec import Objective

T = TypeVar("T")

WARM = "warm_start"
"""The attribute of Optuna's trials that are those of another study."""


Suggest = Callable[[str], Any]
"""Returns what is suggested for a dimension, which has to be asked for once."""


class ToldTrial(FrozenTrial):
    """A trial that a study of Optuna is told of, and copies: what it has in common with others is not copied.

    Args:
        state: of the trial.
        values: of the objectives, where it is complete.
        params: by the names of their dimensions.
        space: the distributions of these dimensions, and maybe of others.
        system_attrs: Optuna's attributes.
        user_attrs: other attributes.
    """

    def __init__(
        self,
        state: TrialState,
        values: Sequence[float] | None,
        params: dict[str, Any],
        space: Mapping[str, BaseDistribution],
        system_attrs: dict[str, Any],
        user_attrs: dict[str, Any],
    ) -> None:
        now = datetime.now()
        super().__init__(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=values,
            datetime_start=now,
            datetime_complete=now if state.is_finished() else None,
            params=params,
            distributions={name: space[name] for name in params},
            user_attrs=user_attrs,
            system_attrs=system_attrs,
            intermediate_values={},
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        return FrozenTrial(
            number=self.number,
            trial_id=-1,  # of the study that it is copied for
            state=self.state,
            value=None,
            values=self.values,
            datetime_start=self.datetime_start,
            datetime_complete=self.datetime_complete,
            params=dict(self.params),
            distributions=dict(self.distributions),
            user_attrs=dict(self.user_attrs),
            system_attrs=dict(self.system_attrs),
            intermediate_values=dict(self.intermediate_values),
        )


class AskedStudies:
    """Studies of Optuna that hold the trials that are known, and are asked for points until one is new.

    What they have suggested counts as running, so that samplers can keep away from it.

    Args:
        sampler: of the study.
        objectives: of the study.
        space: as in a `SamplerRequest`.
        conditional: as in a `SamplerRequest`.
        trials: those that are known, as Optuna is told of them.
    """

    def __init__(
        self,
        sampler: Sampler,
        objectives: Sequence[Objective],
        space: Mapping[str, BaseDistribution],
        conditional: frozenset[str],
        trials: Sequence[FrozenTrial],
    ) -> None:
        if optuna.logging.get_verbosity() != optuna.logging.ERROR:  # its news are ours to report
            optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sampler = sampler
        self._space, self._conditional = space, conditional
        modes = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
        directions = [modes[objective.mode] for objective in objectives]
        self._studies = [optuna.create_study(directions=directions) for _ in range(1 if sampler.is_built_in else 2)]
        for study in self._studies:
            study.add_trials(trials)

    def ask(self, number: int, read: Callable[[Suggest], T]) -> tuple[T, int | None]:
        """Return what ``read`` makes of the suggestion, and its generation.

        Args:
            number: of the suggestion.
            read: asks for dimensions, those that the trial has.

        Raises:
            SamplerError: the sampler is one of a plug-in, and fails.
        """
        seed = derived_seed(self._sampler.name, self._sampler.search_seed, number) % 2**32
        request = SamplerRequest(number, seed, self._space, self._conditional)
        first, *others = [self._asked(study, request, read) for study in self._studies]
        for other in others:
            if other != first:
                raise SamplerError(
                    f"{_named(self._sampler)} suggested {first[0]}, then {other[0]} for the same request: it has to "
                    "draw with the request's seed and to keep nothing"
                )
        return first

    def _asked(
        self, study: optuna.Study, request: SamplerRequest, read: Callable[[Suggest], T]
    ) -> tuple[T, int | None]:
        with _named_where_it_fails(self._sampler, "was made"):
            sampler = self._sampler.entry.item(self._sampler, request)
        if not isinstance(sampler, optuna.samplers.BaseSampler):
            raise SamplerError(
                f"{_named(self._sampler)} made a {type(sampler).__name__}, which is no optuna.samplers.BaseSampler"
            )
        study.sampler = sampler
        with _named_where_it_fails(self._sampler, "was asked"):
            trial = study.ask()
            for name, value in (trial.relative_params or {}).items():
                if name in request.space:  # Optuna itself would draw another value
                    self._check(name, request.space[name], value)

        def suggest(name: str) -> Any:
            with _named_where_it_fails(self._sampler, f"was asked for {name}"):
                value = _suggested(trial, name, request.space[name])
                self._check(name, request.space[name], value)
            return value

        result = read(suggest)
        traits = self._sampler.entry.traits
        attributes = study.get_trials(deepcopy=False)[-1].system_attrs
        return result, attributes.get(traits.generation_key or "")

    def _check(self, name: str, distribution: BaseDistribution, value: Any) -> None:
        if not self._sampler.is_built_in and not _holds(distribution, value):
            what = f"suggested {value!r} for {name}, which is not in {distribution}"
            raise SamplerError(f"{_named(self._sampler)} {what}")


def _named(sampler: Sampler) -> str:
    return f"sampler.name: {sampler.name!r}"


@contextmanager
def _named_where_it_fails(sampler: Sampler, doing: str) -> Iterator[None]:
    try:
        yield
    except RAISED as error:
        if sampler.is_built_in or isinstance(error, SamplerError):
            raise
        raise SamplerError(f"{_named(sampler)} raised {described(error)} when it {doing}") from error


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return isinstance(value, Real) and distribution.low <= float(value) <= distribution.high
