"""The sample of a study: its completed trials, arranged for pairing as setting -> seed -> outcome."""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.trial_settings import (
    BOTH,
    NO_TEACHING,
    SIZE,
    STRENGTH,
    STUDENT,
    Arm,
    Recipe,
    Setting,
    arm_of,
    described,
    flat,
    is_of_teachers,
)
from kd_sweep.analysis.wording import counted
from kd_sweep.errors import QueryError, StorageError, alternatives
from kd_sweep.statistics.intervals import Floats, Ints
from kd_sweep.statistics.resolution import resolutions_of
from kd_sweep.study.metric_catalogue import DIFFERENCES
from kd_sweep.study.trial import SEED_LEVELS
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import FINISHED, metric_columns, searched_columns, source_columns

_INDEPENDENT_SAMPLERS = ("grid", "random")
"""Samplers that suggest trials whatever the outcomes of others."""
_OF_TRIALS = ("status", "num_epochs", "last_epoch", STRENGTH, SIZE, "seed")
"""The columns of all tables of trials that are looked at beside metrics and searched fields."""
_METRICS_AT_ONCE = 4
"""Of which values are kept by setting and seed: a link has two, and its settings are looked at again and again."""
Key = TypeVar("Key", bound=Hashable)
BySetting = Mapping[Setting, Mapping[Key, float]]
"""Setting -> seed -> value of one metric, of trials that have it."""
Drawn = tuple[int, ...]
"""A trial's seed, and those of its student in the order of `SEED_LEVELS`."""


@dataclass(frozen=True)
class Outcomes(Generic[Key]):
    """The outcomes of trials as one column of numbers per metric: of 10,000 trials a tenth of what objects take."""

    keys: Mapping[Setting, Sequence[Key]]
    """Settings in order, each with its seeds in order: for every one of them a place in the columns, in this order."""
    columns: Mapping[str, Floats]
    """Metric -> value at each place; NaN where there is none."""

    @cached_property
    def of(self) -> Callable[[str], BySetting[Key]]:
        """Return setting -> seed -> value of a metric, of trials that have one; every setting is in it."""
        return lru_cache(maxsize=_METRICS_AT_ONCE)(self._of)

    @cached_property
    def starts(self) -> list[int]:
        """The first place of each setting, and the number of all places."""
        return list(accumulate(map(len, self.keys.values()), initial=0))

    def having(self, *metrics: str) -> list[Setting]:
        """Return the settings of which some trial has all of these metrics."""
        if any(name not in self.columns for name in metrics):
            return []
        lacks_N = np.any([np.isnan(self.columns[name]) for name in metrics], axis=0)
        lacks = np.logical_and.reduceat(lacks_N, self.starts[:-1]).tolist()
        return [setting for setting, lacking in zip(self.keys, lacks, strict=True) if not lacking]

    def _of(self, metric: str) -> BySetting[Key]:
        values_N = self.columns.get(metric)
        if values_N is None:
            return {setting: {} for setting in self.keys}
        values, found = values_N.tolist(), {}
        for start, (setting, keys) in zip(self.starts, self.keys.items(), strict=False):
            pairs = zip(keys, values[start : start + len(keys)], strict=True)
            found[setting] = {key: value for key, value in pairs if value == value}  # NaN is not itself
        return found


