"""The page on study files, against the fields of a study: names, defaults, examples that are valid."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from kd_sweep.catalogue.entries import entry_names
from kd_sweep.catalogue.kinds import SAMPLER, STOPPING_RULE
from kd_sweep.catalogue.selecting_section import SelectingSection, section_class
from kd_sweep.study import recipe
from kd_sweep.study import spec as specs
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.sampler import GRID, Sampler
from kd_sweep.study.scheduler import NO_RULE, Scheduler
from tests.project.pages import PAGES, ROOT, blocks, documented, page_id, sections, table_rows

FIELDS = {
    "Top level": specs.StudySpec,
    "`data`": recipe.Data,
    "`augmentation`": recipe.Augmentation,
    "`teacher` and `student`": recipe.Learner,
    "`distillation`": recipe.Distillation,
    "`metrics`": recipe.Metrics,
    "`objectives`": specs.Objective,
    "`resources`": specs.Resources,
    "`budget`": specs.Budget,
    "`checkpoints`": specs.Checkpoints,
    "`caches`": specs.Caches,
    **{f"`{name}`": section_class(Sampler, [name]) for name in entry_names(SAMPLER) if name != GRID},
    **{f"`{name}`": section_class(Scheduler, [name]) for name in entry_names(STOPPING_RULE) if name != NO_RULE},
}
SECTIONS = {"data", "augmentation", "teacher", "student", "distillation", "metrics"} | {
    *("search", "objectives", "sampler", "scheduler", "resources", "budget", "checkpoints", "caches")
}


def fields_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the default of every field but the name of a sampler or scheduler: with all entries' parameters."""
    if issubclass(model, SelectingSection) and model.base is None:
        model = section_class(model, entry_names(model.kind))
    is_kind = model.__name__.endswith(("Sampler", "Scheduler"))
    return {
        name: "required" if field.default is PydanticUndefined else field.default
        for name, field in model.model_fields.items()
        if not (is_kind and name == "name")
    }


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("heading", FIELDS)
def test_every_field_of_a_study_is_documented_with_its_default(heading: str) -> None:
    text = sections(ROOT / "docs/study-files.md")[heading]
    yaml = YAML(typ="safe", pure=True)
    found = {name: yaml.load(default.strip("`")) for name, default, *_ in documented(text, "field", "default")}
    expected = fields_of(FIELDS[heading])
    if FIELDS[heading] is specs.StudySpec:
        assert set(expected) >= SECTIONS
        listed = next(row[0] for row in table_rows(text, "field") if row[1] == "see below")
        assert {name.strip("` ") for name in listed.split(",")} == SECTIONS
        expected = {name: default for name, default in expected.items() if name not in SECTIONS}
    assert found == as_json(expected)


def test_every_kind_of_dimension_is_documented() -> None:
    text = sections(ROOT / "docs/study-files.md")["What varies: `search`"]
    rows = {row[0]: row[1] for row in documented(text, "kind", "example")}
    assert list(rows) == list(specs.DIMENSION_KINDS)
    for kind, example in rows.items():
        value = YAML(typ="safe", pure=True).load(example.strip("`"))
        assert kind in value
        field = "distillation.loss" if kind == "choice" else "ensemble_size" if kind != "uniform" else "student.gamma"
        if kind != "uniform":
            parse_spec(json.dumps({"name": "d", "search": {field: value}, "sampler": {"name": "random"}}), "d.yaml")
    options = {row[0]: row[1].strip("`") for row in documented(text, "field", "default")}
    uniform = specs.Uniform.model_fields
    assert {name: json.loads(default) for name, default in options.items()} == {
        name: uniform[name].default for name in ("step", "log")
    }


def test_every_sampler_and_scheduler_is_documented() -> None:
    text = (ROOT / "docs/study-files.md").read_text()
    for name in (*entry_names(SAMPLER), *entry_names(STOPPING_RULE)):
        assert f"### `{name}`" in text or f"`{{name: {name}}}` is the default" in text


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_study_files_in_examples_are_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        if "plugins: [" not in text and (text.lstrip("# ").startswith("name:") or "\nname:" in text):
            parse_spec(text, page_id(page))
