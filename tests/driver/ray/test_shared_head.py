"""The head that drivers share: who keeps it, and that it ends when nobody does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_sweep.driver.ray.shared_head import is_used, read_head, settings_of_drivers
from tests.command_line import environment
from tests.polling import until

USER = """
import sys
from pathlib import Path
from kd_sweep.driver.ray.shared_head import using_head
with using_head(Path(sys.argv[1])):
    print("uses it", flush=True)
    sys.stdin.read()
"""
HEAD = """
import sys
from pathlib import Path
from kd_sweep.driver.ray import shared_head
shared_head.UNUSED_S = 1.0
sys.exit(shared_head.main(Path(sys.argv[1])))
"""


def start_user(file: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", USER, str(file)]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    assert user.stdout is not None
    assert user.stdout.readline() == "uses it\n"
    return user


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_a_head_is_used_until_the_last_of_its_users_has_died(tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    assert not is_used(file)
    users = [start_user(file) for _ in range(2)]
    for user in users:
        assert is_used(file)
        end(user)
    assert not is_used(file)
    assert not is_used(tmp_path / "gone" / "head.json")


@pytest.mark.slow
def test_a_head_ends_soon_after_its_last_user_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    user = start_user(file)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as a parent may have it
    try:
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD, str(file)], env=environment() | settings_of_drivers(file, "0" * 64)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    until(lambda: read_head(file) is not None)
    [mask] = [line for line in Path(f"/proc/{head.pid}/status").read_text().splitlines() if line.startswith("SigBlk")]
    assert not int(mask.split()[1], 16) & 1 << signal.SIGTERM - 1
    time.sleep(2.0)
    assert head.poll() is None
    end(user)
    assert head.wait(60) == 0
