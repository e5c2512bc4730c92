"""The setting, recipe and arm of a trial: its levels, its training, and what it is never averaged with."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kd_sweep.study.extra_metrics import metric_named
from kd_sweep.study.trial import SEED_LEVELS

STRENGTH, STUDENT, SIZE = "augmentation_strength", "student_strength", "ensemble_size"
BOTH = "both_strengths"
"""The teachers' and the student's strength where an arm has them equal, and other arms have them apart."""
DIMENSIONS = (STRENGTH, STUDENT, BOTH, SIZE)
"""What effects are taken along."""
LOSS, ALPHA, TEMPERATURE = "distillation_loss", "distillation_alpha", "distillation_temperature"
"""Columns of the searched fields of the student's loss."""
NO_TEACHING = "none"
"""The loss of a student that learns from labels alone: `distillation.loss: none`, or any with alpha 1."""
CONTROL, VIEW = "distillation_teacher_control", "distillation_teacher_view"
EPOCHS = "distillation_ensemble_epochs"
_USUAL = {CONTROL: "none", VIEW: "consistent", EPOCHS: "each"}
"""What trials have there that are no control arm, and those of before there were any."""

_MAPS, _TEACHERS_START, _TEACHERS = "metrics_attention", "teacher_weights", "teacher_strengths"
_MODELS = "teacher_models"
_OF_ENTRY = re.compile(r"teachers_(\d+)_(\w+)")
_SAME_STRENGTH = 1e-9


class Setting(NamedTuple):
    """Everything that was varied but the seed, and seeds of the student's own."""

    augmentation_strength: float
    """Of teachers and student; the teachers' mean where `student_strength` is not None."""
    student_strength: float | None
    """None in a study where every student has its teachers' (mean) strength."""
    ensemble_size: int
    mix: tuple[float, ...]
    """The teachers' strengths, member 1 first, if they differ among themselves; empty if all are equal."""
    others: tuple[tuple[str, Any], ...]
    """Further searched fields that differ between the trials: (column, value), sorted by column.

    That of `teacher_models` is without repetition: three of one model, and one of it, are ensembles of two sizes.
    """

    @property
    def teachers(self) -> tuple[float, ...]:
        """The strength of each teacher, member 1 first."""
        return self.mix or (self.augmentation_strength,) * self.ensemble_size

    @property
    def both_strengths(self) -> float:
        """The teachers' strength and the student's, where they are equal."""
        return self.augmentation_strength


class Recipe(NamedTuple):
    """A trial's training and metrics by its configuration; None where the tables lack the field."""

    loss: str | None
    alpha: float | None
    maps: str | None
    """`cam` or `grad_cam`: the value of `attention.regions`."""
    random_teachers: bool | None
    """Whether the teachers started from random weights, and no file of them."""
    is_mixed: bool = False
    """Whether the teachers differ in network or recipe."""
    control: str | None = None
    """`shuffled_labels` or `random_weights`: what teachers are that know nothing; None of others."""
    view: str | None = None
    """`independent` or `fixed`: what teachers see where it is not what the student sees."""
    epochs: str | None = None
    """`shared` where teachers share the epochs of one."""

    @property
    def taught_by(self) -> str | None:
        """The loss, or `none` for one that leaves the teachers out."""
        return NO_TEACHING if self.alpha == 1.0 else self.loss


class Arm(NamedTuple):
    """What is never averaged over: None where an outcome does not depend on it, or the tables lack it."""

    loss: str | None
    maps: str | None
    control: str | None = None
    """Of teachers that know nothing."""
    view: str | None = None
    """Of teachers that see something else than the student."""
    epochs: str | None = None
    """Of teachers that share the epochs of one."""

    @property
    def label(self) -> str | None:
        """The loss with what sets the arm apart from the usual one: `kl, shuffled_labels`; None where nothing is."""
        epochs = None if self.epochs is None else f"{self.epochs} epochs"
        return ", ".join(part for part in (self.loss, self.control, self.view, epochs) if part) or None

    @property
    def is_usual(self) -> bool:
        """Whether it is no control arm, and teachers see what the student sees and are trained for all their epochs."""
        return self.control is None and self.view is None and self.epochs is None


NO_ARM = Arm(None, None)