@dataclass(frozen=True)
class Sample:
    """The completed trials of one study, and how many were left out and why."""

    study: str
    outcomes: tuple[str, ...]
    """Metrics that at least one completed trial has, in the order in which they are reported."""
    trials: Outcomes[int]
    """Values at the last epoch by setting and seed; of stopped trials those alone that are about the teachers, which no
    epoch changes."""
    recipes: Mapping[Setting, Recipe]
    num_completed: int
    num_untaught: int
    """Completed trials whose students learned from labels alone."""
    num_stopped: int
    """Ended by the scheduler before their last epoch."""
    num_failed: int
    num_unfinished: int
    """Pending, running, preempted, lost or interrupted."""
    never_completed: tuple[tuple[float, int], ...] = ()
    """(strength, ensemble size) of which some trial was begun and none completed."""
    adaptive_sampler: str | None = None
    """The sampler, if it suggested trials by the outcomes of earlier ones."""
    repeats: Outcomes[Drawn] | None = None
    """By setting and all seeds of a trial; None where no study searches those of the student, over which `trials` has
    means."""
    steps: Mapping[str, float] = field(default_factory=dict)
    """Metric -> the step that it moves in: one over the number of images, of shares; 0 of what is continuous."""

    @property
    def selected_by_outcome(self) -> str | None:
        """Why the completed trials do not stand for all; None if they were not selected by outcomes."""
        if self.num_stopped:
            verb = "was" if self.num_stopped == 1 else "were"
            return f"{counted(self.num_stopped, 'trial')} {verb} stopped by the scheduler"
        return f"the sampler {self.adaptive_sampler} chose trials by earlier ones" if self.adaptive_sampler else None

    @property
    def left_out(self) -> str:
        """How many trials were left out and why, in words."""
        parts = [
            f"{self.num_stopped} stopped by the scheduler" if self.num_stopped else "",
            f"{self.num_failed} failed" if self.num_failed else "",
            f"{self.num_unfinished} not finished" if self.num_unfinished else "",
        ]
        return ", ".join(part for part in parts if part) or "none"

    @cached_property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions of effects; the student's strength only if it is not always that of its teachers."""
        is_apart = any(setting.student_strength is not None for setting in self.trials.keys)
        return (STRENGTH, STUDENT, SIZE) if is_apart else (STRENGTH, SIZE)

    def dimensions_of(self, settings: Iterable[Setting]) -> tuple[str, ...]:
        """Return the dimensions of effects among these settings: strengths that never differ there move together."""
        if STUDENT not in self.dimensions:
            return self.dimensions
        are_equal = all(setting.student_strength == setting.augmentation_strength for setting in settings)
        return (BOTH, SIZE) if are_equal else self.dimensions

    @property
    def losses(self) -> list[str | None]:
        """What students learned from: losses, `none` for labels alone, with what sets control arms apart."""
        arms = (
            Arm(recipe.taught_by, None, recipe.control, recipe.view, recipe.epochs) for recipe in self.recipes.values()
        )
        return list(dict.fromkeys(arm.label for arm in arms))

    def levels(self, name: str, settings: Iterable[Setting] | None = None) -> list[float]:
        """Return the distinct values of a dimension among the settings, or all of the study's; ascending."""
        return sorted({getattr(setting, name) for setting in (self.trials.keys if settings is None else settings)})

    def arms(self, *outcomes: str) -> dict[Arm, list[Setting]]:
        """Return the settings whose trials have the outcomes, by what is never averaged over."""
        arms: dict[Arm, list[Setting]] = {}
        of_recipe = lru_cache(maxsize=None)(lambda recipe: arm_of(recipe, *outcomes))
        for setting in self.trials.having(*outcomes):
            arms.setdefault(of_recipe(self.recipes[setting]), []).append(setting)
        return arms


def read_sample(results: Results, study: str | None = None) -> Sample:
    """Return the completed trials of a study: those that reached their last epoch.

    Of trials that a scheduler stopped earlier, only what is about their teachers counts, which no epoch of the student
    changes; their other metrics are those of another epoch.

    Args:
        results: a results root or a study.
        study: its name; may be left out if there is only one.

    Raises:
        QueryError: no such study, several to choose from, or no completed trial in it. One line.
    """
    name = only_study(results, study)
    table = trials_of(results.for_views(), name)
    has_configurations = table["config"].null_count < table.num_rows  # those of a service come with their table
    texts = None if has_configurations else _configurations(results, name, table["trial_id"])
    return sample_of(table, name, _adaptive_sampler(results, name), texts)


def _configurations(results: Results, study: str, trial_ids: pa.ChunkedArray) -> Iterator[str | None]:
    """Yield the configurations of trials in their order, few at a time; more trials may have come meanwhile."""
    found = ((one, text) for name, one, text in results.configurations() if name == study)
    for trial_id in trial_ids.to_pylist():
        known = next((pair for pair in found if pair[0] == trial_id), None)
        if known is None:
            raise StorageError(f"{results.root}: the trial {trial_id} was taken away while the trials were read")
        yield known[1]


def trials_of(results: Results, study: str) -> pa.Table:
    """Return the rows of a study's trials."""
    table = results.table("trials")
    is_of_study = pc.equal(table["study"], study)
    return table if pc.all(is_of_study).as_py() else table.filter(is_of_study)  # a filter copies


