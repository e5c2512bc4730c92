"""Fixtures of the tests by HTTP: a root with a study that was trained, and a service on it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.made_once import made_once
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY
from tests.trained_studies import train_study


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the finished tiny study. Read it only."""
    return made_once(tmp_path_factory, "trained", partial(train_study, text=TINY))


@pytest.fixture(scope="module")
def service(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service on that root, shared by the tests of a file."""
    with running(trained_root, tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def admin(service: RunningService) -> Iterator[httpx.Client]:
    """A client of that service who may do everything."""
    with service.client() as client:
        yield client
