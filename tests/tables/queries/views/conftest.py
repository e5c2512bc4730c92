"""The two studies, written once."""

from pathlib import Path

import pytest

from tests.tables.queries.views.viewed_studies import write_studies


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewed")
    write_studies(folder)
    return folder