def sample_of(
    table: pa.Table,
    name: str,
    adaptive_sampler: str | None = None,
    configurations: Iterable[str | None] | None = None,
) -> Sample:
    """Return the completed trials among rows of a study, as `read_sample`.

    Args:
        table: rows of trials.
        name: of the study.
        adaptive_sampler: the one that chose them by outcomes of others.
        configurations: of the rows in their order; those of the table when None.

    Raises:
        QueryError: none is completed.
    """
    rows = _without_metrics(table).to_pylist()
    counts = _not_completed(rows)
    completed = _completed(rows, name, counts)
    known = [name for name in metric_columns(table.schema) if not np.isnan(_values(table, name)[completed]).all()]
    used = completed + _stopped(rows, (_values(table, name) for name in known if is_of_teachers(name)))
    settings, recipes = zip(*_described(table, rows, used, configurations), strict=True)
    rows_used = [rows[at] for at in used]
    columns = partial(_columns, table, known, used, len(completed))
    return Sample(
        study=name,
        outcomes=tuple(known),
        trials=_means(settings, [row["seed"] for row in rows_used], columns()),
        recipes=dict(zip(settings, recipes, strict=True)),
        repeats=_repeats(settings, rows_used, columns()),
        num_completed=len(completed),
        num_untaught=sum(recipe.taught_by == NO_TEACHING for recipe in recipes[: len(completed)]),
        never_completed=tuple(sorted(_cells(rows) - _cells(rows_used[: len(completed)]))),
        adaptive_sampler=adaptive_sampler,
        steps=resolutions_of((name, values_N[: len(completed)]) for name, values_N in columns()),
        **counts,
    )


def _without_metrics(table: pa.Table) -> pa.Table:
    """Return the columns of which trials are described, without their configurations, which are most of a table."""
    fields = [*searched_columns(table.schema), *source_columns(table.schema)]
    return table.select(list(dict.fromkeys([*_OF_TRIALS, *fields])))


def _described(
    table: pa.Table, rows: Sequence[dict[str, Any]], used: Sequence[int], configurations: Iterable[str | None] | None
) -> list[tuple[Setting, Recipe]]:
    """Return the setting and the recipe of each trial that is used."""
    texts = (text.as_py() for text in table["config"]) if configurations is None else configurations
    places = {at: number for number, at in enumerate(sorted(used))}
    configs = (flat(json.loads(text)) if text else {} for at, text in enumerate(texts) if at in places)
    fields = [*searched_columns(table.schema), *source_columns(table.schema)]
    found = described([rows[at] for at in places], configs, fields)
    return [found[places[at]] for at in used]


def _values(table: pa.Table, metric: str) -> Floats:
    """Return a metric of the trials, NaN where they have none; one that is the difference of two, which older tables
    lack, from both parts.
    """
    at = table.schema.get_field_index(metric)
    is_known = at >= 0 and table.column(at).null_count < table.num_rows
    own_N = table.column(at).to_numpy() if is_known else np.full(table.num_rows, np.nan)
    if metric not in DIFFERENCES:
        return np.asarray(own_N)
    first_N, second_N = (_values(table, part) for part in DIFFERENCES[metric])
    return np.where(np.isnan(own_N), first_N - second_N, own_N)


def _columns(
    table: pa.Table, metrics: Sequence[str], used: Sequence[int], num_completed: int
) -> Iterator[tuple[str, Floats]]:
    """Return each metric with its values in the trials that count."""
    return ((name, _of_used(name, _values(table, name), used, num_completed)) for name in metrics)


def _of_used(metric: str, values_N: Floats, used: Sequence[int], num_completed: int) -> Floats:
    """Return a metric of the trials that count; of stopped ones, the last, nothing that the student changes."""
    found_N = values_N[used]
    if not is_of_teachers(metric):
        found_N[num_completed:] = np.nan
    found_N[np.isinf(found_N)] = np.nan
    return found_N


def _completed(rows: Sequence[Mapping[str, Any]], name: str, not_completed: Mapping[str, int]) -> list[int]:
    """Return which trials reached their last epoch; `QueryError` where none did."""
    completed = [at for at, row in enumerate(rows) if _is_completed(row)]
    if not completed:
        counts = [f"{number} {kind[4:]}" for kind, number in not_completed.items() if number]
        raise QueryError(
            f"study: {name!r} has no completed trial to analyse ({', '.join(counts) or 'no trials at all'})"
        )
    return completed


