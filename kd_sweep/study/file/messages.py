"""Messages for what pydantic refuses, in one line of plain words: rule, value and alternatives."""

import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kd_sweep.catalogue.selecting_section import (
    BROKEN_RULE,
    NO_PARAMETER,
    UNKNOWN_ENTRY,
    SelectingSection,
    parameters_of_all,
)
from kd_sweep.errors import SpecError, alternatives
from kd_sweep.study.file.yaml_reader import KeyPath, shown, written
from kd_sweep.study.recipe import Learner
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.settings import SearchSettings
from kd_sweep.study.spec import (
    DIMENSION_KINDS,
    Choice,
    Grid,
    IntRange,
    StudySpec,
    Uniform,
)

DIMENSIONS: dict[str, type[BaseModel]] = {"grid": Grid, "choice": Choice, "uniform": Uniform, "int": IntRange}
NUMBERS, NAMES, ENTRIES = "[1, 2]", "[resnet8, resnet14]", "[{model: resnet8}, {model: resnet14}]"
"""Lists as examples in messages."""
SEARCH_NAMES = tuple(SearchSettings.model_fields)


class RuleError(SpecError):
    """A spec breaks a rule at ``path``. Whoever knows the file adds the line."""

    def __init__(self, path: KeyPath, rule: str) -> None:
        super().__init__(f"{written(path)}: {rule}")
        self.path = path
        self.rule = rule


