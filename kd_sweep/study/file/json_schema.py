"""The JSON Schema of study files, for editors and for other programs that write them."""

from typing import Any

from kd_sweep.catalogue.entries import entry_names
from kd_sweep.catalogue.kinds import METRIC
from kd_sweep.catalogue.selecting_section import SelectingSection, section_class
from kd_sweep.study.extra_metrics import ExtraMetric, column_of
from kd_sweep.study.file.field_docstrings import DescribedSchema
from kd_sweep.study.identity import SECTIONS
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.recipe import Learner
from kd_sweep.study.sampler import Sampler
from kd_sweep.study.scheduler import Scheduler
from kd_sweep.study.space.searchable_fields import search_fields, section_base
from kd_sweep.study.spec import StudySpec

OF_ENTRY = {"type": "string", "pattern": r"^teachers\.[0-9]+\.[A-Za-z0-9_]+$", "description": "Of an entry."}
OF_PLUGIN = {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": "Of a plug-in."}


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a study file's content.

    It knows names, types and limits of every field, the fields that can be searched and the metrics that trials
    report. Rules between fields (a grid sampler needs grids) are checked by `kd_sweep.study.file.load.load_spec` alone.
    """
    schema = StudySpec.model_json_schema(schema_generator=DescribedSchema)
    search = schema["properties"]["search"]
    dimension = search["additionalProperties"]
    search["additionalProperties"] = {
        "anyOf": [
            dimension,
            {"type": ["boolean", "integer", "number", "string"], "description": "A value alone is a grid of one."},
        ]
    }
    names = search["propertyNames"] = {"anyOf": [{"enum": list(search_fields())}, OF_ENTRY]}
    schema["properties"] |= _selecting_sections()
    schema["properties"]["teachers"]["items"] = _entry()
    definitions = schema["$defs"]
    for kind in ("Grid", "Choice", "Uniform", "IntRange"):
        definitions[kind]["properties"]["when"]["propertyNames"] = names
    del schema["properties"]["data"]["properties"]["image_size"]["default"]  # it depends on the name
    metrics = [*REPORTED_METRICS, *map(column_of, entry_names(METRIC))]
    definitions["ExtraMetric"] = _by_entry(ExtraMetric)
    objective = definitions["Objective"]["properties"]
    objective["metric"]["enum"] = metrics
    del objective["mode"]["default"]  # it depends on the metric
    schema["properties"]["scheduler"] = _scheduler(metrics)
    schema["properties"]["sampler"] = _by_entry(Sampler)
    schema["properties"]["provenance"] = {
        "type": "object",
        "description": "Where a frozen study came from. Ignored when the file is launched.",
        "additionalProperties": {"type": "string"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "kd_sweep study",
    }


def _selecting_sections() -> dict[str, Any]:
    bases = {name: section_base(name) for name in SECTIONS}
    return {name: _section_schema(base) for name, base in bases.items() if issubclass(base, SelectingSection)}


def _entry() -> dict[str, Any]:
    """Return the schema of an entry of `teachers`: a teacher's section without defaults, which `teacher` has."""
    schema = _section_schema(Learner)
    keys = {key: {k: v for k, v in rule.items() if k != "default"} for key, rule in schema["properties"].items()}
    return {**schema, "properties": keys, "description": "What a teacher has of its own."}


def _scheduler(metrics: list[str]) -> dict[str, Any]:
    schema = _by_entry(Scheduler)
    for rule in schema["anyOf"]:
        if "metric" in rule["properties"]:
            rule["properties"]["metric"]["enum"] = [*metrics, None]
    return schema


def _by_entry(base: type[SelectingSection]) -> dict[str, Any]:
    """Return the schema of a section that has the keys of the entry that it selects, and no others."""
    selector = base.selector
    kinds: list[dict[str, Any]] = [{"type": "object", "properties": {selector: OF_PLUGIN}, "required": [selector]}]
    for name in entry_names(base.kind):
        schema: dict[str, Any] = section_class(base, [name]).model_json_schema(schema_generator=DescribedSchema)
        named = {"const": name, "type": "string"}
        kinds.append({**schema, "properties": schema["properties"] | {selector: named}, "required": [selector]})
    return {"anyOf": kinds, "description": base.__doc__}


def _section_schema(base: type[SelectingSection]) -> dict[str, Any]:
    """Return the schema of a section with the parameters of every entry that it can select."""
    names = entry_names(base.kind)
    schema: dict[str, Any] = section_class(base, names).model_json_schema(schema_generator=DescribedSchema)
    selector = schema["properties"][base.selector]
    schema["properties"][base.selector] = {
        **selector,
        **({"examples": names} if base.kind.otherwise else {"anyOf": [{"enum": names}, OF_PLUGIN]}),
    }
    return schema
