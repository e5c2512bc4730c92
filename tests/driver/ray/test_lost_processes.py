"""What Ray says of a death, in its own words (Ray 2.60), and what we make of it."""

import pytest

from kd_sweep.driver.ray.crashes import crash_in
from kd_sweep.driver.ray.lost_processes import NOTICES, why_lost

ACTOR = """The actor died unexpectedly before finishing this task.
	class_name: TrialActor
	actor_id: c0113c800bc76cd43bf705a401000000
	pid: 32605
	namespace: 5383dc8a-4a14-4c41-95e4-36fad9ec7bbf
	ip: 10.0.0.3
"""
KILLED = (
    ACTOR + "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the "
    "process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the "
    "worker crashed unexpectedly due to SIGSEGV or another unexpected error."
)
TOLD_TO_END = (
    ACTOR + "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
    "Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM."
)
NODE = ACTOR + "The actor died because its node has died. Node Id: fb1bc65ca1bc07743e393efadbb65823d20d3c273311f209\n"
NODE_TOLD_TO_END = NODE + "	the actor's node was terminated expectedly: received SIGTERM"
NODE_SILENT = (
    NODE + "	the actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"
)
OUT_OF_MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.3, \
ID: d5f4264cc674ef90acbe9a09dd4de692f58168147a33482c0da2ac75) was 22.91GB used / 23.54GB limit (0.973237)
OOM kill reason: Memory usage 24601491840B exceeded threshold of 24012260556B (95.0% of 25276063744B limit)
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/en/latest/"""
UNAVAILABLE = """The actor 03175098982c25504693276501000000 is unavailable: The actor is temporarily unavailable: \
RpcError: RPC error: recvmsg:Connection reset by peer rpc_code: 14. The task may or may not have been executed."""


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
