"""The sample of a study: its completed trials, arranged for pairing as setting -> seed -> outcome."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.trial_settings import (
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
from kd_sweep.errors import QueryError, alternatives
from kd_sweep.statistics.resolution import resolutions
from kd_sweep.study.metric_catalogue import differences
from kd_sweep.study.trial import SEED_LEVELS
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import FINISHED, metric_columns, searched_columns, source_columns

_INDEPENDENT_SAMPLERS = ("grid", "random")
"""Samplers that suggest trials whatever the outcomes of others."""
_OF_TRIALS = ("status", "num_epochs", "last_epoch", "config", STRENGTH, SIZE, "seed")
"""The columns of all tables of trials that are looked at beside metrics and searched fields."""
Outcomes = Mapping[str, float]


@dataclass(frozen=True)
class Sample:
    """The completed trials of one study, and how many were left out and why."""

    study: str
    outcomes: tuple[str, ...]
    """Metrics that at least one completed trial has, in the order in which they are reported."""
    trials: Mapping[Setting, Mapping[int, Outcomes]]
    """Setting -> seed -> metric -> value at the last epoch; metrics without a value are absent, and of stopped trials
    all that are not about the teachers alone, which no epoch changes."""
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
    repeats: Mapping[Setting, Mapping[tuple[int, ...], Outcomes]] = field(default_factory=dict)
    """Setting -> a trial's seed and those of its student (`SEED_LEVELS`) -> metric -> value; empty where no study
    searches the latter, whose trials are averaged in `trials`."""
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
        is_apart = any(setting.student_strength is not None for setting in self.trials)
        return (STRENGTH, STUDENT, SIZE) if is_apart else (STRENGTH, SIZE)

    @property
    def losses(self) -> list[str | None]:
        """What students learned from: losses, `none` for labels alone, with what sets control arms apart."""
        arms = (
            Arm(recipe.taught_by, None, recipe.control, recipe.view, recipe.epochs) for recipe in self.recipes.values()
        )
        return list(dict.fromkeys(arm.label for arm in arms))

    def levels(self, name: str, settings: Iterable[Setting] | None = None) -> list[float]:
        """Return the distinct values of a dimension among the settings, or all of the study's; ascending."""
        return sorted({getattr(setting, name) for setting in (self.trials if settings is None else settings)})

    def arms(self, *outcomes: str) -> dict[Arm, list[Setting]]:
        """Return the settings whose trials have the outcomes, by what is never averaged over."""
        arms: dict[Arm, list[Setting]] = {}
        wanted = set(outcomes)
        for setting, seeds in self.trials.items():
            if any(values.keys() >= wanted for values in seeds.values()):
                arms.setdefault(arm_of(self.recipes[setting], *outcomes), []).append(setting)
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
    return sample_of(trials_of(results, name), name, _adaptive_sampler(results, name))


def trials_of(results: Results, study: str) -> pa.Table:
    """Return the rows of a study's trials."""
    table = results.table("trials")
    return table.filter(pc.equal(table["study"], study))


def sample_of(table: pa.Table, name: str, adaptive_sampler: str | None = None) -> Sample:
    """Return the completed trials among rows of a study, as `read_sample`.

    Args:
        table: rows of trials.
        name: of the study.
        adaptive_sampler: the one that chose them by outcomes of others.

    Raises:
        QueryError: none is completed.
    """
    rows = _needed(table).to_pylist()
    completed = [_with_differences(row) for row in rows if _is_completed(row)]
    stopped = [row for row in rows if row["status"] == "stopped" and not _is_completed(row) and _has_setting(row)]
    counts = _not_completed(rows)
    if not completed:
        others = ", ".join(f"{number} {kind[4:]}" for kind, number in counts.items() if number) or "no trials at all"
        raise QueryError(f"study: {name!r} has no completed trial to analyse ({others})")
    known = [name for name in metric_columns(table.schema) if any(row.get(name) is not None for row in completed)]
    used = completed + list(_of_teachers(stopped, known))
    configs = (flat(json.loads(row["config"])) if row["config"] else {} for row in used)
    settings = described(used, configs, [*searched_columns(table.schema), *source_columns(table.schema)])
    return Sample(
        study=name,
        outcomes=tuple(known),
        trials=_arranged(used, [setting for setting, _ in settings], known),
        recipes=dict(settings),
        repeats=_repeats(used, [setting for setting, _ in settings], known),
        num_completed=len(completed),
        num_untaught=sum(recipe.taught_by == NO_TEACHING for _, recipe in settings[: len(completed)]),
        never_completed=tuple(sorted(_cells(rows) - _cells(completed))),
        adaptive_sampler=adaptive_sampler,
        steps=resolutions(completed, known),
        **counts,
    )


