"""The rules on a study's `teachers` and its ensembles: every entry is some teacher's, and every teacher is possible."""

import itertools
from typing import Any

from kd_sweep.errors import SpecError
from kd_sweep.study.file.messages import RuleError
from kd_sweep.study.recipe import SHARED_EPOCHS, Learner, sharing_mistake
from kd_sweep.study.space.conditions import Conditions
from kd_sweep.study.space.dimensions import (
    extremes,
    fixed_value,
    listed_values,
    searched_ensembles,
    searched_models,
)
from kd_sweep.study.space.fields_without_effect import MAX_COMBINATIONS
from kd_sweep.study.space.members import COMMON, ENTRIES, MODELS, entry_field, is_mixed, learners_of
from kd_sweep.study.space.searchable_fields import changed_section, search_field
from kd_sweep.study.space.sections import EPOCHS
from kd_sweep.study.spec import StudySpec

SELECTOR = Learner.selector


def check_entry(spec: StudySpec, name: str) -> None:
    """Check that a dimension which is a field of an entry is one of an entry that there is.

    Raises:
        RuleError: it is not.
    """
    field = entry_field(name)
    if field is None:
        return
    count = len(spec.teachers)
    if field.entry >= count:
        there = f"has {count} (counted from 0)" if count else "the study has not"
        raise RuleError(("search", name), f"is a field of entry {field.entry} of teachers, which {there}")
    is_parameter = field.key not in Learner.model_fields
    if is_parameter and f"{COMMON}.{SELECTOR}" in spec.search and SELECTOR not in spec.teachers[field.entry].given:
        rule = f"is of a model that teacher.{SELECTOR} decides on, which is searched; give the entry a model of its own"
        raise RuleError(("search", name), rule)


def check_teachers(spec: StudySpec) -> None:
    """Check that every entry of `teachers` is some teacher's, and that no teacher could have two.

    Raises:
        RuleError: the first mistake.
    """
    if MODELS in spec.search:
        _check_models(spec)
        return
    largest = int(extremes(spec, "ensemble_size")[1])
    if len(spec.teachers) > largest:
        entries = "entry" if largest == 1 else "entries"
        rule = f"has no effect: no ensemble is larger than {largest}, and those take the first {largest} {entries}"
        raise RuleError((ENTRIES, largest), rule)


def _check_models(spec: StudySpec) -> None:
    if spec.search[MODELS].when:
        raise RuleError(("search", MODELS, "when"), "is not possible here: a trial without it would have no teachers")
    for name in spec.search:
        if name == f"{COMMON}.{SELECTOR}" or entry_field(name) is not None:
            other = "names the model of every teacher" if entry_field(name) is None else "decides who has which entry"
            raise RuleError(("search", name), f"stands beside search.{MODELS}, which {other}; leave one of the two out")
    ensembles = searched_models(spec)
    for index, entry in enumerate(spec.teachers):
        model = entry.learner.model
        if model in [earlier.learner.model for earlier in spec.teachers[:index]]:
            rule = f"{model!r} has an entry already; with search.{MODELS} a model has one"
            raise RuleError((ENTRIES, index, SELECTOR), rule)
        if not any(model in ensemble for ensemble in ensembles):
            raise RuleError((ENTRIES, index), f"has no effect: no ensemble of search.{MODELS} has a {model!r}")
    sizes = {len(ensemble) for ensemble in (*ensembles, *searched_ensembles(spec))}
    if searched_ensembles(spec) and len(sizes) > 1:
        listed = ", ".join(map(str, sorted(sizes)))
        rule = f"has to have lists of one length with search.teacher_strengths beside it; they have {listed}"
        raise RuleError(("search", MODELS), rule)


def check_shared_epochs(spec: StudySpec) -> None:
    """Check that the teachers of every ensemble can share the epochs of one, where a trial asks for it.

    Raises:
        RuleError: the first that cannot.
    """
    largest = int(extremes(spec, "ensemble_size")[1])
    if SHARED_EPOCHS not in _values(spec, EPOCHS) or largest == 1:
        return
    path = ("search", EPOCHS) if EPOCHS in spec.search else tuple(EPOCHS.split("."))
    for section in (COMMON, *(f"{ENTRIES}.{index}" for index in range(len(spec.teachers)))):
        schedule = "step" if "step" in _values(spec, f"{section}.schedule") else "cosine"
        if mistake := sharing_mistake(int(extremes(spec, f"{section}.epochs")[0]), schedule, largest):
            raise RuleError(path, mistake)


def _values(spec: StudySpec, name: str) -> list[Any]:
    """Return every value that trials can have in a field that is no number."""
    listed: list[Any] = list(listed_values(spec.search[name])) if name in spec.search else []  # type: ignore[arg-type]
    return [*listed, fixed_value(spec, name)]


def check_recipes(spec: StudySpec) -> None:
    """Check that every combination of what is searched of teachers is a recipe that a teacher can have.

    Raises:
        RuleError: the first that is none.
    """
    if not is_mixed(spec):
        return
    fields = [search_field(name) for name in spec.search]
    names = [
        field.name for field in fields if field.section == COMMON or field.name == MODELS or entry_field(field.name)
    ]
    conditions = Conditions(spec)
    possible = {name: conditions.corners(name) for name in conditions.closed(names)}
    for point in itertools.islice(conditions.points(possible), MAX_COMBINATIONS):
        of_common = [field for field in fields if field.section == COMMON and field.name in point]
        changes = tuple((field.key, point[field.name]) for field in of_common)
        common = changed_section(spec.teacher, changes) if changes else spec.teacher
        models = point.get(MODELS)
        size = len(models) if isinstance(models, tuple) else len(spec.teachers)
        try:
            learners_of(spec, common, size, point)  # type: ignore[arg-type]
        except SpecError as error:
            path = ("search", names[0]) if names else (ENTRIES,)
            raise RuleError(path, str(error)) from None
