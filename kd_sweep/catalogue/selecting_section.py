"""Sections of a study in which one key selects a catalogue entry, whose parameters are further keys of the section.

The class of a section is made for the entry that it selects: the section's own fields, then the entry's parameters. So
defaults, limits, errors, the study's schema and the ids of trials follow from the entry.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, GetCoreSchemaHandler, ValidationError, ValidationInfo, create_model
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from kd_sweep.catalogue.entries import Entry, entries_of, entry_names
from kd_sweep.catalogue.kinds import Kind
from kd_sweep.catalogue.lookup import entry_of, unknown
from kd_sweep.catalogue.parameters import Parameters, Strict
from kd_sweep.catalogue.source import entry_source
from kd_sweep.errors import PluginError, alternatives

SEARCHED = "searched"
"""Key of pydantic's validation context: the names that a study's search gives each dotted selector."""


OTHER_PLUGINS = "other_plugins"
"""Key of it: whether a study is read whose plug-ins are loaded in another version."""
UNKNOWN_ENTRY, BROKEN_RULE, NO_PARAMETER = "unknown_entry", "broken_rule", "no_parameter"
"""Types of pydantic errors whose context holds the rule as `error`. After the last the value is to be shown first."""


class SelectingSection(Strict):
    """Base of such sections. A subclass has a field of type str, with a default, for the entry's name."""

    kind: ClassVar[Kind]
    selector: ClassVar[str]
    """Name of that field."""
    source_key: ClassVar[str | None] = None
    """Own field that says more of a plug-in's entry than its source; None: a field is added that holds the source."""
    searchable: ClassVar[bool] = True
    """Whether a study can search the entry and its parameters."""
    word: ClassVar[str] = ""
    """Of a section that is there to select an entry: what messages call it. It says which, and has keys of that one
    alone."""
    base: ClassVar[type["SelectingSection"] | None] = None
    """Of a class that was made for entries: the section as it is written in code."""

    def __new__(cls, **content: Any) -> Self:
        """Make an instance of the class for the entry that ``content`` selects."""
        if cls.base is not None:
            return super().__new__(cls)
        name = content.get(cls.selector, cls.model_fields[cls.selector].default)
        instance: Self = super().__new__(section_class(cls, (name,)))
        return instance

    def __reduce__(self) -> Any:
        return _restored, (self.base, self.model_dump_json())

    @property
    def entry(self) -> Entry:
        """The entry that is selected.

        Raises:
            PluginError: its plug-in is not loaded.
        """
        name = getattr(self, self.selector)
        entry = entry_of(self.kind, name)
        if entry is None:
            raise PluginError(f"{self.kind.name}: {unknown(self.kind, name)}")
        if self.source is not None and self.source != entry_source(entry):
            raise PluginError(f"{self.kind.name}: the plug-in of {name!r} is another version here than {self.source}")
        return entry

    def parameters(self) -> dict[str, Any]:
        """Return the entry's parameters, and its source where it has one, as JSON values by their keys."""
        own = self.base.model_fields if self.base is not None else {}
        return self.model_dump(mode="json", exclude=set(own))

    @property
    def source(self) -> str | None:
        """Version and digest of the source of an entry of a plug-in; None where it is built in, or not known by it."""
        source: str | None = None if self.source_key else getattr(self, source_field(self), None)
        return source

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return the section with some fields replaced, of one entry.

        Parameters that the section was given, and that the entry has too, are kept. Changes of parameters that the
        entry does not have are ignored: a study may search those of several.

        Raises:
            ValidationError: values that the section cannot have.
        """
        base = self.base or type(self)
        name = changes.get(self.selector, getattr(self, self.selector))
        model = section_class(base, (name,))
        own = base.model_fields.keys()
        kept = {
            key: getattr(self, key) for key in type(self).model_fields if key in own or key in self.model_fields_set
        }
        if name != getattr(self, self.selector):
            kept.pop(source_field(base), None)
        content = {key: value for key, value in {**kept, **changes}.items() if key in model.model_fields}
        section: Self = model(**content)
        return section


class Selected:
    """Annotation of a field that holds such a section, as `Annotated[SerializeAsAny[Distillation], Selected()]`."""

    def __get_pydantic_core_schema__(self, source: type[SelectingSection], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate a mapping by the class of the entry that it selects."""
        base = source

        def select(value: Any, inner: Any, info: ValidationInfo) -> Any:
            if not isinstance(value, dict):
                return inner(value)
            context = info.context or {}
            searched = context.get(SEARCHED, {}).get(f"{info.field_name}.{base.selector}", ())
            stored = stored_class(base, value, searched, context.get(OTHER_PLUGINS, False))
            if stored is not None:
                return _validated(stored, value, info.mode)
            name = value.get(base.selector, base.model_fields[base.selector].default)
            # What is no entry is refused where it stands, in the search.
            known = [other for other in searched if entry_of(base.kind, other) is not None]
            if base.word and base.selector not in value:
                raise _mistake(base, base.selector, value, BROKEN_RULE, f"is missing; {_possible(base)}")
            model = section_class(base, (name, *known))
            return _validated(model, own_keys(model, value), info.mode)

        return core_schema.with_info_wrap_validator_function(select, handler(source))


