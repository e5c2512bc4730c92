"""The Ray on this machine that a service keeps for its drivers: started, adopted after a restart, started again."""

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from kd_sweep.driver.ray.shared_head import SharedHead, read_head, settings_of_drivers, using_head
from kd_sweep.errors import StorageError
from kd_sweep.service.supervision.driver_log import last_line

_HEAD = "kd_sweep.driver.ray.shared_head"
END_S = 20.0
"""How long a head may take to end."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0


class LocalHead:
    """A Ray head that drivers of this service join.

    Args:
        state: the folder of the service's own files.
    """

    def __init__(self, state: Path) -> None:
        self._file, self._lock, self._log = state / "head.json", state / "head.lock", state / "head.log"
        self._token_file = state / "ray-token"
        self._need = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._num_failures = 0
        self._next_start_at = 0.0
        self.problem: str | None = None
        """Why it has not started; None where nothing is wrong."""

    def living(self) -> SharedHead | None:
        """Return the head if it lives, and start none."""
        head = read_head(self._file)
        return head if head is not None and head.is_alive else None

    def ready(self) -> SharedHead | None:
        """Return the head once it can be joined. Starts one where there is none, and does not wait for it."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        head = read_head(self._file)
        if head is not None and head.is_alive:
            self._num_failures, self.problem = 0, None
            return head
        if not self._is_starting():
            self._start()
        return None

    def settings(self) -> dict[str, str]:
        """Return what the environment of a driver has, to join it."""
        return settings_of_drivers(self._file, self._token())

    def end(self) -> None:
        """End it, if it lives, and wait for that."""
        head = read_head(self._file)
        if head is None or not head.is_alive:
            return
        os.kill(head.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        while head.is_alive and time.monotonic() < deadline:
            if self._process is not None:
                self._process.poll()
            time.sleep(0.05)
        if head.is_alive:
            os.kill(head.pid, signal.SIGKILL)

    def need(self) -> None:
        """Keep it until `leave`, or for as long as this process lives."""
        self._need.enter_context(using_head(self._file))

    def leave(self) -> None:
        """Need it no more: it ends when no driver needs it either, which a process that dies does not have to say."""
        self._need.close()

    def _is_starting(self) -> bool:
        """Whether a process holds the lock that every head of this service takes, whoever has started it."""
        with self._opened_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _opened_lock(self) -> BinaryIO:
        try:
            return self._lock.open("ab")
        except OSError as error:
            raise StorageError(f"{self._lock}: cannot be written: {error.strerror}") from None

    def _start(self) -> None:
        if time.monotonic() < self._next_start_at:
            return
        if self._num_failures:
            self.problem = f"Ray does not start on this machine: {last_line(self._log) or 'no reason given'}"
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._num_failures)
        self._next_start_at = time.monotonic() + pause_s
        self._num_failures += 1
        lock = self._opened_lock()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", _HEAD, str(self._file)],
                    env=os.environ | self.settings(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock.fileno(),),  # the lock is the process's for as long as it lives
                    start_new_session=True,
                )
        except OSError as error:
            raise StorageError(f"{self._log}: cannot be written: {error.strerror}") from None
        finally:
            lock.close()

    def _token(self) -> str:
        """Return the secret that the head and its drivers share."""
        if not self._token_file.exists():
            unfinished = self._token_file.with_suffix(".new")
            with open(unfinished, "w", opener=_for_this_user) as file:
                file.write(secrets.token_hex(32))
            unfinished.replace(self._token_file)
        return self._token_file.read_text()


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
