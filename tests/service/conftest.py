"""Fixtures of the service: its database, and a study to submit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import submit
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Submission
from tests.service.postgresql import INSTALLED, WHY_NOT, postgresql
from tests.service.submitting import Submit
from tests.service.webhooks.receiver import Receiver, receiving


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    if not INSTALLED:
        pytest.skip(WHY_NOT)
    with postgresql() as url:
        yield url


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """What webhooks of tests lead to."""
    with receiving() as server:
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty one in SQLite."""
    opened = Database(f"sqlite:///{tmp_path / 'service.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def submitted(database: Database) -> Submit:
    """Submit a small study of this name; more arguments are those of `submit`."""

    def make(name: str, state: str = "queued", **options: object) -> Submission:
        with database.changing() as session:
            arguments = {"by": "anna", "policy": Policy(), **options}
            row, _ = submit(session, check(f"name: {name}", Policy()), **arguments)
            row.state = state
        return row

    return make
