"""The fixtures that tests of exports share: a root of a written study, one of a trained study, and what files are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.export.written_study import Files, write_study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of the study `written`. Read it only."""
    root = tmp_path_factory.mktemp("written")
    write_study(root)
    return root


@pytest.fixture
def files_of() -> Callable[[Path], Files]:
    """What makes of a file or folder the content of each file in it, and when it was written."""

    def files(path: Path) -> Files:
        below = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
        return {str(one.relative_to(path.parent)): (one.read_bytes(), one.stat().st_mtime_ns) for one in below}

    return files