def _needed(table: pa.Table) -> pa.Table:
    """Return the columns that a sample is made of, without metrics that no trial has: they are a quarter of all."""
    metrics = [name for name in metric_columns(table.schema) if len(table[name].drop_null())]
    fields = [*searched_columns(table.schema), *source_columns(table.schema)]
    return table.select(list(dict.fromkeys([*_OF_TRIALS, *fields, *metrics])))


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


def _of_teachers(rows: Iterable[dict[str, Any]], metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows with metrics of teachers, without those that the student would have changed in later epochs."""
    changing = {name: None for name in metrics if not is_of_teachers(name)}
    for row in rows:
        if any(row.get(name) is not None for name in metrics if name not in changing):
            yield row | changing


def _cells(rows: Iterable[Mapping[str, Any]]) -> set[tuple[float, int]]:
    return {(row[STRENGTH], row[SIZE]) for row in rows if row[STRENGTH] is not None and row[SIZE] is not None}


def _adaptive_sampler(results: Results, study: str) -> str | None:
    samplers = {row["sampler"] for row in results.table("studies").to_pylist() if row["study"] == study}
    return next((sampler for sampler in samplers if sampler not in (None, *_INDEPENDENT_SAMPLERS)), None)


def _with_differences(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with every difference of two metrics: older tables lack some and have both parts of them."""
    missing = {name: value for name, value in differences(row).items() if row.get(name) is None}
    return row | missing if missing else row


def _arranged(
    rows: list[dict[str, Any]], settings: list[Setting], metrics: list[str]
) -> dict[Setting, dict[int, Outcomes]]:
    gathered: dict[Setting, dict[int, list[dict[str, float]]]] = {}
    for row, setting in zip(rows, settings, strict=True):
        values = {name: row[name] for name in metrics if row.get(name) is not None and math.isfinite(row[name])}
        gathered.setdefault(setting, {}).setdefault(row["seed"], []).append(values)
    return {
        setting: {seed: _mean_outcomes(repeats) for seed, repeats in sorted(seeds.items())}
        for setting, seeds in sorted(gathered.items(), key=lambda item: _order(item[0]))
    }


def _repeats(
    rows: list[dict[str, Any]], settings: list[Setting], metrics: list[str]
) -> dict[Setting, dict[tuple[int, ...], Outcomes]]:
    gathered: dict[Setting, dict[tuple[int, ...], Outcomes]] = {}
    if not any(level in row for row in rows[:1] for level in SEED_LEVELS):
        return gathered
    for row, setting in zip(rows, settings, strict=True):
        own = [row["seed"] if row.get(level) is None else row[level] for level in SEED_LEVELS]
        values = {name: row[name] for name in metrics if row.get(name) is not None and math.isfinite(row[name])}
        gathered.setdefault(setting, {})[row["seed"], *own] = values
    return gathered


def _order(setting: Setting) -> tuple[float, float, int, str, str]:
    """Return the sort key of a setting; values of other fields can be of any kind."""
    strength, student, size, mix, others = setting
    return strength, strength if student is None else student, size, str(mix), str(others)


def _mean_outcomes(repeats: Iterable[Outcomes]) -> Outcomes:
    """Return the mean of trials that differ in nothing that the study searches, or in seeds of the student alone: they
    are one trial here.
    """
    values: dict[str, list[float]] = {}
    for outcomes in repeats:
        for name, value in outcomes.items():
            values.setdefault(name, []).append(value)
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
