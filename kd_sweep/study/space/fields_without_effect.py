"""Fields that change nothing beside the values of others: giving or searching one is a mistake.

Two trials that differ in such a field alone would be one training under two names.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.lookup import entry_of
from kd_sweep.catalogue.selecting_section import SelectingSection, parameters_of_all
from kd_sweep.study.file.messages import RuleError
from kd_sweep.study.file.yaml_reader import shown
from kd_sweep.study.recipe import RANDOM_WEIGHTS, Augmentation, Distillation, Learner
from kd_sweep.study.space.conditions import Conditions, Point
from kd_sweep.study.space.dimensions import default_settings, fixed_value, listed_values
from kd_sweep.study.space.learner_rules import Rule, learner_rules
from kd_sweep.study.space.members import COMMON, MODELS, entry_field, entry_section
from kd_sweep.study.space.searchable_fields import search_field, section_base
from kd_sweep.study.spec import Choice, Grid, IntRange, StudySpec
from kd_sweep.study.trial import OF_NETWORKS

MAX_COMBINATIONS = 10_000
MAX_VALUES = 100
"""So many values of a field are tried."""


def check_idle(spec: StudySpec) -> None:
    """Check that every field that is given has an effect in some trial, and every searched one in all of them.

    A field at its default does not count as given.

    Raises:
        RuleError: the first that has none, with the reason.
    """
    conditions = Conditions(spec)
    for rule in (*learner_rules(spec), *_rules()):
        for name in rule.fields:
            _check_field(spec, conditions, rule, name)


def _check_field(spec: StudySpec, conditions: Conditions, rule: Rule, name: str) -> None:
    values = _values(spec, conditions, name) if name in spec.search else []
    fixed = fixed_value(spec, name)
    is_given, varies = fixed != _default(spec, name) and _has(spec, name), len(values) > 1
    if not is_given and not varies and values in ([], [_default(spec, name)]):
        return
    points = list(itertools.islice(_points(spec, conditions, rule, name), MAX_COMBINATIONS))
    there = [_is_idle(spec, rule, point) for point in points if name in point]
    if there and values != [_default(spec, name)] and (any(there) if varies and rule.everywhere else all(there)):
        raise _mistake(spec, name, values, rule)
    elsewhere = [_is_idle(spec, rule, point) for point in points if name not in point]
    if elsewhere and is_given and all(elsewhere):
        raise _mistake(spec, name, [fixed], rule, outside=name in spec.search)


def _points(spec: StudySpec, conditions: Conditions, rule: Rule, name: str) -> Iterator[Point]:
    """Yield what trials can have in the fields that a rule is about, where those are searched."""
    ensembles = ("teacher_strengths", MODELS) if "ensemble_size" in rule.reads else ()  # the size is that of the list
    possible = {other: _values(spec, conditions, other) for other in conditions.closed([name, *rule.reads, *ensembles])}
    if name in possible and name not in rule.reads and name not in conditions.deciders:
        possible[name] = possible[name][:1]
    return conditions.points(possible)


def _is_idle(spec: StudySpec, rule: Rule, point: Point) -> bool:
    return rule.idle(*(_value(spec, point, read) for read in rule.reads))


def _value(spec: StudySpec, point: Point, name: str) -> Any:
    """Return what a trial at this point has in a field."""
    if name == "ensemble_size" and "teacher_strengths" in spec.search:
        strengths: Any = point.get("teacher_strengths", (0.0,))
        return len(strengths)
    if name == "ensemble_size" and MODELS in spec.search:
        models: Any = point[MODELS]
        return len(models)
    return point[name] if name in point else fixed_value(spec, name)


def _mistake(spec: StudySpec, name: str, values: list[Any], rule: Rule, *, outside: bool = False) -> RuleError:
    searched = name in spec.search and not outside
    if searched and len(values) > 1:
        return RuleError(
            ("search", name), f"has no effect {rule.why}, so trials would differ in nothing but their name"
        )
    path = ("search", name) if searched else tuple(int(key) if key.isdecimal() else key for key in name.split("."))
    value = str(list(values[0])) if isinstance(values[0], tuple) else shown(values[0])
    return RuleError(path, f"{value} has no effect {rule.why}")


def _default(spec: StudySpec, name: str) -> Any:
    section, _, key = name.rpartition(".")
    if not section:
        return default_settings(spec)[name]
    base, own = section_base(section), type(_section(spec, section))
    if issubclass(base, SelectingSection) and key not in own.model_fields:
        return parameters_of_all(base)[key][0].model_fields[key].default
    return own.model_fields[key].default


def _has(spec: StudySpec, name: str) -> bool:
    """Return whether the study has a field outside its search: parameters of other networks it does not have, and an
    entry of `teachers` only what it gives.
    """
    section, _, key = name.rpartition(".")
    if (field := entry_field(name)) is not None:
        return key in spec.teachers[field.entry].given
    return not section or hasattr(_section(spec, section), key)


def _section(spec: StudySpec, name: str) -> Any:
    index = entry_section(name)
    return getattr(spec, name) if index is None else spec.teachers[index].learner


def _values(spec: StudySpec, conditions: Conditions, name: str) -> list[Any]:
    """Return values that a dimension can have: the first of a list, and of a range some that are not its ends.

    Those that others depend on are among them.
    """
    dimension = spec.search[name]
    if isinstance(dimension, Grid | Choice):
        field = search_field(name)
        values: list[Any] = [field.canonical(value) for value in listed_values(dimension)[:MAX_VALUES]]
    elif isinstance(dimension, IntRange):
        first, last = dimension.bounds
        values = list(range(first, last + 1, dimension.step)[:MAX_VALUES])
    else:
        low, high = dimension.uniform
        values = [low + (high - low) * share for share in (0.4, 0.6)]
    return list(dict.fromkeys([*values, *conditions.decisive(name)]))


def _no_strength(pipeline: str, strength: float, teachers: tuple[float, ...] | None, student: float | None) -> bool:
    of_teachers = teachers if teachers is not None else (strength,)
    of_student = student if student is not None else sum(of_teachers)
    return not any(of_teachers) and not of_student and Augmentation(pipeline=pipeline).clean_at_zero


def _no_strength_of_student(
    pipeline: str, strength: float, teachers: tuple[float, ...] | None, student: float | None
) -> bool:
    of_student = student if student is not None else sum(teachers if teachers is not None else (strength,))
    return not of_student and Augmentation(pipeline=pipeline).clean_at_zero


def _own_validation(name: str, val_list: str | None) -> bool:
    entry = entry_of(DATASET, name)
    return val_list is not None or (entry is not None and bool(entry.traits.has_validation))


def _nothing_drawn(name: str, val_list: str | None, *draws: object) -> bool:
    return _own_validation(name, val_list) and all(draw is None for draw in draws)


_STRENGTHS = ("augmentation.pipeline", "augmentation_strength", "teacher_strengths", "student_strength")


def _of_distillation(*keys: str) -> tuple[str, ...]:
    return tuple(f"distillation.{key}" for key in keys)


_OF_IMAGES = (
    Rule(
        ("data.horizontal_flip",),
        (*_STRENGTHS, "augmentation.transforms"),
        lambda pipeline, *rest: (
            (pipeline == "strength" and "geometry" not in rest[-1]) or _no_strength(pipeline, *rest[:-1])
        ),
        "where no image is mirrored: at strength 0, and without 'geometry' in augmentation.transforms",
    ),
    Rule(
        ("data.validation_fraction",),
        ("data.name", "data.val_list"),
        _own_validation,
        "on a dataset with validation images of its own",
    ),
    Rule(
        ("data.split_seed",),
        ("data.name", "data.val_list", "data.max_train_images", "data.max_val_images", "data.imbalance_ratio"),
        _nothing_drawn,
        "on a dataset with validation images of its own, of which all are used",
    ),
)


_OF_ARMS = (
    Rule(
        _of_distillation("ensemble_epochs"),
        ("ensemble_size", *_of_distillation("teacher_control")),
        lambda size, control: size == 1 or control == RANDOM_WEIGHTS,
        "with one teacher, or with teachers of random weights; possible: ensemble sizes from 2 on",
    ),
    Rule(
        tuple(f"{COMMON}.{key}" for key in Learner.model_fields if key not in (*OF_NETWORKS, "weights_digest")),
        _of_distillation("teacher_control"),
        lambda control: control == RANDOM_WEIGHTS,
        "with distillation.teacher_control 'random_weights', where no teacher is trained",
    ),
    Rule(
        _of_distillation("teacher_view"),
        _of_distillation("loss", "alpha"),
        lambda loss, alpha: loss == "none" or alpha == 1.0,
        "where the student learns from labels alone",
    ),
    Rule(
        _of_distillation("teacher_view"),
        _STRENGTHS,
        _no_strength_of_student,
        "at strength 0, where every view is the clean image; possible: strengths above 0 of the student",
        everywhere=False,
    ),
    Rule(
        ("student_augmentation_seed",),
        _STRENGTHS,
        _no_strength_of_student,
        "at strength 0, where images are clean; possible: strengths above 0 of the student",
        everywhere=False,
    ),
    Rule(
        _of_distillation("teacher_batchnorm"),
        _of_distillation("teacher_view"),
        lambda view: view == "fixed",
        "with distillation.teacher_view 'fixed', where teachers see no training batch",
    ),
)


def _rules() -> tuple[Rule, ...]:
    """Return every rule: those of entries' parameters follow from the entries that are known by now."""
    loss_parameters = tuple(parameters_of_all(Distillation))
    pipeline_parameters = tuple(f"augmentation.{key}" for key in parameters_of_all(Augmentation))
    return (
        Rule(
            _of_distillation("alpha", "teacher_weights"),
            _of_distillation("loss"),
            lambda loss: loss == "none",
            "with loss 'none', which is of the labels alone",
        ),
        Rule(
            _of_distillation("loss", "teacher_weights", *loss_parameters),
            _of_distillation("alpha", "loss"),
            lambda alpha, loss: alpha == 1.0 and loss != "none",
            "with distillation.alpha 1, which is of the labels alone; possible: alpha below 1",
        ),
        Rule(
            _of_distillation("ensemble_reducer", "teacher_weights"),
            ("ensemble_size",),
            lambda size: size == 1,
            "with one teacher; possible: ensemble sizes from 2 on",
        ),
        *_OF_ARMS,
        Rule(
            ("student.label_smoothing",),
            _of_distillation("loss", "alpha"),
            lambda loss, alpha: loss != "none" and alpha == 0.0,
            "with distillation.alpha 0, where no label is learned; possible: alpha above 0",
        ),
        Rule(
            ("augmentation.pipeline", *pipeline_parameters),
            _STRENGTHS,
            _no_strength,
            "at strength 0, where images are clean; possible: search.augmentation_strength above 0",
            everywhere=False,  # a scale of strengths begins at 0
        ),
        *_OF_IMAGES,
    )
