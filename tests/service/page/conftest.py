"""Fixtures of the tests in a browser: a finished study, a service on it, a tab."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import kd_sweep
from kd_sweep.service.access.roles import Role
from tests.made_once import made_once
from tests.service.page.browsing import Visit, browser, visit
from tests.service.page.seeds_study import SEEDS
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY
from tests.trained_studies import train_study


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a study of two settings in size and two in strength, three seeds each. Read it only."""
    return made_once(tmp_path_factory, "seeds", partial(train_study, text=SEEDS))


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service on that root, with a study in its queue and nobody who runs it."""
    with running(root, tmp_path_factory.mktemp("state")) as started:
        with started.client(Role.OPERATOR) as client:
            made = client.post("/api/v1/studies", json={"yaml": TINY, "name": "queued"})
            assert made.status_code == 201
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser; of a file, since only one Playwright runs at a time."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, service: RunningService) -> Iterator[Visit]:
    """A tab in which an admin has signed in, for the tests of a file in turn."""
    with visit(chromium, service) as shown:
        shown.sign_in()
        yield shown


@pytest.fixture
def tab(signed_in: Visit) -> Iterator[Visit]:
    """A tab in which an admin is signed in, and has done nothing else before."""
    signed_in.begin_anew()
    yield signed_in
    signed_in.assert_quiet()


@pytest.fixture(scope="session")
def trial(root: Path) -> str:
    """The id of the best trial."""
    best = kd_sweep.open_results(root)["seeds"].sql(
        "SELECT trial_id FROM trials ORDER BY best_objective, trial_id LIMIT 1"
    )
    return str(best["trial_id"][0])
