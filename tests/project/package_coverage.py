"""Coverage by package: what share of the statements of each package of `kd_sweep` the tests have run."""

import sys
from collections import defaultdict
from pathlib import PurePath

from coverage import Coverage

from tests.project.architecture import PACKAGE


def table(statements: dict[str, tuple[int, int]]) -> list[str]:
    """Return a line per package: its name, its number of statements, and the percentage of them that ran.

    ``statements`` has, for each file by its path below `kd_sweep`, how many statements it has and how many ran.
    """
    packages: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for file, counts in statements.items():
        packages[PurePath(file).parts[0].removesuffix(".py")].append(counts)
        packages["kd_sweep"].append(counts)
    lines = [f"{'package':<16}{'files':>8}{'statements':>12}{'run':>8}"]
    for name in sorted(packages, key=lambda name: (name == "kd_sweep", name)):
        all_of_them, ran = (sum(column) for column in zip(*packages[name], strict=True))
        share = f"{ran / all_of_them:.1%}" if all_of_them else "-"
        lines.append(f"{name:<16}{len(packages[name]):>8}{all_of_them:>12}{share:>8}")
    return lines


def main() -> None:
    """Print the table of the coverage data in the current folder."""
    coverage = Coverage()
    coverage.load()
    statements = {}
    for file in coverage.get_data().measured_files():
        _, executable, _, missing, _ = coverage.analysis2(file)
        statements[PurePath(file).relative_to(PACKAGE).as_posix()] = (len(executable), len(executable) - len(missing))
    sys.stdout.write("\n".join(table(statements)) + "\n")


if __name__ == "__main__":
    main()