def rule_broken(error: ValidationError, numbers: Mapping[KeyPath, str]) -> RuleError:
    """Return the first mistake of a `StudySpec` as a path and a rule in plain words.

    Args:
        error: pydantic's.
        numbers: how the file writes its numbers, by path.
    """
    # A mistyped key also leaves the right one missing: the typing error is the one to name.
    details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] == "missing")[0]
    kind = details["type"]
    if kind == "json_invalid":
        return RuleError((), "holds text that is not Unicode, such as half a surrogate pair")
    model, path, rest = _resolved(details["loc"])
    if kind == "extra_forbidden":
        return RuleError(path, f"unknown key, {_right_key(model, path)}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unclear_kind(path, details["input"])
    if path[0] == "search" and len(path) > 3 and rest:
        if isinstance(details["input"], list):
            return RuleError(path, "a list may hold nothing but finite numbers and text")
        return RuleError(path, f"{shown(details['input'])} is not a finite number, text, true, false or null")
    if path[0] == "search" and len(path) > 2 and path[2] in ("uniform", "int") and kind in ("missing", "too_long"):
        return RuleError(path[:3], "needs two numbers, [lowest, highest]")
    if kind == "missing":
        return RuleError(path, "is missing")
    return RuleError(path, value_rule(details, numbers.get(path), ENTRIES if path == ("teachers",) else NUMBERS))


def value_rule(details: ErrorDetails, number: str | None = None, example: str = NUMBERS) -> str:
    """Return what is wrong with one value: `0 is not at least 1`.

    Args:
        details: pydantic's.
        number: how a number was written.
        example: of a list, where the value should be one.
    """
    context = details.get("ctx", {})
    value = details["input"]
    kind = details["type"]
    if kind in ("value_error", UNKNOWN_ENTRY, BROKEN_RULE):
        return str(context["error"])
    if kind == NO_PARAMETER:
        return f"{shown(value)} {context['error']}"
    if kind == "literal_error":
        possible = re.findall(r"'([^']*)'", context["expected"])
        return f"{shown(value)} is not an option, {alternatives(str(value), possible)}"
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        as_written = number or shown(value)
        return f"{as_written} is not text; write '{as_written}' in quotes"
    rule = VALUE_RULES.get(kind)
    return (
        f"{shown(value)}: {details['msg']}"
        if rule is None
        else f"{shown(value)} is {rule.format(**context, example=example)}"
    )


VALUE_RULES = {
    "int_type": "not a whole number",
    "int_from_float": "not a whole number",
    "float_type": "not a number",
    "bool_type": "not true or false",
    "string_type": "not text",
    "greater_than_equal": "not at least {ge:.15g}",
    "greater_than": "not above {gt:.15g}",
    "less_than_equal": "not at most {le:.15g}",
    "less_than": "not below {lt:.15g}",
    "finite_number": "not a finite number",
    "too_short": "empty: at least {min_length} value is needed",
    "too_long": "longer than {max_length} values",
    "tuple_type": "not a list, such as {example}",
    "byte_size": "not a number of bytes, such as 5000000000 or '5 GB'",
    "byte_size_unit": "not a number of bytes, such as 5000000000 or '5 GB'",
    "dict_type": "not a mapping of keys to values; fill it or leave the key out",
    "model_type": "not a mapping of keys to values; fill it or leave the key out",
    "string_pattern_mismatch": (
        "not a name: at most 100 letters, digits, '.', '_' and '-', the first a letter or digit"
    ),
}
"""Words for pydantic's error types, after the value."""


def _unclear_kind(path: KeyPath, value: Any) -> RuleError:
    """Say what a dimension of the search may be."""
    kinds = [key for key in value if key in DIMENSION_KINDS] if isinstance(value, dict) else []
    problem = f"{' and '.join(kinds)} exclude each other; " if kinds else ""
    hint = ""
    if len(path) == 2 and path[1] in StudySpec.model_fields:
        hint = f"; name a field of it in one key, such as {path[1]}.{_first_field(str(path[1]))}: {{grid: [...]}}"
    return RuleError(path, f"{problem}one of grid, choice, uniform, int is needed, such as {{grid: [1, 2]}}{hint}")


def _first_field(section: str) -> str:
    return next(iter(_keys(_model_of(StudySpec.model_fields[section].annotation)) or ["field"]))


def _resolved(location: Iterable[str | int]) -> tuple[type[BaseModel] | None, KeyPath, KeyPath]:
    """Split pydantic's location: the model that holds its last key, the path as in the file, and union branches after.

    Pydantic puts the selected branch of a union into the location (`search`, `seed`, `grid`, `when`); a file has no
    such level.
    """
    path = list(location)
    if path[:1] == ["search"] and len(path) > 2:
        model = DIMENSIONS[str(path.pop(2))]
        return model, tuple(path[:4]), tuple(path[4:])
    if path[:1] == ["seeds"] and len(path) > 1:
        kind = path.pop(1)
        return AdaptiveSeeds if kind == "adaptive" else StudySpec, tuple(path), ()
    if path[:1] == ["teachers"] and len(path) == 3:
        return Learner, tuple(path), ()
    holder: type[BaseModel] | None = StudySpec
    for part in path[:-1]:
        if holder is not None and isinstance(part, str):
            holder = _model_of(holder.model_fields[part].annotation) if part in holder.model_fields else None
    return holder, tuple(path), ()


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``tuple[Objective, ...]``, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in typing.get_args(annotation) if (model := _model_of(part))), None)


def _all_keys(model: type[BaseModel] | None) -> list[str]:
    """Return the keys of a section, those of every entry that it can select too."""
    base = getattr(model, "base", None) or model
    of_entries = parameters_of_all(base) if isinstance(base, type) and issubclass(base, SelectingSection) else {}
    return [*_keys(model), *of_entries]


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _right_key(model: type[BaseModel] | None, path: KeyPath) -> str:
    key = str(path[-1])
    if len(path) == 1 and key in SEARCH_NAMES:
        return f"write it under search: search.{key}"
    homes = [] if len(path) > 1 else [name for name in StudySpec.model_fields if key in _section_keys(name)]
    if homes:
        return f"it belongs in {' or '.join(homes)}"
    return alternatives(key, _all_keys(model))


def _section_keys(section: str) -> list[str]:
    field = StudySpec.model_fields[section]
    models = [*DIMENSIONS.values()] if section == "search" else [_model_of(field.annotation)]
    return [key for model in models for key in _all_keys(model)]