def stored_class(
    base: type[SelectingSection], content: Mapping[str, Any], searched: Sequence[str] = (), others: bool = False
) -> type[SelectingSection] | None:
    """Return the class for a section as it was stored whose plug-in is not loaded here, or not in that version.

    Its parameters are taken as they are: whoever only reads results needs no plug-in.

    Args:
        base: the section.
        content: what was stored.
        searched: the entries that a study searches.
        others: whether the plug-ins that are loaded are other versions than the study's.
    """
    name, source = content.get(base.selector), content.get(source_field(base))
    of_plugins = [one for one in (name, *searched) if isinstance(one, str) and ":" in one]
    if any(_is_missing(base, one) or others for one in searched if one in of_plugins):
        return _class_of_keys(base, tuple(key for key in content if key not in base.model_fields))
    if name not in of_plugins or not isinstance(source, str):
        return None
    entry = entry_of(base.kind, name)
    if entry is not None and (base.source_key is not None or entry_source(entry) == source):
        return None
    return _class_of_keys(base, tuple(key for key in content if key not in base.model_fields))


def _is_missing(base: type[SelectingSection], name: str) -> bool:
    return entry_of(base.kind, name) is None


@cache
def _class_of_keys(base: type[SelectingSection], keys: tuple[str, ...]) -> type[SelectingSection]:
    fields: dict[str, Any] = {key: (Annotated[Any, AfterValidator(_as_tuples)], ...) for key in keys}
    make: Any = create_model  # mypy knows no keys that are computed
    model = make(base.__name__, __base__=base, __module__=base.__module__, **fields)
    model.base = base
    model.__doc__ = base.__doc__
    made: type[SelectingSection] = model
    return made


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def source_field(section: type[SelectingSection] | SelectingSection) -> str:
    """Return the key under which a section of a plug-in's entry holds its source: `loss_source`."""
    return section.source_key or f"{section.selector}_source"


def section_class(base: type[SelectingSection], names: Sequence[Any]) -> type[Any]:
    """Return the class of a section that may select any of ``names``.

    Raises:
        ValidationError: there is no such entry, at the selector.
    """
    entries = []
    for name in names:
        if not isinstance(name, str):
            raise _mistake(base, base.selector, name, "string_type", "")
    for name in dict.fromkeys(names):
        entry = entry_of(base.kind, name)
        if entry is None:
            raise _mistake(base, base.selector, name, UNKNOWN_ENTRY, _unknown(base, name))
        entries.append(entry)
    return _class_for(base, tuple(entries))


@cache
def _class_for(base: type[SelectingSection], entries: tuple[Entry, ...]) -> type[SelectingSection]:
    parameters = tuple(dict.fromkeys(entry.parameters for entry in entries))
    _check_parameters(base, entries)
    fields: dict[str, Any] = {}
    if len(entries) == 1 and not entries[0].is_built_in and base.source_key is None:
        fields[source_field(base)] = (str, entry_source(entries[0]))
    bases: Any = (*_most_derived(parameters), base)
    make: Any = create_model  # mypy knows no base classes that are computed
    model = make(base.__name__, __base__=bases, __module__=base.__module__, **fields)
    model.base = base
    model.__doc__ = base.__doc__
    made: type[SelectingSection] = model
    return made


def _most_derived(classes: tuple[type[Parameters], ...]) -> list[type[Parameters]]:
    """Leave out classes of which another one is a subclass: Python knows no order for the two."""
    return [one for one in classes if not any(other is not one and issubclass(other, one) for other in classes)]


