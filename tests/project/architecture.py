"""The architecture as tests and drawing read it: the list in docs/architecture.toml, and the imports in the source."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kd_sweep"


@dataclass(frozen=True)
class Package:
    """A package of kd_sweep, or a module beside the packages; see docs/architecture.toml for the fields."""

    name: str
    owns: str
    never_imports: frozenset[str]
    never_loads: frozenset[str]
    exceptions: dict[str, frozenset[str]]

    @property
    def files(self) -> list[Path]:
        """Its modules; those of `cli` include the entry points of kd_sweep itself."""
        return [file for file in modules() if package_of(file) == self.name]

    def forbidden(self, file: Path) -> frozenset[str]:
        """The libraries that this file of the package may not import."""
        name = file.relative_to(PACKAGE).as_posix()
        allowed = (libraries for start, libraries in self.exceptions.items() if name.startswith(start))
        return self.never_imports.difference(*allowed)


@cache
def read_list() -> dict[str, Any]:
    """What docs/architecture.toml holds: libraries, packages, jobs, rows of the drawing."""
    return tomllib.loads((ROOT / "docs/architecture.toml").read_text())


@cache
def packages() -> dict[str, Package]:
    """Every package by its name, in the order of the list: each imports only from those before it."""

    def libraries(names: list[str]) -> frozenset[str]:
        return frozenset(one for name in names for one in read_list()["libraries"].get(name, [name]))

    def package(entry: dict[str, Any]) -> Package:
        assert set(entry) <= {"name", "owns", "never_imports", "never_loads", "except"}, entry
        return Package(
            entry["name"],
            entry["owns"],
            libraries(entry["never_imports"]),
            libraries(entry.get("never_loads", [])),
            {start: libraries(names) for start, names in entry.get("except", {}).items()},
        )

    listed = [package(entry) for entry in read_list()["packages"]]
    assert len({one.name for one in listed}) == len(listed)
    return {one.name: one for one in listed}


@cache
def modules() -> list[Path]:
    """Every Python file of kd_sweep."""
    return sorted(PACKAGE.rglob("*.py"))


def package_of(file: Path) -> str:
    """The first part of the path below kd_sweep; `cli` for the entry points of kd_sweep itself."""
    first = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "cli" if first in ("__init__", "__main__") else first


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every module that the file imports, also inside functions, with the line; of kd_sweep down to the module."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide the package"
            for alias in node.names:
                module = node.module or ""
                inner = f"{module}.{alias.name}"
                yield (inner if module_file(inner) else module), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((name.value, node.lineno) for name in node.args if isinstance(name, ast.Constant))


def imported_packages(package: Package) -> set[str]:
    """The other packages of kd_sweep that the files of this one import."""
    files = (module_file(module) for file in package.files for module, _ in imports(file))
    return {package_of(file) for file in files if file and file != PACKAGE / "__init__.py"} - {package.name}


def module_file(name: str) -> Path | None:
    """The file of a module of kd_sweep, None for names of other things."""
    path = ROOT.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if name.startswith("kd_sweep") and file.is_file()), None)
