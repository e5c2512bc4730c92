"""The order of the packages: what each may import, written in the source and as it happens in a fresh process."""

import graphlib
import json
import subprocess
import sys

import pytest

from tests.project.architecture import PACKAGE, ROOT, imports, module_file, modules, package_of, packages

IMPORT_ALL = """
import importlib, json, pathlib, sys
package, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
files = [file for name in names for file in (sorted((package / name).rglob("*.py")) or [package / (name + ".py")])]
for file in files:
    parts = file.relative_to(package.parent).with_suffix("").parts
    importlib.import_module(".".join(part for part in parts if part != "__init__"))
print(json.dumps([len(files), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def loaded_after_importing(*names):
    command = [sys.executable, "-c", IMPORT_ALL, str(PACKAGE), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    num_files, loaded = json.loads(done.stdout.splitlines()[-1])
    assert num_files >= len(names)
    return set(loaded)


def test_every_file_belongs_to_a_listed_package_and_every_package_has_files():
    assert {package_of(file) for file in modules()} == set(packages())
    for package in packages().values():
        for start in package.exceptions:
            assert (PACKAGE / start).exists(), start


@pytest.mark.parametrize("name", packages())
def test_source_imports_only_from_packages_listed_before(name):
    names = list(packages())
    allowed = names[: names.index(name) + 1]
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {module}"
        for file in packages()[name].files
        for module, line in imports(file)
        if module.startswith("kd_sweep.") and module.split(".")[1] not in allowed
    ]
    assert not wrong, f"{name} may import only {allowed}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", packages())
def test_source_never_names_a_forbidden_library(name):
    package = packages()[name]
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {module}"
        for file in package.files
        for module, line in imports(file)
        if module.partition(".")[0] in package.forbidden(file)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_files_import_each_other_in_a_circle():
    """Neither at the top of a file nor inside its functions."""
    graph = {
        file: {other for module, _ in imports(file) if (other := module_file(module)) and other != file}
        for file in modules()
    }
    assert sum(map(len, graph.values())) > len(graph)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(file.relative_to(ROOT).as_posix() for file in reversed(error.args[1])))


NEVER_LOADED = sorted({tuple(sorted(package.never_loads)) for package in packages().values() if package.never_loads})


@pytest.mark.parametrize("libraries", NEVER_LOADED, ids="-".join)
def test_fresh_process_loads_no_forbidden_library(libraries):
    """One process for all packages that may not load the same libraries: what one of them loads, all together do."""
    names = [name for name, package in packages().items() if package.never_loads == set(libraries)]
    assert not loaded_after_importing(*names) & set(libraries), names


def test_fresh_process_sees_what_is_really_loaded():
    """The check above can fail: the driver's own modules do load Ray."""
    assert "ray" in loaded_after_importing("driver/ray")


def test_a_driver_loads_no_statistics_before_a_study_has_adaptive_seeds():
    program = (
        "import sys, kd_sweep.driver.launch, kd_sweep.driver.tune.sweep, kd_sweep.driver.estimate; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ray" in loaded
    assert "scipy" not in loaded


def test_an_analysis_loads_no_more_of_scipy_than_special_functions():
    program = "import sys, kd_sweep.analysis.study_analysis; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "scipy.special" in loaded
    assert not loaded & {"scipy.stats", "scipy.optimize"}


def test_importing_the_package_loads_nothing_heavy():
    # `cli` is the program itself, and loads typer.
    folders = [name for name in packages() if (PACKAGE / name).is_dir() and name != "cli"]
    names = ["kd_sweep", *(f"kd_sweep.{name}" for name in folders)]
    program = f"import sys; before = set(sys.modules)\nimport {', '.join(names)}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "kd_sweep" in loaded
    heavy = {"torch", "ray", "optuna", "pyarrow", "duckdb", "pydantic", "numpy", "pandas", "sklearn", "rich", "typer"}
    assert not loaded & heavy
