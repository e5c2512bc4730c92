"""The documentation is checked against the code: names, defaults, commands, and examples that run."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from kd_sweep.cli import app
from kd_sweep.study import recipe
from kd_sweep.study import spec as specs
from kd_sweep.study.file.load import load_spec, parse_spec
from kd_sweep.study.metric_catalogue import METRICS_VERSION, REPORTED_METRICS
from kd_sweep.tables.queries.views import NAMED_QUERIES
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.schema import SCHEMA_VERSION, STATUSES, TABLES
from tests.command_line import Cli

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("cluster/**/*.md"))]
OURS = [page for page in PAGES if "cluster" not in page.as_posix().removeprefix(ROOT.as_posix())]
"""Pages whose commands need no cluster."""


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced code blocks of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def sections(page: Path) -> dict[str, str]:
    """Return the text below each heading, up to the next one of any level."""
    parts = re.split(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def prose(text: str) -> str:
    """Return the text without its fenced code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def table_rows(text: str, *header: str) -> list[list[str]]:
    """Return the rows of the Markdown tables whose header begins with these cells."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
        if head[: len(header)] == list(header):
            found += rows
    return found


def documented(text: str, *header: str) -> list[list[str]]:
    """Return the rows of such tables whose first cell is one name in backticks, with that name bare."""
    return [[row[0].strip("`"), *row[1:]] for row in table_rows(text, *header) if re.fullmatch(r"`[\w.]+`", row[0])]


# --- columns, metrics, statuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_with_its_type(table: str) -> None:
    text = sections(ROOT / "docs/tables.md")[f"`{table}`"]
    columns = {name: kind for name, kind, *_ in documented(text, "column", "type")}
    schema = TABLES[table]
    has_metrics = set(REPORTED_METRICS) <= set(schema.names)
    elsewhere = REPORTED_METRICS if has_metrics else ()
    assert columns == {field.name: str(field.type) for field in schema if field.name not in elsewhere}
    assert ("[the metrics](metrics.md)" in text) == has_metrics


def test_every_metric_is_documented() -> None:
    named = [row[0] for row in documented((ROOT / "docs/metrics.md").read_text(), "metric")]
    assert named == list(REPORTED_METRICS)


def test_every_status_is_documented() -> None:
    text = sections(ROOT / "docs/tables.md")["`trials`"]
    assert [row[0] for row in documented(text, "status")] == list(STATUSES)


def test_versions_are_those_of_the_schema() -> None:
    assert f"version {METRICS_VERSION}." in (ROOT / "docs/metrics.md").read_text()
    assert f"`schema_version` ({SCHEMA_VERSION}:" in (ROOT / "docs/tables.md").read_text()


# --- study files ------------------------------------------------------------------------------------------------------

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
    "`random`": specs.RandomSampler,
    "`tpe`": specs.TpeSampler,
    "`nsga2`": specs.Nsga2Sampler,
    "`asha`": specs.AshaScheduler,
    "`median`": specs.MedianScheduler,
}
SECTIONS = {"data", "augmentation", "teacher", "student", "distillation", "metrics"} | {
    *("search", "objectives", "sampler", "scheduler", "resources", "budget", "checkpoints")
}


def fields_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the default of every field but the name of a sampler or scheduler."""
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
    for model in (*specs.Sampler.__args__[0].__args__, *specs.Scheduler.__args__[0].__args__):  # type: ignore[attr-defined]
        name = model.model_fields["name"].annotation.__args__[0]
        assert f"### `{name}`" in text or f"`{{name: {name}}}` is the default" in text


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_study_files_in_examples_are_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        if text.lstrip("# ").startswith("name:") or "\nname:" in text:
            parse_spec(text, page_id(page))


# --- the command line -------------------------------------------------------------------------------------------------


def shell_lines(block: str) -> Iterator[str]:
    """Yield the commands of a block, several lines of one joined."""
    pending = ""
    for line in block.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            continue  # a quotation goes on
        yield pending
        pending = ""
    assert not pending, pending