def _not_completed(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many trials were stopped before their last epoch, have failed, and are not finished."""
    rest = [row["status"] for row in rows if not _is_completed(row)]
    num_stopped, num_failed = rest.count("stopped"), rest.count("failed")
    return {
        "num_stopped": num_stopped,
        "num_failed": num_failed,
        "num_unfinished": len(rest) - num_stopped - num_failed,
    }


def only_study(results: Results, study: str | None) -> str:
    """Return the study's name, or the only one if none is named; `QueryError` otherwise."""
    if study is not None:
        return next(iter(results.select(study)))
    names = results.studies()
    if len(names) != 1:
        raise QueryError(f"study: {results.root} holds {len(names)} studies, name one; {alternatives('', names)}")
    return names[0]


def _is_completed(row: Mapping[str, Any]) -> bool:
    whole = row["num_epochs"] is not None and row["last_epoch"] == row["num_epochs"]
    return row["status"] in FINISHED and whole and _has_setting(row)


def _has_setting(row: Mapping[str, Any]) -> bool:
    return None not in (row[STRENGTH], row[SIZE], row["seed"])


def _stopped(rows: Sequence[Mapping[str, Any]], of_teachers: Iterable[Floats]) -> list[int]:
    """Return which trials were stopped before their last epoch, and have a metric of their teachers."""
    has_N = np.zeros(len(rows), bool)
    for values_N in of_teachers:
        has_N |= ~np.isnan(values_N)
    return [
        at
        for at, row in enumerate(rows)
        if row["status"] == "stopped" and not _is_completed(row) and _has_setting(row) and has_N[at]
    ]


def _cells(rows: Iterable[Mapping[str, Any]]) -> set[tuple[float, int]]:
    return {(row[STRENGTH], row[SIZE]) for row in rows if row[STRENGTH] is not None and row[SIZE] is not None}


def _adaptive_sampler(results: Results, study: str) -> str | None:
    samplers = {row["sampler"] for row in results.table("studies").to_pylist() if row["study"] == study}
    return next((sampler for sampler in samplers if sampler not in (None, *_INDEPENDENT_SAMPLERS)), None)


def _means(settings: Sequence[Setting], seeds: Sequence[int], columns: Iterable[tuple[str, Floats]]) -> Outcomes[int]:
    """Return the mean of trials that differ in nothing that the study searches, or in seeds of the student alone: they
    are one trial here.
    """
    found: dict[Setting, set[int]] = {}
    for setting, seed in zip(settings, seeds, strict=True):
        found.setdefault(setting, set()).add(seed)
    keys = {setting: sorted(found[setting]) for setting in sorted(found, key=_order)}
    places = {(setting, seed): at for at, (setting, seed) in enumerate((s, seed) for s in keys for seed in keys[s])}
    place_N = np.array([places[trial] for trial in zip(settings, seeds, strict=True)])
    return Outcomes(keys, {name: _means_at(values_N, place_N, len(places)) for name, values_N in columns})


def _means_at(values_N: Floats, place_N: Ints, number: int) -> Floats:
    """Return the mean of the values at each of so many places, summed in their order; NaN where there is none."""
    is_known_N = ~np.isnan(values_N)
    at_N, known_N = place_N[is_known_N], values_N[is_known_N]
    with np.errstate(invalid="ignore"):
        return np.bincount(at_N, known_N, number) / np.bincount(at_N, minlength=number)


def _repeats(
    settings: Sequence[Setting], rows: Sequence[Mapping[str, Any]], columns: Iterable[tuple[str, Floats]]
) -> Outcomes[Drawn] | None:
    if not any(level in row for row in rows[:1] for level in SEED_LEVELS):
        return None
    last: dict[Setting, dict[Drawn, int]] = {}
    for at, (row, setting) in enumerate(zip(rows, settings, strict=True)):
        own = [row["seed"] if row.get(level) is None else row[level] for level in SEED_LEVELS]
        last.setdefault(setting, {})[row["seed"], *own] = at
    rows_of = [at for found in last.values() for at in found.values()]
    keys = {setting: list(found) for setting, found in last.items()}
    return Outcomes(keys, {name: values_N[rows_of] for name, values_N in columns})


def _order(setting: Setting) -> tuple[float, float, int, str, str]:
    """Return the sort key of a setting; values of other fields can be of any kind."""
    strength, student, size, mix, others = setting
    return strength, strength if student is None else student, size, str(mix), str(others)
