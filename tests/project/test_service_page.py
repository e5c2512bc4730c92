"""The path of docs/service.md: from nothing to a result, a webhook and a revoked token, as the page has it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import environment
from tests.project.pages import ROOT, blocks
from tests.tiny_study import TINY

PAGE = ROOT / "docs/service.md"
ONE_TRIAL = TINY.replace("name: tiny", "name: digits").replace("[0.0, 0.5]", "[0.0]").replace("[1, 2]", "[1]")
WAIT_S = 120.0


class Terminals:
    """Terminals in one folder, in which the commands of the page are typed as they are, but for two ports."""

    def __init__(self, folder: Path, ports: dict[str, str]) -> None:
        self.folder, self._ports = folder, ports
        (folder / "bin").mkdir(parents=True)
        for name, words in (("kd-sweep", f'"{sys.executable}" -m kd_sweep'), ("python", f'"{sys.executable}"')):
            (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (folder / "bin" / name).chmod(0o755)
        path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
        self._variables = environment() | {"PATH": path, "XDG_STATE_HOME": str(folder / "state")}
        self._variables.pop("KD_SWEEP_TOKEN", None)
        self._exports = ""
        self._kept: list[subprocess.Popen[bytes]] = []

    def text(self, written: str) -> str:
        """Return a text of the page with the ports of this test."""
        return re.sub("|".join(self._ports), lambda found: self._ports[found[0]], written)

    def keep(self, command: str, name: str) -> Callable[[], str]:
        """Start what keeps its terminal; return what shows what it has printed."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            self._kept.append(
                subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {command}"],
                    cwd=self.folder,
                    env=self._variables,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        return log.read_text

    def run(self, block: str) -> tuple[int, str]:
        """Type a block; return its exit code and all that it prints."""
        done = subprocess.run(
            ["/bin/sh", "-ec", self.text(self._exports + block)],
            cwd=self.folder,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        self._exports += "".join(re.findall(r"^export .*\n", block, re.MULTILINE))
        return done.returncode, done.stdout

    def close(self) -> None:
        for process in self._kept:
            process.send_signal(signal.SIGTERM)
        for process in self._kept:
            try:
                process.wait(60)
            finally:
                process.kill()


def until(shown: Callable[[], str], text: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while text not in shown():
        assert time.monotonic() < deadline, shown()
        time.sleep(0.1)


@pytest.fixture
def ports() -> dict[str, str]:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return {"8400": str(first.getsockname()[1]), "8401": str(second.getsockname()[1])}


@pytest.fixture
def terminals(tmp_path: Path, ports: dict[str, str]) -> Iterator[Terminals]:
    opened = Terminals(tmp_path / "checkout", ports)
    (opened.folder / "sweeps").mkdir()
    (opened.folder / "sweeps/digits.yaml").write_text(ONE_TRIAL)  # smaller than the checkout's
    yield opened
    opened.close()


@pytest.mark.slow
def test_the_path_of_the_page_is_walked_as_it_is_written(terminals: Terminals, ports: dict[str, str]) -> None:
    install, serve, token, webhook, receive, submit, revoke, refused = blocks(PAGE, "sh")[:8]
    started, told, said = map(terminals.text, blocks(PAGE, "")[:3])
    assert install.splitlines()[-1] == "pip install '.[service]'"  # what it installs: test_packaging.py

    served = terminals.keep(f"{serve.strip()} --port {ports['8400']}", "service")
    until(served, "kds_")
    assert [line for line in served().splitlines() if not line.startswith("{")][:2] == started.splitlines()[:2]
    assert terminals.run(token)[0] == 0
    (terminals.folder / "receiver.py").write_text(terminals.text(blocks(PAGE, "py")[0]))
    assert terminals.run(webhook)[0] == 0
    for name in ("anna-token", "webhook-secret"):
        assert (terminals.folder / name).stat().st_mode & 0o077 == 0
    received = terminals.keep(receive.strip(), "receiver")

    code, out = terminals.run(submit)
    assert code == 0, out
    assert "1 completed" in out
    assert open_results(terminals.folder / "results/digits").table("trials")["status"].to_pylist() == ["completed"]
    until(received, told.strip())
    address = terminals.text("http://127.0.0.1:8401/")
    forged = {"X-KD-Sweep-Timestamp": f"{time.time():.0f}", "X-KD-Sweep-Signature": f"v1={'0' * 64}"}
    content = json.dumps({"study": "forged", "event": "finished"})
    assert [httpx.post(address, content=content, headers=headers).status_code for headers in (forged, {})] == [403, 403]
    assert received().count(told.strip()) == 1
    assert "the study forged" not in received()

    assert terminals.run(revoke)[0] == 0
    code, out = terminals.run(refused)
    assert (code, out.strip()) == (2, said.strip())
