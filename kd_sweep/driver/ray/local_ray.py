"""Ray on this machine for one sweep: checked before, patient while it starts, tried again, and open to nobody else."""

import functools
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_sweep.driver.ray.liveness import first_end
from kd_sweep.driver.ray.local_checks import SESSIONS, check_address_space, check_loopback, checked_parent
from kd_sweep.driver.ray.ray_settings import PATIENT, START_S, environment, own_token
from kd_sweep.errors import RayStartError
from kd_sweep.storage.temporary_folders import scratch_folder

ATTEMPTS = 3

FATAL = re.compile(r"\[[^\]]* [CE] \d+ \d+\] \(\w+\) [\w.]+:\d+: *(?P<reason>.+)")
"""A line of a daemon's log that says why it ends."""

NO_NEWS = re.compile(r"An unexpected system state has occurred.*?Check failed: ")
"""What Ray writes before the reason."""


@contextmanager
def local_settings() -> Iterator[None]:
    """Give this process's Ray a token that only it knows, and the settings `PATIENT`, while the block runs.

    The token holds whatever this user's clusters ask for, and no file has it. Enter it before Ray is imported.
    """
    with environment(PATIENT), environment(own_token(_token()), over=True):
        _read_again()
        yield
    _read_again()


@contextmanager
def local_ray(check: Callable[[], None], say: Callable[[str], None]) -> Iterator[None]:
    """Run a Ray of this process's own while the block runs, with `local_settings` around it.

    Its daemons and workers listen on the loopback interface alone. What Ray writes lies in a temporary folder of this
    user and goes with it.

    Args:
        check: called while it starts; raises to give it up.
        say: tells the user what takes long.

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
            _start(folder, check, say)
            from kd_sweep.driver.ray.private import without_environments

            with without_environments():
                yield
        finally:
            ray.shutdown()


def _start(folder: Path, check: Callable[[], None], say: Callable[[str], None]) -> None:
    from kd_sweep.driver.ray.private import Daemons, start_local

    end = time.monotonic() + START_S

    def still(daemons: Daemons) -> None:
        if (why := first_end(daemons)) is not None:
            raise RuntimeError(why)
        check()
        if time.monotonic() > end:
            raise RuntimeError(f"it was not up after {START_S:.0f} s")

    for attempt in range(1, ATTEMPTS + 1):
        try:
            start_local(folder, still)
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
    from kd_sweep.driver.ray.private import read_settings_again

    read_settings_again()
