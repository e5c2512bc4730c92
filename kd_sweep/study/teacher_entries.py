"""The entries of a study's `teachers`: what some teachers have of their own, over the section that all have in common.

An entry gives some keys of a `teacher` section. What it does not give is as in `teacher`, whatever a search makes of
that.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kd_sweep.catalogue.selecting_section import OTHER_PLUGINS, own_keys, section_class, source_field, stored_class
from kd_sweep.study.recipe import Learner

COMMON = "teacher"
"""The section that all entries have in common. In a study it stands before them."""


@dataclass(frozen=True)
class TeacherEntry:
    """One entry: a network and the recipe that trains it."""

    learner: Learner
    """With what the common section gives."""
    given: frozenset[str]
    """The keys that the entry gives itself."""

    @property
    def own(self) -> dict[str, Any]:
        """What the entry gives itself, by its keys."""
        return {key: getattr(self.learner, key) for key in type(self.learner).model_fields if key in self.given}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate a mapping over the common section of the study, and write down what it gave."""
        return core_schema.with_info_plain_validator_function(
            _entry, serialization=core_schema.plain_serializer_function_ser_schema(_written)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of any mapping; `study.file.json_schema` knows the keys."""
        return {"type": "object"}


@lru_cache(maxsize=4096)
def learner_over(common: Learner, own: tuple[tuple[str, Any], ...]) -> Learner:
    """Return a teacher's section: ``common`` with what one teacher has of its own.

    Parameters of the network that ``common`` was given are kept where the teacher's network has them too.

    Args:
        common: of all teachers.
        own: (key, canonical value) pairs.

    Raises:
        ValidationError: values that a section cannot have.
    """
    given = dict(own)
    model = _class_of(common, given)
    kept = {key: getattr(common, key) for key in _kept(common, model, given)}
    learner: Learner = model(**{key: value for key, value in {**kept, **given}.items() if key in model.model_fields})
    return learner


def _entry(value: Any, info: ValidationInfo) -> TeacherEntry:
    if isinstance(value, TeacherEntry):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("model_type", "Input should be an object")
    common = info.data.get(COMMON, Learner())
    others = (info.context or {}).get(OTHER_PLUGINS, False)
    model: type[Any] = stored_class(Learner, value, others=others) or _class_of(common, value)
    own = own_keys(model, value)
    inherited = common.model_dump(mode="json", include=_kept(common, model, own))
    return TeacherEntry(
        model.model_validate_json(json.dumps({**inherited, **own})), frozenset(own) - {source_field(Learner)}
    )


def _class_of(common: Learner, own: Mapping[str, Any]) -> type[Any]:
    """Return the class of a teacher's section; where it names no other network, that of the common one."""
    name = own.get(Learner.selector, common.model)
    return type(common) if name == common.model else section_class(Learner, (name,))


def _kept(common: Learner, model: type[Learner], own: Mapping[str, Any]) -> set[str]:
    """Return the keys of the common section that hold for a teacher of a class which has others of its own.

    A parameter at its default is left out where the network is another: it may have another default there.
    """
    fields = type(common).model_fields
    kept = set(fields)
    if model is not type(common):
        kept &= model.model_fields.keys() - {source_field(Learner), Learner.selector}
        kept = {key for key in kept if key in Learner.model_fields or getattr(common, key) != fields[key].default}
    return kept - own.keys() - ({"weights_digest"} if "weights" in own else set())


def _written(entry: TeacherEntry) -> dict[str, Any]:
    keys = set(entry.given)
    if Learner.selector in keys and entry.learner.source is not None:
        keys.add(source_field(Learner))
    content = entry.learner.model_dump(mode="json")
    return {key: value for key, value in content.items() if key in keys}
