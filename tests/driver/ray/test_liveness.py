"""A Ray that has died under its driver."""

import subprocess
import sys
import time

import pytest

from kd_sweep.driver.ray import liveness
from kd_sweep.driver.ray.liveness import ending_when_stuck
from kd_sweep.errors import ClusterLostError
from tests.command_line import environment

STUCK = """
import sys, time
from kd_sweep.errors import ClusterLostError
from kd_sweep.driver.ray import liveness
liveness.DAEMONS_POLL_S = liveness.STUCK_S = 0.1
def check():
    raise ClusterLostError("Ray has died")
with liveness.ending_when_stuck(check, lambda why: print(f"last words: {why}", flush=True)):
    time.sleep(20)
"""


def test_a_driver_that_waits_inside_a_dead_ray_says_why_it_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, env=environment(), timeout=15, check=False
    )
    assert (done.returncode, done.stdout) == (1, "last words: Ray has died\n"), done.stderr


def test_one_that_ends_by_itself_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "DAEMONS_POLL_S", 0.01)
    monkeypatch.setattr(liveness, "STUCK_S", 0.1)
    said: list[str] = []
    dead = ClusterLostError("Ray has died")

    def check() -> None:
        raise dead

    with ending_when_stuck(check, said.append):
        time.sleep(0.05)
    time.sleep(0.2)
    assert said == []
