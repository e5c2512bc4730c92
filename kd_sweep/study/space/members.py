"""The members of a mixed ensemble: which entry of a study's `teachers` each has, and what a search makes of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from kd_sweep.errors import SpecError
from kd_sweep.study.file.messages import value_rule
from kd_sweep.study.recipe import Learner
from kd_sweep.study.spec import StudySpec, Value
from kd_sweep.study.teacher_entries import learner_over
from kd_sweep.study.trial import TrialConfig

ENTRIES, COMMON, MODELS = "teachers", "teacher", "teacher_models"
_FIELD = re.compile(rf"{ENTRIES}\.(0|[1-9]\d?)(?:\.(\w+))?")


class EntryField(NamedTuple):
    """A field of one entry: `teachers.0.learning_rate`."""

    entry: int
    """Its index, from 0, as in every list of a study file."""
    key: str


def entry_section(name: str) -> int | None:
    """Return the index of the entry that a section is, such as `teachers.0`; None for other sections."""
    match = _FIELD.fullmatch(name)
    return int(match[1]) if match and match[2] is None else None


def entry_field(name: str) -> EntryField | None:
    """Return which field of which entry a search names; None for other fields."""
    match = _FIELD.fullmatch(name)
    return EntryField(int(match[1]), match[2]) if match and match[2] is not None else None


def entry_of_member(spec: StudySpec, member: int, models: Any) -> int | None:
    """Return the index of the entry that a teacher has; None where it has what all have in common.

    Args:
        spec: the study.
        member: the teacher's number, from 0.
        models: the trial's `teacher_models`; None where the study searches none.
    """
    if models is None:
        return member % len(spec.teachers) if spec.teachers else None
    indices = (index for index, entry in enumerate(spec.teachers) if entry.learner.model == models[member])
    return next(indices, None)


def own_of_member(spec: StudySpec, member: int, point: Mapping[str, Value]) -> tuple[tuple[str, Any], ...]:
    """Return what a teacher has of its own, over the common section: keys and values, of equal teachers the same."""
    models: Any = point.get(MODELS)
    index = entry_of_member(spec, member, models)
    own: dict[str, Any] = {} if index is None else spec.teachers[index].own
    for name, value in point.items():
        field = entry_field(name)
        if field is not None and field.entry == index:
            own[field.key] = value
    if models is not None:
        own[Learner.selector] = models[member]
    return tuple(sorted(own.items()))


def learners_of(spec: StudySpec, common: Learner, size: int, point: Mapping[str, Value]) -> tuple[Learner, ...]:
    """Return the section of each teacher of a trial, member 1 first.

    Args:
        spec: the study.
        common: the trial's `teacher`, as its search has it.
        size: how many teachers.
        point: the trial's values by the names of dimensions.

    Raises:
        SpecError: values that a section cannot have.
    """
    return tuple(_learner(common, own_of_member(spec, member, point)) for member in range(size))


def _learner(common: Learner, own: tuple[tuple[str, Any], ...]) -> Learner:
    try:
        return learner_over(common, own) if own else common
    except ValidationError as error:
        together = ", ".join(f"{key} {value}" for key, value in own)
        rule = value_rule(error.errors(include_url=False)[0])
        raise SpecError(f"no teacher can have {together}: {rule}") from None


def is_mixed(spec: StudySpec) -> bool:
    """Return whether teachers of a study can differ in more than strength and number."""
    return bool(spec.teachers) or MODELS in spec.search


def inherits(spec: StudySpec, index: int | None, key: str) -> bool:
    """Return whether teachers with an entry have a key of the common section; None is that of no entry."""
    if key == Learner.selector and MODELS in spec.search:
        return False
    if index is None:
        return True
    return key not in spec.teachers[index].given and f"{ENTRIES}.{index}.{key}" not in spec.search


def value_in(spec: StudySpec, trial: TrialConfig, name: str) -> Any:
    """Return the trial's value of a field that ``spec`` searches, as `TrialConfig.at`.

    A field of an entry is that of the teachers that have the entry, one of `teacher` that of those that have none of
    their own. None where there is no such teacher.
    """
    section, _, key = name.rpartition(".")
    index = entry_section(section)
    if not is_mixed(spec) or (index is None and section != COMMON):
        return trial.at(name)
    models = trial.teacher_models if MODELS in spec.search else None
    for member, learner in enumerate(trial.learners):
        entry = entry_of_member(spec, member, models)
        having = entry == index if index is not None else inherits(spec, entry, key)
        if having and hasattr(learner, key):
            return getattr(learner, key)
    return None


def entries_used(spec: StudySpec, size: int, models: Any) -> Iterator[int | None]:
    """Yield the entry of each teacher of an ensemble, each once."""
    yield from dict.fromkeys(entry_of_member(spec, member, models) for member in range(size))


def teacher_recipe(spec: StudySpec, member: int, model: str | None) -> tuple[Learner, set[str]]:
    """Return the section of a teacher as it is outside the search, and the keys of it that every trial has from that.

    Args:
        spec: the study.
        member: the teacher's number, from 0.
        model: of the teacher; needed where `search.teacher_models` decides by it.
    """
    models = (model,) * (member + 1) if MODELS in spec.search else None
    entry = entry_of_member(spec, member, models)
    learner = _learner(spec.teacher, own_of_member(spec, member, {} if models is None else {MODELS: models}))
    always = {name for name, dimension in spec.search.items() if not dimension.when}
    searched = {
        key
        for key in type(learner).model_fields
        if f"{ENTRIES}.{entry}.{key}" in always or (inherits(spec, entry, key) and f"{COMMON}.{key}" in always)
    }
    return learner, searched | ({Learner.selector} if models is not None else set())