def own_keys(section: type[SelectingSection], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content`` without the parameters of other entries, which may stand there at their defaults.

    Raises:
        ValidationError: one has another value; the message says which entries have such a parameter.
    """
    base = section.base
    if base is None:
        return dict(content)
    unknown_key = next((key for key in content if key not in section.model_fields), None)
    if section.word and unknown_key is not None:
        rule = f"unknown key, {alternatives(unknown_key, section.model_fields.keys() - {source_field(section)})}"
        raise _mistake(section, unknown_key, content[unknown_key], BROKEN_RULE, rule)
    foreign = {key: having for key in content.keys() - section.model_fields if (having := entries_with(base, key))}
    for key, value in content.items():
        if key in foreign and not _is_default(foreign[key][0].parameters, key, value):
            name = content.get(section.selector, section.model_fields[section.selector].default)
            entry = entry_of(base.kind, name)
            refusal = entry.family.refusal if entry is not None and entry.family is not None else None
            if refusal is not None and (why := refusal(name)) is not None:
                raise _mistake(section, section.selector, name, UNKNOWN_ENTRY, why)
            possible = " or ".join(entry.wording for entry in foreign[key])
            rule = f"has no effect with {section.selector} {name!r}; possible: with {possible}"
            raise _mistake(section, key, value, NO_PARAMETER, rule)
    return {key: value for key, value in content.items() if key not in foreign}


def _is_default(parameters: type[Parameters], key: str, value: Any) -> bool:
    if value == parameters.model_fields[key].default:
        return True
    try:
        given = parameters.model_validate_json(json.dumps({key: value}))
    except (ValidationError, TypeError):
        return False
    return bool(getattr(given, key) == parameters.model_fields[key].default)


def parameters_of_all(base: type[SelectingSection]) -> Mapping[str, tuple[type[Parameters], ...]]:
    """Return the parameters of all entries that a section can select by name, each with the classes that have it."""
    return _parameters(base, tuple(entries_of(base.kind)))


@cache
def _parameters(base: type[SelectingSection], entries: tuple[Entry, ...]) -> dict[str, tuple[type[Parameters], ...]]:
    _check_parameters(base, entries)
    classes: dict[str, tuple[type[Parameters], ...]] = {}
    for parameters in dict.fromkeys(entry.parameters for entry in entries):
        for key in parameters.model_fields:
            classes[key] = (*classes.get(key, ()), parameters)
    return classes


def entries_with(base: type[SelectingSection], key: str) -> list[Entry]:
    """Return the entries that have this parameter."""
    return [entry for entry in entries_of(base.kind) if key in entry.parameters.model_fields]


def _check_parameters(base: type[SelectingSection], entries: Sequence[Entry]) -> None:
    for entry in entries:
        for key in entry.parameters.model_fields:
            if key in base.model_fields:
                raise PluginError(
                    f"{base.kind.name} {entry.name!r}: its parameter {key!r} is a key of every {base.kind.name}"
                )
            if key.endswith("_source"):
                raise PluginError(f"{base.kind.name} {entry.name!r}: its parameter {key!r} ends as keys of versions do")


def _mistake(base: type[SelectingSection], key: str, value: Any, kind: str, rule: str) -> ValidationError:
    problem: Any = kind if kind == "string_type" else PydanticCustomError(kind, "{error}", {"error": rule})
    return ValidationError.from_exception_data(base.__name__, [InitErrorDetails(type=problem, loc=(key,), input=value)])


def _validated(model: type[SelectingSection], value: Mapping[str, Any], mode: str) -> SelectingSection:
    return model.model_validate_json(json.dumps(value)) if mode == "json" else model.model_validate(value)


def _unknown(base: type[SelectingSection], name: str) -> str:
    if not base.word or ":" in name:
        return unknown(base.kind, name)
    return f"unknown {base.word} {name!r}, {alternatives(name, entry_names(base.kind))}"


def _possible(base: type[SelectingSection]) -> str:
    return f"possible: {', '.join(entry_names(base.kind))}"


def _restored(base: type[SelectingSection], content: str) -> SelectingSection:
    fields = json.loads(content)
    model = stored_class(base, fields)
    if model is not None:
        return model.model_validate_json(content)
    section: SelectingSection = section_class(base, (fields[base.selector],)).model_validate_json(content)
    return section
