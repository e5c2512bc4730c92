"""A service that runs real studies: killed with its drivers and its Ray it goes on by itself; users steer studies."""

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from kd_sweep.service.queue import changes
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.position import position
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.service_errors import ConflictError
from kd_sweep.service.supervision.run_folder import RunEnd
from kd_sweep.service.webhooks import subscriptions
from tests.comparing_tables import comparable
from tests.service.supervision.served_root import ServedRoot
from tests.service.webhooks.receiver import Receiver
from tests.tiny_study import TINY

SECOND = TINY.replace("name: tiny", "name: second")
TABLES = ("trials", "epochs", "teachers")
ALL = ("driver", "head", "service")
GOES_ON_S = 60.0
"""So long after a kill there has to be an epoch, on a machine where a study has its first one after `QUIET_START_S`.

Where that takes longer, since the machine is slower or busy, as much longer is allowed.
"""
QUIET_START_S = 20.0
"""From a submission to the first epoch, with the start of Ray, on two cores that do nothing else."""


def rows_of(root: Path, study: str, table: str) -> pa.Table:
    """Return what a study's table says, whatever the study is called."""
    return comparable(root / study, table).drop_columns(["study"])


def assert_as_undisturbed(served: ServedRoot, study: str, undisturbed: Path) -> None:
    for table in TABLES:
        expected = rows_of(undisturbed, "tiny", table)
        assert expected.num_rows > 0
        assert rows_of(served.root, study, table).equals(expected), (study, table)


def assert_paused_while_it_joins_ray(served: ServedRoot) -> None:
    served.until("it joins Ray", lambda: served.said("tiny", "joining"))
    served.change(changes.pause, "tiny")
    assert served.row("tiny").state == "pausing"
    paused = served.until_state("tiny", "paused", "finished")
    assert (paused.state, paused.driver_pid) == ("paused", None)
    assert not served.run("tiny").driver_is_alive
    assert served.run("tiny").end() == RunEnd("interrupted", "stopped by SIGTERM", counts={"completed": 2})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedRoot]:
    opened = ServedRoot(tmp_path)
    yield opened
    opened.close()


@pytest.mark.slow
def test_studies_go_on_after_kills_in_the_order_of_the_queue(served: ServedRoot, uninterrupted: Path) -> None:
    assert served.first_line == "leads"
    served.submit(TINY)
    served.submit(SECOND)
    driver = served.until_epoch("tiny")
    with served.database.reading() as session:
        why = position(session, "second", 1).why
    assert why == "first: no study before it; the slot of this service is held by tiny (running)"

    served.kill("driver", study="tiny")
    served.until("it is noted", lambda: served.row("tiny").next_start_at is not None)
    assert served.row("tiny").message == "its driver ended (it was ended by SIGKILL); attempt 2 follows after 5 s"
    assert served.row("second").state == "queued"
    driver = served.until_epoch("tiny", driver)

    served.kill("head", study="tiny")
    driver = served.until_epoch("tiny", driver)

    with served.suspended("tiny"):
        served.kill("service", study="tiny")
        served.start()
        assert served.until_epoch("tiny") == driver  # it lives, and is adopted
        served.kill("service", "driver", "head", study="tiny")
    served.start()
    for name in ("tiny", "second"):
        assert served.until_state(name, "finished", "failed").state == "finished", served.row(name).message
        assert_as_undisturbed(served, name, uninterrupted)
    assert served.row("tiny").ended_at < served.row("second").started_at
    assert served.row("tiny").id < served.row("second").id
    assert served.stop() == 0
    assert served.head() is None  # nobody needed it any more


def assert_deleted_while_it_runs(served: ServedRoot) -> None:
    served.submit(TINY)
    driver = served.until_epoch("tiny")
    served.change(changes.delete, "tiny")
    with pytest.raises(ConflictError, match="name: 'tiny' is taken"):
        served.submit(TINY)
    served.until("it is deleted", lambda: served.names() == [])
    assert not (served.root / "tiny").exists()
    assert not Path(f"/proc/{driver}").exists()
    assert list(served.settings.runs.iterdir()) == []


@pytest.mark.slow
def test_users_steer_their_studies(served: ServedRoot, uninterrupted: Path, receiver: Receiver) -> None:
    shutil.copytree(uninterrupted / "teachers", served.root / "teachers")
    assert_deleted_while_it_runs(served)  # its name is free again

    with served.database.changing() as session:
        subscriptions.add(session, receiver.url, by="anna", policy=Policy(allow_private_webhooks=True))
    served.submit(TINY + "budget: {max_trials: 2}\n")
    row = served.until_state("tiny", "budget_used", "failed")
    assert (row.state, row.message) == ("budget_used", "2 trials have not started: budget.max_trials keeps them out")
    assert row.ended_at is not None

    served.change(changes.extend, "tiny", check(TINY, Policy()))
    assert_paused_while_it_joins_ray(served)

    served.submit(SECOND)
    served.change(changes.cancel, "second")
    assert served.row("second").state == "cancelled"
    with served.database.changing() as session:
        changes.set_slots(session, "tiny", 1, policy=Policy())
    served.change(changes.resume, "tiny")
    driver = served.until_epoch("tiny")
    assert served.stop() == 0  # the service alone, as systemd does it with KillMode=process
    served.start()
    assert served.until_state("tiny", "finished", "failed").state == "finished"
    assert served.run("tiny").driver()[0] == driver  # type: ignore[index]
    assert served.run("tiny").request().slots == 1
    assert_as_undisturbed(served, "tiny", uninterrupted)

    told = [("tiny", "budget_used"), ("tiny", "finished")]
    served.until("the webhook is told", lambda: receiver.events() == told)
    served.change(changes.delete, "second")
    served.change(changes.delete, "tiny")
    served.until("both are deleted", lambda: served.names() == [])
    assert not (served.root / "tiny").exists()
    assert sorted(path.name for path in (served.root / "teachers").iterdir())
    assert list(served.settings.runs.iterdir()) == []
    assert served.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "order", [*itertools.permutations(ALL), ALL], ids=[*map("-".join, itertools.permutations(ALL)), "at once"]
)
def test_every_order_of_kills(
    served: ServedRoot, uninterrupted: Path, order: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    submitted_at = time.time()
    served.submit(TINY)
    served.submit(SECOND)
    driver = served.until_epoch("tiny")
    allowed_s = GOES_ON_S * max(1.0, (served.progressed_at - submitted_at) / QUIET_START_S)
    groups = [order] if request.node.callspec.id == "at once" else [(who,) for who in order]
    for killed in groups:
        killed_at = time.time()
        if killed == ("service",):
            with served.suspended("tiny"):
                served.kill("service", study="tiny")
                served.start()
                assert served.until_epoch("tiny") == driver  # it lives, and is adopted
            went_on_at = time.time()
        else:
            served.kill(*killed, study="tiny")
            if "service" in killed:
                served.start()
            driver = served.until_epoch("tiny", driver)  # the one before was killed, or has ended with its head
            went_on_at = served.progressed_at
        assert went_on_at - killed_at < allowed_s, (killed, allowed_s)
    for name in ("tiny", "second"):
        assert served.until_state(name, "finished", "failed").state == "finished", served.row(name).message
        assert_as_undisturbed(served, name, uninterrupted)
    assert served.row("tiny").ended_at < served.row("second").started_at
