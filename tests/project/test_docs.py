"""The documentation is checked against the code: names, defaults, commands, and examples that run."""

import datetime
import functools
import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from ruamel.yaml import YAML

import kd_sweep
from kd_sweep.cli import app
from kd_sweep.study.file.load import load_spec
from kd_sweep.study.metric_catalogue import METRICS, METRICS_VERSION, REPORTED_METRICS
from kd_sweep.tables.column_meanings import COLUMN_MEANINGS
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.schema import SCHEMA_VERSION, STATUSES, TABLES
from tests.command_line import Cli
from tests.project.pages import OURS, PAGES, README, ROOT, blocks, documented, page_id, prose, sections, table_rows
from tests.project.write_metrics import COLUMNS, PAGE, written

# --- columns, metrics, statuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_with_its_type(table: str) -> None:
    text = sections(ROOT / "docs/tables.md")[f"`{table}`"]
    columns = {name: kind for name, kind, *_ in documented(text, "column", "type")}
    schema = TABLES[table]
    has_metrics = set(REPORTED_METRICS) <= set(schema.names)
    elsewhere = {metric.name for metric in METRICS} if has_metrics else set()
    assert columns == {field.name: str(field.type) for field in schema if field.name not in elsewhere}
    assert ("[the metrics](metrics.md)" in text) == has_metrics


@pytest.mark.parametrize("table", TABLES)
def test_what_columns_mean_is_said_in_the_same_words_everywhere(table: str) -> None:
    text = sections(ROOT / "docs/tables.md")[f"`{table}`"]
    rows = {name: without_links(meaning) for name, _, meaning in documented(text, "column", "type", "meaning")}
    assert COLUMN_MEANINGS[table] == {name: meaning for name, meaning in rows.items() if meaning}


def without_links(text: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def test_the_table_of_metrics_is_that_of_the_catalogue_today() -> None:
    page = PAGE.read_text()
    assert page == written(page), "stale: `make metrics` writes it anew"
    rows = documented(page, *COLUMNS)
    assert [row[0] for row in rows] == [metric.name for metric in METRICS]


def test_every_status_is_documented() -> None:
    text = sections(ROOT / "docs/tables.md")["`trials`"]
    assert [row[0] for row in documented(text, "status")] == list(STATUSES)


def test_versions_are_those_of_the_schema() -> None:
    assert f"version {METRICS_VERSION}." in (ROOT / "docs/metrics.md").read_text()
    assert f"`schema_version` ({SCHEMA_VERSION}:" in (ROOT / "docs/tables.md").read_text()


# --- the command line -------------------------------------------------------------------------------------------------


READING = ("query", "status", "plan", "analyse", "diff", "plot")
QUICKER = {"plan": ["--no-probe"], "plot": ["--format", "svg"]}


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
            for index in [index for index, word in enumerate(words) if word == "kd-sweep"]:
                arguments = words[index + 1 :]
                ends = [index for index, word in enumerate(arguments) if word in ("|", ">", "&&", ";", "&", "||")]
                yield arguments[: ends[0]] if ends else arguments


def mentions(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every `kd-sweep` in running text."""
    for code in re.findall(r"`([^`]*)`", prose(page.read_text())):
        if code.startswith("kd-sweep "):
            yield re.sub(r"\s+", " ", code).split(" ")[1:]


@functools.cache
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
        declared = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        at_most = float("inf") if any(argument.nargs == -1 for argument in declared) else len(declared)
        assert sum(argument.required for argument in declared) <= len(given) <= at_most, arguments
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


def test_every_command_and_named_query_is_described() -> None:
    named = "".join(row[0] for row in table_rows((ROOT / "docs/commands.md").read_text(), "command"))
    assert set(re.findall(r"`([a-z]+)", named)) == set(commands())
    queries = table_rows((ROOT / "docs/queries.md").read_text(), "name", "what it answers")
    assert {re.findall(r"`(\w+)`", row[0])[0] for row in queries} == set(NAMED_QUERIES)


def test_every_sweep_is_described_and_every_make_target_exists() -> None:
    described = re.findall(r"\(([\w.-]+\.yaml)\)", (ROOT / "sweeps/README.md").read_text())
    assert {path.name for path in (ROOT / "sweeps").glob("*.yaml")} == set(described)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(page, "sh")), re.MULTILINE)) <= targets, page


def anchors(page: Path) -> set[str]:
    """Return what links can name of a page: its headings, as GitHub and GitLab write them."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", prose(page.read_text()).replace("\n", " ")):
        if not target.startswith(("http://", "https://")):
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), (target, anchor)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=page_id)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"({page_id(page)})" in README.read_text()


TOLD = [*PAGES, *ROOT.glob("sweeps/*.yaml"), *(path for path in ROOT.glob("cluster/*/*") if path.suffix != ".md")]
"""What tells a user of other files."""
PATH = re.compile(r"(?<![\w./~$}-])((?:[\w-]+/)+[\w.-]+\.(?:py|md|yaml|sh|sbatch|toml|csv|txt|png|jpg))\b")
"""Of a file, as text and commands write it."""


