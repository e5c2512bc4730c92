"""Services on two hosts with one root and rows in PostgreSQL: the second goes on with what the first has left."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get, submit
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Base, Submission
from tests.cluster.hosts import Host, eventually, hosts, why_not
from tests.comparing_tables import comparable
from tests.project.pages import ROOT
from tests.tiny_study import TINY

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not(networks=False)), reason=str(why_not(networks=False))),
]
WAIT_S = 240.0
ENDLESS = TINY.replace(
    "student: {model: resnet8, width: 4, epochs: 3}", "student: {model: resnet8, width: 4, epochs: 20000}"
)


class TwoHosts:
    """A root, its rows, and a service on each of two hosts."""

    def __init__(self, make_host: Callable[..., Host], folder: Path, url: str) -> None:
        self.root, self._folder, self._url = folder / "root", folder, url
        self.database = Database(url)
        environment = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 1}),
        }
        self.first, self.second = (
            make_host(name, folder / "hosts", environment=environment) for name in ("one", "two")
        )

    def serve(self, host: Host) -> None:
        """Start a service on a host."""
        command = [sys.executable, "-m", "tests.service.supervision.service_process", str(self.root)]
        host.start(*command, str(self._folder / host.name), "1", self._url, log="service.log")
        eventually(lambda: host.log("service.log").startswith(("leads", "read only")), 60, "the service has begun")

    def row(self) -> Submission:
        with self.database.reading() as session:
            return get(session, "tiny")

    def until(self, what: str, is_so: Callable[[Submission], bool]) -> Submission:
        deadline = time.monotonic() + WAIT_S
        while not is_so(row := self.row()):
            logs = "\n".join(host.log("service.log")[-3000:] for host in (self.first, self.second))
            assert time.monotonic() < deadline, (what, row.state, row.message, logs)
            time.sleep(0.1)
        return row

    def begin(self, text: str) -> int:
        """Let the first host run a study until an epoch is done, with a service on the second, which only reads."""
        self.serve(self.first)
        self.serve(self.second)
        assert self.second.log("service.log").startswith("read only")
        with self.database.changing() as session:
            submit(session, check(text, Policy()), by="anna", policy=Policy())
        eventually(lambda: list(self._folder.glob("one/runs/*/progressed")), WAIT_S, "an epoch is done")
        (driver,) = self.first.processes(sys.executable + "\0-m\0kd_sweep.service.supervision.driver_process")
        return driver

    def new_epochs(self) -> bool:
        """Whether a driver of the second host has seen an epoch end."""
        return bool(list(self._folder.glob("two/runs/*/progressed")))


@pytest.fixture
def two(tmp_path: Path, postgresql_url: str) -> Iterator[TwoHosts]:
    with hosts() as make_host:
        opened = TwoHosts(make_host, tmp_path, postgresql_url)
        yield opened
    with opened.database.changing() as session:
        Base.metadata.drop_all(session.connection())
    opened.database.close()


def test_after_a_power_cut_the_second_host_goes_on(two: TwoHosts, uninterrupted: Path) -> None:
    two.begin(TINY)
    two.first.kill()
    row = two.until("it is finished", lambda row: row.state in ("finished", "failed"))
    assert row.state == "finished", row.message
    for table in ("trials", "epochs", "teachers"):
        assert comparable(two.root / "tiny", table).equals(comparable(uninterrupted / "tiny", table))


def test_a_driver_that_a_service_has_left_on_another_host_is_waited_for(two: TwoHosts) -> None:
    driver = two.begin(ENDLESS)
    (service,) = two.first.processes(sys.executable + "\0-m\0tests.service.supervision.service_process")
    os.kill(service, signal.SIGKILL)
    held = two.until("its driver is noticed", lambda row: "is held by" in str(row.message))
    assert "on one for" in str(held.message)
    again = two.until("it is tried again", lambda row: row.run_id not in (held.run_id, None))
    assert (again.state, again.num_failures) == ("running", held.num_failures)
    assert not two.new_epochs()
    os.kill(driver, signal.SIGKILL)
    two.until("the second host goes on", lambda _: two.new_epochs())
    assert two.row().state == "running"
