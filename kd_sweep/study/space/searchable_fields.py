"""The fields of a trial that a study can search: their names, kinds and limits, and values in canonical form."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from kd_sweep.catalogue.entries import Entry, plugin_entries
from kd_sweep.catalogue.lookup import entry_of, unknown
from kd_sweep.catalogue.parameters import Strict
from kd_sweep.catalogue.selecting_section import SelectingSection, entries_with, parameters_of_all
from kd_sweep.errors import PluginError, SpecError, alternatives
from kd_sweep.study.file.messages import NAMES, NUMBERS, value_rule
from kd_sweep.study.identity import SECTIONS
from kd_sweep.study.recipe import Data, Learner
from kd_sweep.study.space.members import COMMON, ENTRIES, MODELS, entry_field, entry_section
from kd_sweep.study.space.settings import SearchSettings
from kd_sweep.study.spec import Value
from kd_sweep.study.trial import SEED_LEVELS, TrialConfig

Kind = Literal["whole number", "number", "text", "true or false", "a list of numbers", "a list of models"]

LIST_FIELDS: Mapping[str, Kind] = {"teacher_strengths": "a list of numbers", MODELS: "a list of models"}
"""Fields whose values are lists."""
NEVER_NULL = frozenset({*LIST_FIELDS, "student_strength", *SEED_LEVELS})
"""Fields whose null stands for a value that another field has: a search names the value itself."""
FIXED_FIELDS = frozenset(
    {
        *("data.name", "data.fingerprint"),
        *(f"{role}.{field}" for role in ("teacher", "student") for field in ("weights", "weights_digest")),
    }
)
"""A study has one dataset, and each network one file of weights: their digests are taken once, at launch."""

KINDS: dict[type, Kind] = {bool: "true or false", int: "whole number", float: "number", str: "text"}
SIGNIFICANT_DIGITS = 12


@dataclass(frozen=True)
class SearchField:
    """One field of a section or of `SearchSettings`: a scalar, or one of the lists `LIST_FIELDS`."""

    name: str
    """`augmentation_strength` or dotted: `student.learning_rate`, `teachers.0.learning_rate`."""
    section: str | None
    """What is before the last dot of a dotted name."""
    key: str
    """The last part."""
    kind: Kind
    adapter: TypeAdapter[Any]
    """Checks a value by the field's own limits."""

    def canonical(self, value: Any) -> Value:
        """Return ``value`` as a trial holds it: a float where the field is a float, of 12 significant digits.

        Every sampler's values come through here, so that 0.1 + 0.2 and 0.3 are one trial whoever drew them.

        Raises:
            ValueError: the value breaks the field's limits; the message is the rule, `0 is not at least 1`.
        """
        value = tuple(map(_rounded, value)) if isinstance(value, list | tuple) else _rounded(value)
        try:
            checked: Value = self.adapter.validate_python(value)
        except ValidationError as error:
            example = NAMES if self.kind == "a list of models" else NUMBERS
            raise ValueError(value_rule(error.errors(include_url=False)[0], example=example)) from None
        return checked


def _rounded(value: Any) -> Any:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


def search_fields() -> Mapping[str, SearchField]:
    """Return every field that `search` may vary, by name: also the parameters of all entries that can be selected."""
    return _fields(plugin_entries())  # once for each set of them: a search asks at every value


def section_base(name: str) -> type[Strict]:
    """Return the class of a section of a trial, as it is without the parameters of an entry.

    That of an entry of `teachers`, `teachers.0` say, is that of a teacher.
    """
    if entry_section(name) is not None:
        return Learner
    section: type[Strict] = type(TrialConfig.model_fields[name].default)
    return section.base if issubclass(section, SelectingSection) and section.base is not None else section


def selector_of(name: str) -> str | None:
    """Return the field that selects the entry whose parameter this is: `distillation.loss`; None for other fields."""
    section, _, key = name.rpartition(".")
    base = section_base(section) if section else Strict
    if not issubclass(base, SelectingSection) or key in base.model_fields:
        return None
    return f"{section}.{base.selector}"


def entries_having(name: str) -> list[Entry]:
    """Return the entries that have a parameter, `distillation.temperature` say."""
    section, _, key = name.rpartition(".")
    base = section_base(section)
    return entries_with(base, key) if issubclass(base, SelectingSection) else []


def is_parameter_of(name: str, value: Value) -> bool:
    """Return whether the entry that the selector's ``value`` names has a parameter, `distillation.temperature` say."""
    section, _, key = name.rpartition(".")
    base = section_base(section)
    entry = entry_of(base.kind, value) if issubclass(base, SelectingSection) and isinstance(value, str) else None
    return entry is not None and key in entry.parameters.model_fields


@lru_cache(maxsize=8)
def _fields(_plugins: tuple[Entry, ...]) -> Mapping[str, SearchField]:
    fields: dict[str, SearchField] = {}
    for name in SECTIONS:
        base = section_base(name)
        for key, field in base.model_fields.items():
            rules = [_selectable(base)] if issubclass(base, SelectingSection) and key == base.selector else []
            _add(fields, name, key, field.annotation, [*field.metadata, *rules])
        of_entries = parameters_of_all(base) if issubclass(base, SelectingSection) and base.searchable else {}
        for key, classes in of_entries.items():
            infos = [parameters.model_fields[key] for parameters in classes]
            if len(kinds := {_kind(info.annotation) or "a list or mapping" for info in infos}) > 1:
                both = " and ".join(sorted(kinds))
                raise PluginError(f"plugins: {name}.{key} is {both}, in different entries; one has to be renamed")
            _add(fields, name, key, *_of_any(infos))
    for name, field in SearchSettings.model_fields.items():
        _add(fields, None, name, field.annotation, field.metadata)
    return fields