@pytest.mark.parametrize("page", TOLD, ids=page_id)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    folders = {folder.name for folder in ROOT.iterdir() if folder.is_dir()} - {"results", "data"}
    packages = {folder.name for folder in (ROOT / "kd_sweep").iterdir() if folder.is_dir()}
    for path in PATH.findall(page.read_text()):
        first = path.partition("/")[0]
        if first in folders or (first in packages and path.endswith(".py")):
            candidates = (ROOT / path, ROOT / "kd_sweep" / path, page.parent / path)
            assert any(candidate.exists() for candidate in candidates), path


def test_nothing_is_installed_by_a_name_that_is_not_registered() -> None:
    """Whoever registered it could run code on our users' machines: installs are from the checkout, ``.`` or a path."""
    by_name = re.compile(r"pip install [^\n]*?(?<![/\w])kd[-_]sweep(?![/\w])")
    assert [page for page in (*TOLD, *ROOT.glob("kd_sweep/**/*.py")) if by_name.search(page.read_text())] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs/decisions").glob("*.md")), ids=page_id)
def test_a_decision_has_context_choice_and_consequence_on_a_page(page: Path) -> None:
    title, *headings = sections(page)
    assert headings == ["Context", "Choice", "Consequence"]
    assert re.match(r"\d+\. ", title)
    assert int(title.partition(".")[0]) == int(page.name[:4])
    assert len(page.read_text().splitlines()) <= 60


def test_decisions_have_dates_that_rise_with_their_numbers() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    dates = [re.fullmatch(r"\s*Date: (\d{4}-\d\d-\d\d)\s*", next(iter(sections(page).values()))) for page in pages]
    assert [page_id(page) for page, date in zip(pages, dates, strict=True) if date is None] == []
    days = [datetime.date.fromisoformat(date[1]) for date in dates if date]
    assert days == sorted(days)


def test_the_citation_is_of_this_version() -> None:
    citation = YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", kd_sweep.__version__)


# --- examples that run ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_table_in_the_readme_is_the_summary(examples: Path, cli: Cli) -> None:
    columns, rows = next(table for table in shown_tables(README) if "val_accuracy" in table[0])
    code, out, err = cli("query", examples / "results", "--format", "json")
    assert code == 0, err
    summary = json.loads(out)
    assert set(columns) < set(summary[0])
    keys = ("augmentation_strength", "ensemble_size")
    assert configurations(columns, rows, keys) == [tuple(row[key] for key in keys) for row in summary]
    whole, all_rows = next(table for table in shown_tables(ROOT / "docs/queries.md") if "val_accuracy" in table[0])
    assert whole == list(summary[0])
    assert [[row[whole.index(name)] for name in columns] for row in all_rows] == rows


def shown_tables(page: Path) -> list[tuple[list[str], list[list[str]]]]:
    """Return header and rows of the page's tables, of Markdown or as a terminal shows them."""
    tables = re.findall(r"(?:^\|.*\n)+(?:^\+-.*\n(?:^\|.*\n)+)*", page.read_text(), re.MULTILINE)
    lines = [[line for line in table.splitlines() if not re.match(r"\| ---|\+-", line)] for table in tables]
    cells = [[[cell.strip() for cell in line.strip("|").split(" | ")] for line in table] for table in lines]
    return [(header, rows) for header, *rows in cells]


def configurations(columns: list[str], rows: list[list[str]], keys: tuple[str, ...]) -> list[tuple[float, ...]]:
    """Return the values of the key columns of each row."""
    return [tuple(float(row[columns.index(key)]) for key in keys) for row in rows]


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
def test_reading_commands_run(examples: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every command in our pages that starts no training, as it is written, in the folder that they assume.

    But that plans probe nothing, and that figures for which no format is asked are SVG: PDF and PNG take three times as
    long, and tests/figures/plots/test_figure_files.py has all three.
    """
    for name in ("sweeps", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(examples / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert cli("mv", "results/digits", "digits-softer")[0] == 0
    shutil.copytree(examples / "results/digits", tmp_path / "results/digits")
    first, second, *_ = open_results("results/digits").table("trials")["trial_id"].to_pylist()
    here = {"results/digits/7be4": f"results/digits/{first}", "results/digits/19fa": f"results/digits/{second}"}
    ran = set()
    for page in OURS:
        for name, *words in invocations(page):
            asks_others = page.name == "service.md" or any("cifar10-strength" in word for word in words)
            if name not in READING or asks_others:  # tests/cli/test_server_option.py asks a service
                continue
            quicker = QUICKER[name] if name in QUICKER and QUICKER[name][0] not in words else []
            code, _, err = cli(name, *(here.get(word, word) for word in words), *quicker)
            assert code == 0, (page_id(page), name, words, err)
            ran.add(name)
    assert ran == set(READING)
