"""A study's completed trials, arranged for pairing: setting -> seed -> outcome."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.results.reader import Results
from kd_sweep.results.schema import FINISHED, added_columns
from kd_sweep.study.reported import REPORTED_METRICS

_LATER_METRICS = ("mutual_information_",)
"""Prefixes of metrics that a study's tables may hold although this version does not report them."""
LOSS, ALPHA, TEMPERATURE = "distillation_loss", "distillation_alpha", "distillation_temperature"
"""Columns of the searched fields that say what the student was trained on."""


class Setting(NamedTuple):
    """Everything that was varied but the seed."""

    augmentation_strength: float
    ensemble_size: int
    others: tuple[tuple[str, Any], ...]
    """Further searched fields that differ between the trials: (column, value), sorted by column."""


class Recipe(NamedTuple):
    """The loss of a trial, from its configuration; None where the tables do not say."""

    loss: str | None
    alpha: float | None


Outcomes = Mapping[str, float]


@dataclass(frozen=True)
class Sample:
    """The completed trials of one study, and how many were left out and why."""

    study: str
    outcomes: tuple[str, ...]
    """Metrics that at least one completed trial has, in the order in which they are reported."""
    trials: Mapping[Setting, Mapping[int, Outcomes]]
    """Setting -> seed -> metric -> value at the last epoch; metrics without a value are absent."""
    recipes: Mapping[Setting, Recipe]
    num_completed: int
    num_stopped: int
    """Ended by the scheduler before their last epoch."""
    num_failed: int
    num_unfinished: int
    """Pending, running, preempted, lost or interrupted."""

    @property
    def left_out(self) -> str:
        """How many trials were left out and why, in words."""
        parts = [
            f"{self.num_stopped} stopped by the scheduler" if self.num_stopped else "",
            f"{self.num_failed} failed" if self.num_failed else "",
            f"{self.num_unfinished} not finished" if self.num_unfinished else "",
        ]
        return ", ".join(part for part in parts if part) or "none"

    def levels(self, name: str) -> list[float]:
        """Return the distinct values of ``augmentation_strength`` or ``ensemble_size``, ascending."""
        return sorted({getattr(setting, name) for setting in self.trials})


def read_sample(results: Results, study: str | None = None) -> Sample:
    """Return the completed trials of a study: those that reached the last epoch they were asked for.

    Trials that a scheduler stopped earlier are left out: their metrics are those of another epoch.

    Args:
        results: a results root or a study.
        study: its name; may be left out where there is one.

    Raises:
        QueryError: no such study, several to choose from, or no completed trial in it. One line.
    """
    name = only_study(results, study)
    table = results.table("trials")
    table = table.filter(pc.equal(table["study"], name))
    rows = table.to_pylist()
    completed = [row for row in rows if _is_completed(row)]
    num_failed = sum(row["status"] == "failed" for row in rows)
    num_stopped = sum(row["status"] == "stopped" for row in rows if not _is_completed(row))
    num_unfinished = len(rows) - len(completed) - num_failed - num_stopped
    counts = {"num_stopped": num_stopped, "num_failed": num_failed, "num_unfinished": num_unfinished}
    if not completed:
        found = ", ".join(f"{number} {kind[4:]}" for kind, number in counts.items() if number) or "no trials at all"
        raise QueryError(f"study: {name!r} has no completed trial to analyse ({found})")
    known = [metric for metric in metric_columns(table.schema) if any(row[metric] is not None for row in completed)]
    trials, recipes = _arranged(completed, known, _searched(table.schema))
    return Sample(name, tuple(known), trials, recipes, num_completed=len(completed), **counts)


def only_study(results: Results, study: str | None) -> str:
    """Return the study's name, or the only one where none is named; `QueryError` otherwise."""
    if study is not None:
        return next(iter(results.select(study)))
    names = results.studies()
    if len(names) != 1:
        raise QueryError(f"study: {results.root} holds {len(names)} studies, name one; {alternatives('', names)}")
    return names[0]


def metric_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of a trials table that are outcomes."""
    later = [
        field.name
        for field in schema
        if field.name.startswith(_LATER_METRICS)
        and field.name not in REPORTED_METRICS
        and pa.types.is_floating(field.type)
    ]
    return [name for name in REPORTED_METRICS if name in schema.names] + later


def _searched(schema: pa.Schema) -> list[str]:
    # The teachers' strengths are on the two axes already: their mean is the strength, their number the size.
    return sorted(set(added_columns(schema)) - set(metric_columns(schema)) - {"teacher_strengths"})


def _is_completed(row: Mapping[str, Any]) -> bool:
    whole = row["num_epochs"] is not None and row["last_epoch"] == row["num_epochs"]
    placed = None not in (row["augmentation_strength"], row["ensemble_size"], row["seed"])
    return row["status"] in FINISHED and whole and placed


def _arranged(
    rows: list[dict[str, Any]], metrics: list[str], searched: list[str]
) -> tuple[dict[Setting, dict[int, Outcomes]], dict[Setting, Recipe]]:
    configs = [_flat(json.loads(row["config"])) if row["config"] else {} for row in rows]
    fields = [_fields(row, config, searched) for row, config in zip(rows, configs, strict=True)]
    varied = [name for name in searched if len({_hashable(field.get(name)) for field in fields}) > 1]
    gathered: dict[Setting, dict[int, list[dict[str, float]]]] = {}
    recipes: dict[Setting, Recipe] = {}
    for row, field in zip(rows, fields, strict=True):
        others = tuple((name, _hashable(field.get(name))) for name in varied)
        setting = Setting(float(row["augmentation_strength"]), int(row["ensemble_size"]), others)
        recipes[setting] = Recipe(field.get(LOSS), field.get(ALPHA))
        values = {name: row[name] for name in metrics if row[name] is not None and math.isfinite(row[name])}
        gathered.setdefault(setting, {}).setdefault(row["seed"], []).append(values)
    trials = {
        setting: {seed: _mean_outcomes(repeats) for seed, repeats in sorted(seeds.items())}
        for setting, seeds in sorted(gathered.items(), key=lambda item: (*item[0][:2], str(item[0].others)))
    }
    return trials, recipes


def _fields(row: Mapping[str, Any], config: Mapping[str, Any], searched: Iterable[str]) -> dict[str, Any]:
    """Return the trial's searched fields; one that only a later launch searched is known from the configuration."""
    names = dict.fromkeys((*searched, LOSS, ALPHA))
    return {name: config.get(name) if row.get(name) is None else row[name] for name in names}


def _mean_outcomes(repeats: Iterable[Outcomes]) -> Outcomes:
    """Return the mean of trials that differ in nothing that the study searches: they are one trial here."""
    values: dict[str, list[float]] = {}
    for outcomes in repeats:
        for name, value in outcomes.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration with the names that the trials table gives its searched fields."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flat(value, f"{name}_")
        else:
            flat[name] = value
    return flat


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
