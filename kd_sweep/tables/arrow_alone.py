"""Arrow without pandas, for commands that only read tables."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _NoPandas(MetaPathFinder):
    """Finds no pandas, and leaves everything else to others."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def import_arrow_alone() -> None:
    """Import pyarrow without pandas, which it imports with the first array: a sixth of what ``status`` computes.

    pyarrow looks for pandas once: in this process its ``to_pandas`` fails from now on, unless pandas is there already.
    """
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