def invocations(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every `kd-sweep` in a page's shell blocks."""
    for block in blocks(page, "sh", "bash", "console"):
        for line in shell_lines(block):
            words = shlex.split(line, comments=True)
            for place in [place for place, word in enumerate(words) if word == "kd-sweep"]:
                arguments = words[place + 1 :]
                ends = [place for place, word in enumerate(arguments) if word in ("|", ">", "&&", ";", "&", "||")]
                yield arguments[: ends[0]] if ends else arguments


def mentions(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every `kd-sweep` in running text."""
    for code in re.findall(r"`([^`]*)`", prose(page.read_text())):
        if code.startswith("kd-sweep "):
            yield re.sub(r"\s+", " ", code).split(" ")[1:]


def commands() -> dict[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined, no-any-return]


def options_of(command: Any) -> dict[str, bool]:
    """Return every option with whether a value follows it."""
    return {
        name: not getattr(parameter, "is_flag", False)
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    } | {"--help": False}


def positionals(command: Any, arguments: list[str]) -> list[str]:
    """Return the arguments that are no options, having checked that the options exist."""
    known, found, rest = options_of(command), [], iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            found.append(word)
            continue
        name = word.partition("=")[0]
        assert name in known, f"{command.name} has no option {word}"
        if known[name] and "=" not in word:
            next(rest)
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_in_a_page_exists(page: Path) -> None:
    for arguments in invocations(page):
        if arguments[0] == "--version":
            continue
        assert arguments[0] in commands(), arguments
        command = commands()[arguments[0]]
        given = positionals(command, arguments[1:])
        places = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        at_most = float("inf") if any(place.nargs == -1 for place in places) else len(places)
        assert sum(place.required for place in places) <= len(given) <= at_most, arguments
        if given and given[0].startswith("sweeps/"):
            settings = [value for name, value in itertools.pairwise(arguments) if name == "--set"]
            load_spec(ROOT / given[0], settings)
    for arguments in mentions(page):
        if arguments[0].startswith("-") or arguments == ["…"]:
            continue
        assert arguments[0] in commands(), arguments
        for word in arguments[1:]:
            if word.startswith("--"):
                assert word.partition("=")[0] in options_of(commands()[arguments[0]]), arguments


def test_the_readme_lists_every_command_and_named_query() -> None:
    text = README.read_text()
    named = "".join(row[0] for row in table_rows(text, "command"))
    assert set(re.findall(r"`([a-z]+)", named)) == set(commands())
    for name in NAMED_QUERIES:
        assert name == "summary" or re.search(rf"\b{name}\b", text), name


def test_every_sweep_and_make_target_in_the_readme_exists() -> None:
    text = README.read_text()
    assert {f"sweeps/{path.name}" for path in (ROOT / "sweeps").glob("*.yaml")} == set(
        re.findall(r"\((sweeps/[\w.-]+)\)", text)
    )
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(README, "sh")), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


TOLD = [*PAGES, *ROOT.glob("sweeps/*.yaml"), *(path for path in ROOT.glob("cluster/*/*") if path.suffix != ".md")]
"""What tells a user of other files."""
PATH = re.compile(r"(?<![\w./~$}-])((?:[\w-]+/)+[\w.-]+\.(?:py|md|yaml|sh|sbatch|toml|csv|txt|png|jpg))\b")
"""Of a file, as text and commands write it."""


@pytest.mark.parametrize("page", TOLD, ids=page_id)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    ours = {folder.name for folder in (*ROOT.iterdir(), *(ROOT / "kd_sweep").iterdir()) if folder.is_dir()} - {
        "results"
    }
    for path in PATH.findall(page.read_text()):
        if path.partition("/")[0] in ours:
            places = (ROOT / path, ROOT / "kd_sweep" / path, page.parent / path)
            assert any(place.exists() for place in places), path


def test_nothing_is_installed_by_a_name_that_is_not_registered() -> None:
    """Whoever registered it could run code on our users' machines: installs are from the checkout, ``.`` or a path."""
    by_name = re.compile(r"pip install [^\n]*?(?<![/\w])kd[-_]sweep(?![/\w])")
    assert [page for page in (*TOLD, *ROOT.glob("kd_sweep/**/*.py")) if by_name.search(page.read_text())] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs/decisions").glob("*.md")), ids=page_id)
def test_a_decision_has_context_choice_and_consequence_on_a_page(page: Path) -> None:
    assert list(sections(page))[1:] == ["Context", "Choice", "Consequence"]
    assert len(page.read_text().splitlines()) <= 60


# --- examples that run ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_table_in_the_readme_is_the_summary(examples: Path, cli: Cli) -> None:
    shown = next(text for text in blocks(README, "") if "val_accuracy" in text)
    header, *rows = [line for line in shown.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    code, out, err = cli("query", examples / "results", "--format", "json")
    assert code == 0, err
    summary = json.loads(out)
    assert columns == list(summary[0])
    keys = ("augmentation_strength", "ensemble_size")
    configurations = [
        dict(zip(columns, [cell.strip() for cell in row.strip("|").split("|")], strict=True)) for row in rows
    ]
    assert [tuple(float(row[key]) for key in keys) for row in configurations] == [
        tuple(row[key] for key in keys) for row in summary
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in OURS if blocks(page, "sql")], ids=page_id)
def test_sql_runs(page: Path, examples: Path) -> None:
    for block in blocks(page, "sql"):
        for statement in filter(str.strip, block.split(";")):
            assert isinstance(open_results(examples / "results").sql(statement), pa.Table)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in OURS if blocks(page, "python")], ids=page_id)
def test_python_runs(page: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(examples)
    for block in blocks(page, "python"):
        exec(compile(block, page_id(page), "exec"), {})


@pytest.mark.slow
def test_reading_commands_run(examples: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command in our pages that starts no training, as it is written, in the folder that they assume."""
    monkeypatch.chdir(examples)
    ran = 0
    for page in OURS:
        for arguments in invocations(page):
            if arguments[0] not in ("query", "status", "plan", "schema", "--version"):
                continue
            code, _, err = cli(*arguments, *(["--no-probe"] if arguments[0] == "plan" else []))
            assert code == 0, (page_id(page), arguments, err)
            ran += 1
    assert ran >= 6
