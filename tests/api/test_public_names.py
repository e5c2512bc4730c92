"""The public names: one list, described on a page with their arguments, loaded when they are used and not before."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kd_sweep
from kd_sweep import errors, events
from tests.project.architecture import PACKAGE, ROOT
from tests.project.pages import documented, sections

PAGE = ROOT / "docs/python.md"
NAMES = [name for name in kd_sweep.__all__ if name != "__version__"]


def typed_names() -> set[str]:
    """Return the names that type checkers see: those of the block under TYPE_CHECKING."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {str(alias.asname) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_there_is_one_list() -> None:
    assert typed_names() == set(NAMES)
    assert set(NAMES) <= set(dir(kd_sweep))
    assert sorted(NAMES) == [name for name, *_ in documented(PAGE.read_text(), "name", "what it is")]
    for name in NAMES:
        assert inspect.getdoc(getattr(kd_sweep, name)), name


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lunch'; public: Arrays, "):
        getattr(kd_sweep, "lunch")  # noqa: B009
    assert not hasattr(kd_sweep, "StudySpec")


def written(call: Any) -> str:
    """Return a function's arguments as the page writes them."""
    parameters = [one for one in inspect.signature(call).parameters.values() if one.name not in ("self", "cls")]
    texts = [re.sub(r"<class '.*?(\w+)'>", r"\1", str(one.replace(annotation=one.empty))) for one in parameters]
    first_named = next((index for index, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY), None)
    if first_named is not None:
        texts.insert(first_named, "*")
    return f"({', '.join(texts)})"


CALLS = re.findall(r"^#+ `(?:kd_sweep\.)?([\w.]+)(\(.*\))`$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[name for name, _ in CALLS])
def test_arguments_on_the_page_are_those_of_the_code(name: str, arguments: str) -> None:
    call: Any = kd_sweep
    for part in name.split("."):
        call = getattr(call, part)
    if name == "Study.set":
        assert arguments == "(key, value, **fields)"
    else:
        assert arguments == written(call)


def test_every_function_and_method_is_on_the_page() -> None:
    functions = {name for name in NAMES if inspect.isfunction(getattr(kd_sweep, name))}
    methods = {
        f"{kind.__name__}.{name}"
        for kind in (kd_sweep.Study, kd_sweep.StudyResults, kd_sweep.TrialResults)
        for name, value in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, classmethod))
    }
    assert functions | methods | {"Study"} == {name for name, _ in CALLS}


def test_every_event_and_error_is_on_the_page() -> None:
    text = sections(PAGE)
    listed = [row[0] for row in documented(text["Events"], "event", "what it says")]
    assert listed == [kind.__name__ for kind in events.Event.__args__]  # type: ignore[attr-defined]
    tree = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [row[0] for row in documented(text["Errors"], "error", "when")] == tree


@pytest.mark.parametrize(
    ("program", "never"),
    [
        ("import kd_sweep", {"pydantic", "pyarrow", "torch", "ray", "rich", "typer", "numpy"}),
        ("import kd_sweep; dir(kd_sweep); kd_sweep.errors.SpecError", {"pydantic", "pyarrow", "torch", "ray"}),
        ("from kd_sweep import Study; Study(name='s').set(retries=2)", {"pyarrow", "torch", "ray", "optuna", "duckdb"}),
        ("from kd_sweep import open_results", {"torch", "ray", "optuna", "rich", "typer"}),
        ("from kd_sweep import Study, run_trial, resume, events, StudyPlan", {"ray", "optuna", "rich", "typer"}),
    ],
)
def test_only_what_is_used_is_loaded(program: str, never: set[str]) -> None:
    """Modules are counted, and no time is measured."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        cwd=Path(ROOT),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "kd_sweep" in loaded
    assert not loaded & never