def arm_of(recipe: Recipe, *outcomes: str) -> Arm:
    """Return which arm of the study a trial is in, as these outcomes see it.

    What the teachers are like does not depend on what the student is trained on, and only attention depends on the map.
    """
    of_teachers = all(map(is_of_teachers, outcomes))
    loss, view = (None, None) if of_teachers else (recipe.taught_by, recipe.view)
    metrics = [metric_named(outcome) for outcome in outcomes]
    of_attention = any(metric is not None and metric.of_attention for metric in metrics)
    return Arm(loss, recipe.maps if of_attention else None, recipe.control, view, recipe.epochs)


def is_of_teachers(outcome: str) -> bool:
    """Whether an outcome is about the teachers alone."""
    metric = metric_named(outcome)
    return metric is not None and metric.is_of_teachers


def described(
    rows: list[dict[str, Any]], configs: Iterable[dict[str, Any]], searched: Iterable[str]
) -> list[tuple[Setting, Recipe]]:
    """Return the setting and the recipe of each trial.

    Args:
        rows: of the trials table.
        configs: the configuration of each, `flat`; each is looked at once, since 10,000 together are 50 MB.
        searched: columns of the fields that the study searches, beside strength, size and seed. A field that only a
            later launch searched is known from the configurations of earlier trials.
    """
    listed = sorted(set(searched) - {_TEACHERS, STUDENT, *SEED_LEVELS})
    known = [
        (_known(row, config, listed), _student_strength(row, config), _mix(row, config), _recipe(row, config))
        for row, config in zip(rows, configs, strict=True)
    ]
    varied = [name for name in listed if len({_hashable(field[name]) for field, *_ in known}) > 1]
    is_apart = any(abs(found[1] - row[STRENGTH]) > _SAME_STRENGTH for found, row in zip(known, rows, strict=True))
    settings = []
    for row, (field, student, mix, recipe) in zip(rows, known, strict=True):
        others = tuple((name, _hashable(field[name])) for name in varied)
        setting = Setting(float(row[STRENGTH]), student if is_apart else None, int(row[SIZE]), mix, others)
        settings.append((setting, recipe))
    return settings


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration with the names that the trials table gives its searched fields."""
    fields: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            fields |= flat(value, f"{name}_")
        else:
            fields[name] = value
    return fields


def _recipe(row: Mapping[str, Any], config: Mapping[str, Any]) -> Recipe:
    known = _known(row, config, (LOSS, ALPHA, _MAPS, _TEACHERS_START, *_USUAL))
    says_start = _TEACHERS_START in row or _TEACHERS_START in config
    starts = [known[_TEACHERS_START], *(member.get("weights") for member in config.get("members", ()))]
    is_random = not any(starts) if says_start else None
    arm = (None if known[name] == usual else known[name] for name, usual in _USUAL.items())
    return Recipe(known[LOSS], known[ALPHA], known[_MAPS], is_random, bool(config.get("members")), *arm)


def _student_strength(row: Mapping[str, Any], config: Mapping[str, Any]) -> float:
    known = _known(row, config, [STUDENT])[STUDENT]
    return float(row[STRENGTH] if known is None else known)


def _mix(row: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[float, ...]:
    known = _known(row, config, [_TEACHERS])[_TEACHERS] or []
    strengths = tuple(float(strength) for strength in (json.loads(known) if isinstance(known, str) else known))
    return strengths if len(set(strengths)) > 1 else ()


def _known(row: Mapping[str, Any], config: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    known = {name: _in_config(config, name) if row.get(name) is None else row[name] for name in names}
    return known | ({_MODELS: _without_repetition(known[_MODELS])} if known.get(_MODELS) else {})


def _in_config(config: Mapping[str, Any], name: str) -> Any:
    """Return what a configuration has for a column of a searched field."""
    size = len(config.get(_TEACHERS) or ())
    if name == _MODELS and config:
        members = config.get("members") or [{"model": config.get("teacher_model")}] * size
        return json.dumps([member["model"] for member in members])
    if match := _OF_ENTRY.fullmatch(name):
        index, key = int(match[1]), match[2]
        members = config.get("members") or [{key: config.get(f"teacher_{key}")}] * size
        return members[index].get(key) if index < len(members) else None
    return config.get(name)


def _without_repetition(models: str) -> str:
    """Return the shortest list of models that the list repeats from its beginning, both as JSON."""
    listed = json.loads(models)
    length = next(n for n in range(1, len(listed) + 1) if all(m == listed[i % n] for i, m in enumerate(listed)))
    return json.dumps(listed[:length])


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
