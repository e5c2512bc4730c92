"""The processes that answer statements: some at once, warm for the next one, and replaced where they die or overrun."""

import contextlib
import json
import subprocess
import sys
import threading
from typing import Any

from pydantic import ByteSize

from kd_sweep import errors
from kd_sweep.errors import KdSweepError, QueryError
from kd_sweep.service.http.answers.large_answers import LARGE_BYTES
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.child_process import child_environment
from kd_sweep.service.http.slots import Slots
from kd_sweep.service.http.statements.statement_process import Question

_MODULE = "kd_sweep.service.http.statements"
_END_S = 5.0
"""So long a process may take to be gone that answers no more."""
_START_S = 15.0
"""More than a statement's own time: its process may have to start, and stops it by itself first."""

_ONE_LARGE = threading.Lock()
"""Large answers are taken over one after another: the next may be one too many for clients that read slowly."""


class Statements:
    """Answers statements of SQL, each in a process of its own.

    Args:
        memory_bytes: of a statement, and of its answer.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._slots = Slots(4, 12, 10.0, "statements")
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._lock = threading.Lock()
        self._has_ended = False

    def answer(self, question: Question) -> bytes:
        """Return the encoded answer to a statement.

        Raises:
            KdSweepError: as `Results.sql`.
            QueryError: the process has died of it, or had to be ended.
            RefusedRequestError: too many run already, or the service ends.
        """
        with self._slots.one():
            process, is_warm = self._taken()
            try:
                content = process.ask(question)
                if content is None and is_warm and not process.overran:  # it had ended, or not by this statement
                    process = self._started()
                    content = process.ask(question)
                if content is None:
                    raise self._why(process, question)
            finally:
                self._give_back(process)
        return content

    def end(self) -> None:
        """End every process, with what it does, and start no other."""
        with self._lock:
            self._has_ended = True
            processes = list(self._all)
        for process in processes:
            process.end()

    def pids(self) -> list[int]:
        """Return the processes that live."""
        with self._lock:
            return [one.pid for one in self._all if one.code() is None]

    def _taken(self) -> tuple["_Process", bool]:
        """Return a process, and whether it has been asked before: the one that was asked last, so that others end."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        return self._started(), False

    def _started(self) -> "_Process":
        with self._lock:
            if self._has_ended:
                raise RefusedRequestError(503, "SQL: the service ends")
            process = _Process(self._memory_bytes)
            self._all = {one for one in self._all if one.code() is None} | {process}
        return process

    def _give_back(self, process: "_Process") -> None:
        with self._lock:
            self._idle = [one for one in self._idle if one.code() is None]
            if process.is_ready:
                self._idle.append(process)
                return
        process.end()

    def _why(self, process: "_Process", question: Question) -> KdSweepError:
        """Return why a process has ended without an answer."""
        if self._has_ended:
            return RefusedRequestError(503, "SQL: the service ends")
        if process.overran:
            return QueryError(f"SQL: the query took more than {question.timeout_s:g} s and was stopped")
        allowed = ByteSize(question.memory_bytes).human_readable(decimal=True)
        return QueryError(f"SQL: the query ended its process; it or its answer needs more than {allowed} of memory")


class _Process:
    """One process, asked one question at a time."""

    def __init__(self, memory_bytes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(memory_bytes)],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the service, which ends it
        )
        self.pid = self._process.pid
        self.overran = False
        """Whether it was ended because it did not answer in time."""
        self.is_ready = False
        """Whether it can be asked: its last answer was read to its end."""

    def ask(self, question: Question) -> bytes | None:
        """Return its answer; None where it ends without one. Raises what the statement raises there."""
        self.is_ready = False
        watch = threading.Timer(question.timeout_s + _START_S, self._overrun)
        watch.daemon = True
        watch.start()
        try:
            head, content = self._asked(question.line())
        except (OSError, EOFError, ValueError):  # it has died; half an answer is none
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            return None
        finally:
            watch.cancel()
        self.is_ready = True
        if "failure" in head:
            raise RuntimeError(head["failure"])
        if "error" in head:
            raise getattr(errors, head["error"])(head["message"])
        return content

    def code(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """End it, and wait for that."""
        self._process.kill()
        self._process.wait()

    def _overrun(self) -> None:
        self.overran = True
        self._process.kill()

    def _asked(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        head = json.loads(self._process.stdout.readline())
        num_bytes = head.get("num_bytes", 0)
        with _ONE_LARGE if num_bytes >= LARGE_BYTES else contextlib.nullcontext():
            content = self._process.stdout.read(num_bytes)
        if len(content) < num_bytes:
            raise EOFError
        return head, content
