"""The rules on what changes nothing in a network's recipe, beside other fields of it, and beside other teachers."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kd_sweep.catalogue.selecting_section import section_class
from kd_sweep.study.recipe import Learner
from kd_sweep.study.space.dimensions import searched_models
from kd_sweep.study.space.members import COMMON, ENTRIES, MODELS, entries_used, entry_field, inherits, is_mixed
from kd_sweep.study.spec import StudySpec


class Rule(NamedTuple):
    """Which fields are idle, and when."""

    fields: tuple[str, ...]
    reads: tuple[str, ...]
    """The fields that decide, as arguments of `idle`."""
    idle: Callable[..., bool]
    why: str
    """What follows `has no effect`."""
    everywhere: bool = True
    """Whether a searched field must have an effect in every trial, and not only in some."""


def learner_rules(spec: StudySpec) -> Iterator[Rule]:
    """Yield the rules on the recipes of teachers and student."""
    yield from _of_learner("student")
    if not is_mixed(spec):
        yield from _of_learner(COMMON)
        return
    for rule in _of_learner(COMMON):
        yield from _of_members(spec, rule)
    yield from _inherited(spec)
    for index in range(1, len(spec.teachers)):
        searched = tuple(name for name in spec.search if (field := entry_field(name)) and field.entry == index)
        why = f"in an ensemble of {index}, which takes the first entries of teachers"
        yield Rule(searched, ("ensemble_size",), lambda size, index=index: size <= index, why)


def _of_members(spec: StudySpec, rule: Rule) -> Iterator[Rule]:
    """Yield a rule on a teacher's recipe for each field that teachers have it from: idle if it is with all of them."""
    reads_of: dict[str, list[tuple[str, ...]]] = {}
    for index in (*range(len(spec.teachers)), None):
        if index is None and spec.teachers and MODELS not in spec.search:
            continue
        fields, reads = ([_field(spec, index, name) for name in names] for names in (rule.fields, rule.reads))
        for field in fields:
            reads_of.setdefault(field, []).append(tuple(reads))
    for field, each in reads_of.items():
        width = len(rule.reads)

        def idle(*values: Any, width: int = width) -> bool:
            return all(rule.idle(*values[first : first + width]) for first in range(0, len(values), width))

        yield rule._replace(fields=(field,), reads=tuple(name for reads in each for name in reads), idle=idle)


def _field(spec: StudySpec, index: int | None, name: str) -> str:
    """Return the field that teachers with an entry have `teacher.momentum`, say, from."""
    key = name.removeprefix(f"{COMMON}.")
    return name if inherits(spec, index, key) else f"{ENTRIES}.{index}.{key}"


def _inherited(spec: StudySpec) -> Iterator[Rule]:
    """Yield, for every field of `teacher`, the rule that some teacher has none of its own."""
    read = MODELS if MODELS in spec.search else "ensemble_size"
    listed = {name for models in searched_models(spec) for name in models}
    keys_of = {name: section_class(Learner, (name,)).model_fields.keys() for name in listed}
    for key in type(spec.teacher).model_fields:

        def idle(value: Any, key: str = key) -> bool:
            if read == MODELS:
                entries = [(entry, keys_of[name]) for name in value for entry in entries_used(spec, 1, (name,))]
            else:
                used = entries_used(spec, value, None)
                entries = [(n, type(spec.teachers[n].learner).model_fields.keys()) for n in used if n is not None]
            return not any(inherits(spec, entry, key) and key in keys for entry, keys in entries)

        yield Rule((f"{COMMON}.{key}",), (read,), idle, "where every teacher has its own, or none")


def _of_learner(role: str) -> Iterator[Rule]:
    def of(*keys: str) -> tuple[str, ...]:
        return tuple(f"{role}.{key}" for key in keys)

    yield Rule(
        of("momentum", "nesterov"),
        of("optimizer"),
        lambda optimizer: optimizer != "sgd",
        "with optimizer 'adamw', which has its own; possible: with 'sgd'",
    )
    yield Rule(of("nesterov"), of("momentum"), lambda momentum: momentum == 0, "with momentum 0")
    yield Rule(
        of("milestones", "gamma"),
        of("schedule"),
        lambda schedule: schedule != "step",
        "except with schedule 'step'",
    )
    yield Rule(
        of("milestones"),
        of("milestones", "epochs"),
        lambda milestones, epochs: bool(milestones) and milestones[-1] >= epochs,
        f"beyond the last epoch; possible: milestones below {role}.epochs",
    )
    yield Rule(
        of("schedule", "milestones", "gamma"),
        of("warmup_epochs", "epochs"),
        lambda warmup, epochs: warmup >= epochs,
        f"where {role}.warmup_epochs take all of {role}.epochs; possible: fewer, 0 say",
    )
