"""The nodes of the Ray that studies run on, asked for by a process of its own while somebody wants to know them."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kd_sweep.service.supervision.local_head import LocalHead

_MODULE = "kd_sweep.service.cluster.nodes_process"
FRESH_S = 2.0
"""So long an answer counts as of now."""
PAUSE_S = 10.0
"""After a failure, before a process is started again."""
START_S, ANSWER_S = 30.0, 10.0
"""How long the first answer of a process may take, and each other one."""
_QUICK = {"OMP_NUM_THREADS": "1", "RAY_py_gcs_connect_timeout_s": "5"}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class NodesReport:
    """What is known of a Ray."""

    address: str | None
    """HOST:PORT; None where no Ray is running."""
    nodes: tuple[dict[str, Any], ...] = ()
    """As `kd_sweep.driver.ray.private.nodes_of` has them, as of `read_at`."""
    read_at: float | None = None
    """Seconds since 1970."""
    problem: str | None = None
    """Why there are no nodes, or none of now. One line."""


class RayNodes:
    """Asks the Ray of a service for its nodes. One caller at a time.

    Args:
        state: the folder of the service's own files, where its own head is noted.
        address: of the cluster that the service uses; its own head on this machine when None.
    """

    def __init__(self, state: Path, address: str | None) -> None:
        self._head = LocalHead(state)
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None
        self._report = NodesReport(None)
        self._asked_at = self._failed_at = -PAUSE_S

    def report(self) -> NodesReport:
        """Return the nodes as they were `FRESH_S` ago at most; where Ray does not answer, the last that were known."""
        address, settings = self._where()
        if address != self._report.address:
            self.close()
            self._report, self._asked_at = NodesReport(address), -PAUSE_S
        if address is None:
            return NodesReport(None, problem="no Ray is running; one starts with the next study")
        now = time.monotonic()
        if now - self._asked_at < FRESH_S or (self._process is None and now - self._failed_at < PAUSE_S):
            return self._report
        answer = self._ask(address, settings)
        self._asked_at = time.monotonic()
        if "nodes" in answer:
            self._report = NodesReport(address, tuple(answer["nodes"]), time.time())
        else:
            self._failed_at = self._asked_at
            self._report = replace(self._report, problem=f"Ray at {address} does not answer: {answer['problem']}")
        return self._report

    def _where(self) -> tuple[str | None, Mapping[str, str]]:
        """Return the address of Ray, and what the environment of a process has that asks it."""
        if self._address is not None:
            return self._address, {}
        head = self._head.living()
        return (None, {}) if head is None else (head.address, self._head.settings())

    def _ask(self, address: str, settings: Mapping[str, str]) -> dict[str, Any]:
        patience_s = ANSWER_S
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process, patience_s = _started(address, settings), START_S
        try:
            answer: dict[str, Any] = json.loads(_asked(self._process, patience_s))
        except (OSError, EOFError, ValueError) as error:
            self.close()
            return {"problem": str(error) if isinstance(error, TimeoutError) else "nothing is heard"}
        return answer

    def close(self) -> None:
        """End the process that asks; another one starts with the next question."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _started(address: str, settings: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", _MODULE, address],
        env=os.environ | settings | _QUICK,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )


def _asked(process: "subprocess.Popen[bytes]", patience_s: float) -> bytes:
    """Return the line with which the process answers; `TimeoutError` or `OSError` where it does not."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    said, deadline = b"", time.monotonic() + patience_s
    while not said.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([process.stdout], [], [], left_s)[0]:
            raise TimeoutError(f"nothing is heard for {patience_s:g} s")
        chunk = os.read(process.stdout.fileno(), _CHUNK)
        if not chunk:
            raise EOFError
        said += chunk
    return said
