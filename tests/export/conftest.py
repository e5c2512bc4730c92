"""Fixtures that tests of exports share: a root of a written study, what files are, and MLflow's tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.export.mlflow_tables import INITIALIZE, copied_from, make_tables
from tests.export.written_study import Files, write_study
from tests.made_once import made_once


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


@pytest.fixture
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """New stores of this test get a copy of MLflow's tables. Other processes make them, as does the fixture `store`."""
    pytest.importorskip("mlflow", reason="the extra mlflow")
    monkeypatch.setattr(INITIALIZE, copied_from(made_once(tmp_path_factory, "mlflow-tables", make_tables)))


@pytest.fixture(autouse=True)
def _mlflow_tables_of_its_tests(request: pytest.FixtureRequest) -> None:
    if "mlflow" in getattr(getattr(request.node, "callspec", None), "params", {}).values():
        request.getfixturevalue("mlflow_tables")
