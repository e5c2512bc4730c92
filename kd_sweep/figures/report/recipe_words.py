"""The recipe of a study in words: images, networks, what the student learns from, what is searched."""

from collections.abc import Iterator
from typing import Any

from kd_sweep.catalogue.selecting_section import SelectingSection, source_field
from kd_sweep.study.recipe import Distillation, Learner
from kd_sweep.study.scheduler import NO_RULE
from kd_sweep.study.space.dimensions import range_bounds
from kd_sweep.study.spec import Choice, Dimension, Grid, IntRange, StudySpec, Uniform

_MOST_VALUES = 12
_SAID_OF_LEARNERS = (
    *("model", "epochs", "batch_size", "optimizer", "learning_rate", "momentum", "nesterov", "weight_decay"),
    *("schedule", "warmup_epochs", "milestones", "gamma", "weights_digest"),
)


def recipe_words(spec: StudySpec) -> list[tuple[str, str]]:
    """Return the recipe of a study as subjects and what is to be said of each."""
    has_rule = spec.scheduler.name != NO_RULE
    rows = [
        ("Images", _images(spec)),
        ("Augmentation", _selected(spec, "augmentation", "pipeline", ", scaled by the strength")),
        ("Teachers", _learner(spec, "teacher")),
        *((f"Teacher {number}", _own(entry.own)) for number, entry in enumerate(spec.teachers, 1)),
        ("Student", _learner(spec, "student")),
        ("What the student learns from", _distillation(spec)),
        ("Metrics", _metrics(spec)),
        ("Objectives", ", ".join(f"{one.metric} ({one.mode})" for one in spec.objectives)),
        ("How points are chosen", _selected(spec, "sampler", "name")),
        ("Early stopping", _selected(spec, "scheduler", "name") if has_rule else "none"),
    ]
    if spec.warm_start is not None:
        rows.append(("Learnt from", f"the trials of study {spec.warm_start.study}"))
    return rows


def _images(spec: StudySpec) -> str:
    data, size = spec.data, _value(spec, "data", "image_size")
    said = ("name", "image_size", "validation_fraction", "split_seed", "fingerprint", *data.origin)
    return _joined(
        f"{_value(spec, 'data', 'name')}, {size} × {size} pixels",
        f"{data.validation_fraction:.0%} held out for validation, drawn with seed {data.split_seed}, where the dataset "
        "has no split of its own",
        *_others(spec, "data", said),
    )


def _metrics(spec: StudySpec) -> str:
    threshold = _value(spec, "metrics", "cam_threshold")
    return _joined(
        f"attention maps: {_value(spec, 'metrics', 'attention')}, regions above {threshold}",
        *_others(spec, "metrics", ("attention", "cam_threshold", "extra")),
        *(f"also {metric.name}" for metric in spec.metrics.extra),
    )


def _selected(spec: StudySpec, section: str, selector: str, what: str = "") -> str:
    return _joined(f"{_value(spec, section, selector)}{what}", *_others(spec, section, (selector,)))


def dimension_words(dimension: Dimension) -> str:
    """Return the values that a searched field can have, in words."""
    if isinstance(dimension, Grid | Choice):
        values = dimension.grid if isinstance(dimension, Grid) else dimension.choice
        text = ", ".join(map(value_words, values[:_MOST_VALUES]))
        text += f", … ({len(values)} values)" if len(values) > _MOST_VALUES else ""
    else:
        low, high = range_bounds(dimension)
        text = f"from {low:g} to {high:g}"
        text += ", whole numbers" if isinstance(dimension, IntRange) else ""
        text += ", uniform in the logarithm" if isinstance(dimension, Uniform) and dimension.log else ""
        text += f", in steps of {dimension.step:g}" if dimension.step not in (None, 1) else ""
    conditions = [f"{name} is {' or '.join(map(value_words, values))}" for name, values in dimension.when.items()]
    return f"{text}; only where {' and '.join(conditions)}" if conditions else text


def _learner(spec: StudySpec, section: str) -> str:
    learner: Learner = getattr(spec, section)
    own = _parameters(learner, Learner)
    is_sgd = learner.optimizer == "sgd"
    return _joined(
        ", ".join([_value(spec, section, "model"), *(_named(spec, section, name) for name in own)]),
        ", ".join(_named(spec, section, name) for name in ("epochs", "batch_size")),
        f"{_value(spec, section, 'optimizer')}, {_named(spec, section, 'learning_rate')} at its peak, "
        + (f"{'Nesterov ' * learner.nesterov}{_named(spec, section, 'momentum')}, " if is_sgd else "")
        + _named(spec, section, "weight_decay"),
        f"{_value(spec, section, 'schedule')} schedule, {_named(spec, section, 'warmup_epochs')}"
        + (f", times {learner.gamma:g} after epochs {value_words(learner.milestones)}" if learner.milestones else ""),
        *_others(spec, section, (*_SAID_OF_LEARNERS, *own)),
    )


def _distillation(spec: StudySpec) -> str:
    section = spec.distillation
    own = _parameters(section, Distillation)
    return _joined(
        f"alpha × cross-entropy with the label + (1 − alpha) × loss, with {_named(spec, 'distillation', 'alpha')} and "
        + ", ".join(
            [_named(spec, "distillation", "loss"), *(_named(spec, "distillation", name) for name in own)],
        ),
        *_others(spec, "distillation", ("loss", "alpha", *own)),
    )


def _others(spec: StudySpec, section: str, said: tuple[str, ...]) -> Iterator[str]:
    """Yield the fields of a section that have not been said, and are searched or differ from their defaults."""
    content = getattr(spec, section)
    for name, field in type(content).model_fields.items():
        is_told = name in said or name in _sources(content)
        is_own = _dimension(spec, section, name) is not None or getattr(content, name) != field.default
        if is_own and not is_told:
            yield _named(spec, section, name)


def _named(spec: StudySpec, section: str, name: str) -> str:
    return f"{name.replace('_', ' ')} {_value(spec, section, name)}"


def _value(spec: StudySpec, section: str, name: str) -> str:
    """Return the value of a field; of one that is searched, that it is."""
    text = value_words(getattr(getattr(spec, section), name))
    dimension = _dimension(spec, section, name)
    if dimension is None:
        return text
    return f"(searched, else {text})" if dimension.when else "(searched)"


def _dimension(spec: StudySpec, section: str, name: str) -> Dimension | None:
    if (section, name) == ("teacher", "model") and "teacher_models" in spec.search:
        return spec.search["teacher_models"]
    return spec.search.get(f"{section}.{name}")


def _parameters(section: SelectingSection, base: type[SelectingSection]) -> list[str]:
    """Return the parameters of what a section selects, such as the width of a network."""
    fields = [name for name in type(section).model_fields if name not in base.model_fields]
    return [name for name in fields if name not in _sources(section)]


def _sources(section: Any) -> tuple[str, ...]:
    """Return the field with the digest of a plug-in's source, which is no setting."""
    return (source_field(section),) if isinstance(section, SelectingSection) else ()


def _own(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value_words(value)}" for name, value in values.items()) or "as above"


def value_words(value: Any) -> str:
    """Return the value of a field as text: yes and no, lists in brackets."""
    if isinstance(value, tuple | list):
        if not value:
            return "none"
        return "[" + ", ".join(map(value_words, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(*parts: str) -> str:
    return "; ".join(parts)
