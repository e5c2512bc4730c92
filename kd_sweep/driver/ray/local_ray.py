"""Ray on this machine for one sweep: checked before, patient while it starts, tried again, and open to nobody else."""

import functools
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kd_sweep.driver.ray.environment import environment
from kd_sweep.driver.ray.local_checks import SESSIONS, check_address_space, check_loopback, checked_parent
from kd_sweep.errors import RayStartError
from kd_sweep.storage.temporary_folders import scratch_folder

ATTEMPTS = 3
START_S = 100.0
"""What all attempts together may take. On an idle machine one takes 2 s, on one with six times its load 20 s."""

PATIENT = {
    "RAY_health_check_timeout_ms": "60000",
    "RAY_py_gcs_connect_timeout_s": "10",  # tried again, and between two tries one sees that nothing answers
    "RAY_gcs_server_port_wait_time_s": "3",  # so many times
    "RAY_raylet_start_wait_time_s": str(int(START_S)),
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_worker_niceness": "0",  # Ray's 15 gives a trial a hundredth of a core beside other work
    "RAY_enable_metrics_collection": "0",
}
"""Settings of a local Ray on a machine that does other work too."""

FATAL = re.compile(r"\[[^\]]* [CE] \d+ \d+\] \(\w+\) [\w.]+:\d+: *(?P<said>.+)")
"""A line of a daemon's log that says why it ends."""

NO_NEWS = re.compile(r"An unexpected system state has occurred.*?Check failed: ")
"""What Ray says before the reason."""


@contextmanager
def local_settings() -> Iterator[None]:
    """Give this process's Ray a token that only it knows, and the settings `PATIENT`, while the block runs.

    The token holds whatever this user's clusters ask for, and no file has it. Enter it before Ray is imported.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token(), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    with environment(PATIENT), environment(own, over=True):
        _read_again()
        yield
    _read_again()


@contextmanager
def local_ray(check: Callable[[], None], say: Callable[[str], None], options: dict[str, Any]) -> Iterator[None]:
    """Run a Ray of this process's own while the block runs, with `local_settings` around it.

    Its daemons and workers listen on the loopback interface alone. What Ray writes lies in a temporary folder of this
    user and goes with it.

    Args:
        check: called while it starts; raises to give it up.
        say: tells the user what takes long.
        options: of `ray.init`.

    Raises:
        StorageError: the temporary folder cannot hold Ray's files; nothing has been started.
        RayStartError: Ray did not start, or this machine does not let it.
    """
    parent = checked_parent()
    check_loopback()
    check_address_space()
    import ray

    with scratch_folder("ray", parent) as folder:
        try:
            _start(folder, check, say, options)
            from kd_sweep.driver.ray.local_daemons import without_environments

            with without_environments():
                yield
        finally:
            ray.shutdown()


def _start(folder: Path, check: Callable[[], None], say: Callable[[str], None], options: dict[str, Any]) -> None:
    from kd_sweep.driver.ray.local_daemons import start

    end = time.monotonic() + START_S

    def still() -> None:
        check()
        if time.monotonic() > end:
            raise RuntimeError(f"it was not up after {START_S:.0f} s")

    for attempt in range(1, ATTEMPTS + 1):
        try:
            start(folder, still, options)
            return
        except Exception as error:  # Ray raises what it likes
            reason = why_not_started(folder / SESSIONS, error)
            if attempt == ATTEMPTS or time.monotonic() > end:
                raise RayStartError(f"Ray could not be started on this machine: {reason}") from error
            say(f"Ray did not start ({reason}), trying again ({attempt + 1} of {ATTEMPTS})")


def why_not_started(folder: Path, error: Exception) -> str:
    """Return in one line why Ray did not start: what its daemons' newest logs end with, else the error.

    Args:
        folder: where Ray has its sessions' logs.
        error: what it has raised.
    """
    for logs in sorted(folder.glob("session_*-*/logs"), reverse=True)[:1]:
        for name in ("raylet.err", "gcs_server.err", "raylet.out", "gcs_server.out"):
            with_reason = FATAL.findall((logs / name).read_text(errors="replace")) if (logs / name).exists() else []
            if with_reason:
                return f"{NO_NEWS.sub('', with_reason[0].strip())} ({name})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@functools.cache
def _token() -> str:
    """Return this process's secret: Ray reads it once."""
    return secrets.token_hex(32)


def _read_again() -> None:
    """Make this process's Ray read the environment, as it does when it is first imported."""
    import ray

    core: Any = ray._raylet
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()
