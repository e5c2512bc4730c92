"""What is made of Ray's messages about a death."""

import pytest

from kd_sweep.driver.ray.crashes import crash_in
from kd_sweep.driver.ray.lost_processes import NOTICES, why_lost
from tests.driver.ray.rays_messages import (
    KILLED,
    NODE_SILENT,
    NODE_TOLD_TO_END,
    OUT_OF_MEMORY,
    TOLD_TO_END,
    UNAVAILABLE,
)


@pytest.mark.parametrize(
    ("text", "reason", "is_notice"),
    [
        (KILLED, "the trial's process on 10.0.0.3 was killed or crashed; the kernel does that too when memory", False),
        (TOLD_TO_END, "the trial's process on 10.0.0.3 received SIGTERM", True),
        (NODE_TOLD_TO_END, "the node on 10.0.0.3 went away (received SIGTERM)", True),
        (NODE_SILENT, "the node on 10.0.0.3 went away (health check failed due to missing too many heartbeats)", False),
        (OUT_OF_MEMORY, "out of memory on 10.0.0.3: Ray ended a process because the node's memory", False),
        (UNAVAILABLE, "the connection to the trial's process broke", False),
        ("Something else\nhappened\n", "happened", False),
        ("", "the trial's process went away", False),
    ],
    ids=["killed", "told to end", "node told to end", "node silent", "memory", "unavailable", "unknown", "nothing"],
)
def test_a_death_in_one_line(text: str, reason: str, is_notice: bool) -> None:
    assert why_lost(text).startswith(reason)
    assert "\n" not in why_lost(text)
    assert any(notice in text for notice in NOTICES) == is_notice


def test_an_account_without_an_address_gets_the_nodes() -> None:
    assert why_lost(UNAVAILABLE, "10.0.0.3") == "the connection to the trial's process on 10.0.0.3 broke"
    assert why_lost(KILLED, "10.0.0.9").startswith("the trial's process on 10.0.0.3 ")


def test_the_memory_in_use_is_said() -> None:
    assert why_lost(OUT_OF_MEMORY).endswith("(22.91GB of 23.54GB in use)")


CRASHES = {
    "SIGABRT: double free or corruption (!prev)": """\
double free or corruption (!prev)
*** SIGABRT received at time=1795612803 on cpu 0 ***
PC: @     0x7fd9624a8eec  (unknown)  (unknown)
Fatal Python error: Aborted
""",
    "SIGSEGV": "Fatal Python error: Segmentation fault\n\nThread 0x00007f8 (most recent call first):\n",
    "SIGFPE": "\n*** SIGFPE received at time=1 on cpu 0 ***\n",
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_is_told_by_its_signal_and_what_the_c_library_says(crash: str) -> None:
    assert crash_in(CRASHES[crash]) == crash
    assert why_lost(KILLED, crash=crash) == f"the trial's process on 10.0.0.3 crashed ({crash})"


def test_a_log_without_a_crash_tells_of_none() -> None:
    assert crash_in("UserWarning: something\n") is None