def _of_any(infos: Sequence[FieldInfo]) -> tuple[Any, list[Any]]:
    """Return annotation and rules of a parameter of several entries: what one of them takes.

    Whether the entry that a trial selects takes it is checked with its whole section.
    """
    if len({repr((info.annotation, info.metadata)) for info in infos}) == 1:
        return infos[0].annotation, infos[0].metadata
    kinds = [_limited(info.annotation, info.metadata) for info in infos]
    return typing.Union[tuple(kinds)], [Field(union_mode="left_to_right")]  # noqa: UP007 - it is computed


def _limited(annotation: Any, rules: Sequence[Any]) -> Any:
    for rule in rules:
        annotation = typing.Annotated[annotation, rule]
    return annotation


def search_field(name: str) -> SearchField:
    """Return the field called ``name``.

    Raises:
        SpecError: there is none, with the nearest right name.
    """
    field = known_field(name)
    if field is None:
        raise SpecError(unknown_field(name))
    return field


@lru_cache(maxsize=4096)
def _field_of_entry(name: str, common: SearchField) -> SearchField:
    return replace(common, name=name, section=name.rpartition(".")[0])


def known_field(name: str) -> SearchField | None:
    """Return the field called ``name``, a field of an entry of `teachers` too; None where there is none."""
    own = entry_field(name)
    if own is None:
        return search_fields().get(name)
    common = search_fields().get(f"{COMMON}.{own.key}") if own.key != Learner.selector else None
    return None if common is None else _field_of_entry(name, common)


def unknown_field(name: str) -> str:
    """Return why ``name`` cannot be searched, and what can."""
    if (own := entry_field(name)) is not None and own.key == Learner.selector:
        return "cannot be searched; write the ensembles as search.teacher_models, a list of models for each"
    if own is not None or name.partition(".")[0] == ENTRIES:
        index = own.entry if own is not None else 0
        keys = [other.rpartition(".")[2] for other in search_fields() if other.startswith(f"{COMMON}.")]
        possible = [f"{ENTRIES}.{index}.{key}" for key in keys if key != Learner.selector]
        return f"cannot be searched, {alternatives(name, possible)}"
    section, _, key = name.partition(".")
    of_dataset = section == "data" and key in parameters_of_all(Data)
    fixed = "a study has one dataset, " if name in FIXED_FIELDS or of_dataset else ""
    near = [other for other in search_fields() if other.startswith(f"{section}.")] if "." in name else []
    top = [other for other in search_fields() if "." not in other]
    dotted = [other for other in search_fields() if other.endswith(f".{name}")]
    if dotted:
        return f"is not a field of a trial; possible: {', '.join(dotted)}"
    return f"cannot be searched, {fixed}{alternatives(name, near or [*top, 'distillation.temperature'])}"


@lru_cache(maxsize=4096)
def changed_section(base: Strict, changes: tuple[tuple[str, Value], ...]) -> Strict:
    """Return a section with some fields replaced; equal changes give one object, which a million trials can share.

    Args:
        base: `spec.student`, for example.
        changes: (key, canonical value) pairs.

    Raises:
        ValueError: the values cannot go together; the message is the rule.
    """
    try:
        if isinstance(base, SelectingSection):
            return base.changed(dict(changes))
        return type(base)(**{key: getattr(base, key) for key in type(base).model_fields} | dict(changes))
    except ValidationError as error:
        raise ValueError(value_rule(error.errors(include_url=False)[0])) from None


def _add(fields: dict[str, SearchField], section: str | None, key: str, annotation: Any, metadata: list[Any]) -> None:
    name = f"{section}.{key}" if section else key
    kind = LIST_FIELDS.get(name) or _kind(annotation)
    if kind is None or name in FIXED_FIELDS:
        return
    limited: Any = _never_null(annotation) if name in NEVER_NULL else annotation
    for rule in metadata:
        limited = typing.Annotated[limited, rule]
    adapter: TypeAdapter[Any] = TypeAdapter(limited, config=ConfigDict(strict=True, allow_inf_nan=False))
    fields[name] = SearchField(name, section, key, kind, adapter)


def _selectable(base: type[SelectingSection]) -> AfterValidator:
    """Return the rule that a value names an entry."""

    def check(name: str) -> str:
        if entry_of(base.kind, name) is None:
            raise ValueError(unknown(base.kind, name))
        return name

    return AfterValidator(check)


def _never_null(annotation: Any) -> Any:
    return next(part for part in typing.get_args(annotation) if part is not type(None))


def _kind(annotation: Any) -> Kind | None:
    """Return the kind of scalar that an annotation such as ``int | None`` holds; None for lists and mappings."""
    if annotation in KINDS:
        return KINDS[annotation]
    origin = typing.get_origin(annotation)
    parts = typing.get_args(annotation)
    if origin is Literal:
        return KINDS[type(parts[0])]
    if origin is typing.Annotated:
        return _kind(parts[0])
    if origin in (tuple, list, dict, set):
        return None
    kinds = {_kind(part) for part in parts if part is not type(None)}
    return kinds.pop() if len(kinds) == 1 else None
