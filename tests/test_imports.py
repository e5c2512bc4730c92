"""The layers of the package: what each may import, written in the source and as it happens in a fresh process."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "kd_sweep"

# A layer imports only from those before it.
LAYERS = (
    "redaction",
    "errors",
    "waiting",
    "study",
    "storage",
    "tables",
    "data",
    "augmentation",
    "networks",
    "attention",
    "metrics",
    "distill",
    "driver",
    "upkeep",
    "analysis",
    "figures",
    "cli",
)

RAY = {"ray", "optuna"}
TORCH = {"torch", "torchvision", "timm", "kornia"}
FORBIDDEN = {
    "redaction": {"pyarrow", "pydantic"} | TORCH | RAY,
    "errors": {"pyarrow", "pydantic"} | TORCH | RAY,
    "waiting": {"pyarrow", "pydantic"} | TORCH | RAY,
    "study": {"pyarrow", "duckdb"} | TORCH | RAY,
    "storage": {"duckdb"} | TORCH | RAY,
    "tables": TORCH | RAY,
    "data": RAY,
    "augmentation": RAY,
    "networks": RAY,
    "attention": RAY,
    "metrics": {"torchvision", "kornia", "timm"} | RAY,
    "distill": RAY,
    "driver": RAY,
    "upkeep": TORCH | RAY,
    "analysis": TORCH | RAY,
    "figures": RAY,
    "cli": TORCH | RAY,
}
"""What no file of a package names, even inside a function."""

EXCEPTIONS = {
    "kd_sweep/driver/ray/": RAY,
    "kd_sweep/driver/tune/": RAY,
    "kd_sweep/storage/tensor_files.py": {"torch"},
}
"""What the files of a room may name all the same."""

# What may not even be loaded through another layer, in a process that imports all modules of this one.
NEVER_LOADED = {
    "redaction": {"torch", "ray", "optuna", "pyarrow", "pydantic", "duckdb"},
    "errors": {"torch", "ray", "optuna", "pyarrow", "pydantic", "duckdb"},
    "waiting": {"torch", "ray", "optuna", "pyarrow", "pydantic", "duckdb", "rich"},
    "study": {"torch", "ray", "optuna", "pyarrow", "duckdb"},
    "storage": {"torch", "ray", "optuna", "duckdb"},
    "tables": {"torch", "ray", "optuna"},
    "data": {"ray", "optuna"},
    "augmentation": {"ray", "optuna"},
    "networks": {"ray", "optuna"},
    "attention": {"ray", "optuna"},
    "metrics": {"ray", "optuna"},
    "distill": {"ray", "optuna"},
    "upkeep": {"ray", "optuna"},
    "analysis": {"torch", "ray", "optuna"},
    "figures": {"ray", "optuna"},
    "cli": {"torch", "ray", "optuna", "pyarrow", "duckdb"},
}

IMPORT_ALL = """
import importlib, json, pathlib, sys
package, layer = pathlib.Path(sys.argv[1]), sys.argv[2]
place = package / layer
files = sorted(place.rglob("*.py")) if place.is_dir() else [package / (layer + ".py")]
for file in files:
    parts = file.relative_to(package.parent).with_suffix("").parts
    importlib.import_module(".".join(part for part in parts if part != "__init__"))
print(json.dumps([len(files), sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def existing_layers():
    return [layer for layer in LAYERS if (PACKAGE / layer).is_dir() or (PACKAGE / f"{layer}.py").is_file()]


def layer_of(file):
    """The first part of the path below the package; `cli` for the package's own entry points."""
    first = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "cli" if first in ("__init__", "__main__") else first


def excepted(file):
    """The libraries that this file may name although its package does not."""
    name = file.relative_to(ROOT).as_posix()
    return {library for start, libraries in EXCEPTIONS.items() if name.startswith(start) for library in libraries}


def imported_modules(file):
    """Every module that the file imports anywhere, also inside functions, with the line."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide the layer"
            if node.module == "kd_sweep":
                for alias in node.names:
                    yield f"kd_sweep.{alias.name}", node.lineno
            else:
                yield node.module, node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((name.value, node.lineno) for name in node.args if isinstance(name, ast.Constant))


def loaded_after_importing(layer):
    command = [sys.executable, "-c", IMPORT_ALL, str(PACKAGE), layer]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    num_files, loaded = json.loads(done.stdout.splitlines()[-1])
    assert num_files > 0
    return set(loaded)


def test_every_file_belongs_to_a_known_layer():
    strangers = {layer_of(file) for file in PACKAGE.rglob("*.py")} - set(LAYERS)
    assert not strangers, f"not in the layer order: {strangers}"


@pytest.mark.parametrize("layer", existing_layers())
def test_source_imports_only_from_layers_above(layer):
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {module}"
        for file in PACKAGE.rglob("*.py")
        if layer_of(file) == layer
        for module, line in imported_modules(file)
        if module.startswith("kd_sweep.")
        and module.split(".")[1] not in allowed
        and not module.startswith("kd_sweep.__")
    ]
    assert not wrong, f"{layer} may import only {allowed}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("layer", existing_layers())
def test_source_never_names_a_forbidden_library(layer):
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {module}"
        for file in PACKAGE.rglob("*.py")
        if layer_of(file) == layer
        for module, line in imported_modules(file)
        if module.partition(".")[0] in FORBIDDEN[layer] - excepted(file)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("layer", [layer for layer in existing_layers() if layer in NEVER_LOADED])
def test_fresh_process_loads_no_forbidden_library(layer):
    assert not loaded_after_importing(layer) & NEVER_LOADED[layer]


def test_fresh_process_sees_what_is_really_loaded():
    """The check above can fail: the driver's own modules do load Ray."""
    assert "ray" in loaded_after_importing("driver")


def test_importing_the_package_loads_nothing_heavy():
    # `cli` is the program itself, and loads typer.
    layers = [layer for layer in existing_layers() if (PACKAGE / layer).is_dir() and layer != "cli"]
    packages = ["kd_sweep", *(f"kd_sweep.{layer}" for layer in layers)]
    program = f"import sys; before = set(sys.modules)\nimport {', '.join(packages)}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "kd_sweep" in loaded
    heavy = {"torch", "ray", "optuna", "pyarrow", "duckdb", "pydantic", "numpy", "pandas", "sklearn", "rich", "typer"}
    assert not loaded & heavy
