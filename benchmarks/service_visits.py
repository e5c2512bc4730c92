"""Visits to a service and to optuna-dashboard: what a Chromium sends and receives, and what their processes take."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page

SAMPLE_S = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A process that answers, with its children."""

    process: subprocess.Popen[str]
    url: str
    token: str = ""
    peak_bytes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def cpu_s(self) -> float:
        """Return the CPU seconds of the process, its children, and those of them that have ended."""
        spent = 0.0
        for pid in family(self.process.pid):
            fields = _stat(pid)
            if fields:
                spent += sum(map(int, fields[11:15])) / _TICKS
        return spent

    def memory_bytes(self) -> int:
        """Return the memory of the process and its children: pages that several of them share count once.

        A child that has not begun its own program yet lives in the memory of its parent, and does not count.
        """
        pids = family(self.process.pid)
        own = _program(pids[0])
        return sum(_proportional(pid) for pid in pids if pid == pids[0] or _program(pid) != own)

    def watch(self) -> None:
        """Note the most memory, until it has ended."""
        while not self.ended.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, self.memory_bytes())


@contextmanager
def serving(command: list[str], patterns: tuple[str, ...]) -> Iterator[Server]:
    """Yield a server once its output has what the patterns say: its URL, and its token."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, bufsize=1
    )
    assert process.stdout is not None
    found: list[str] = []
    while len(found) < len(patterns):
        line = process.stdout.readline()
        assert line, f"{command[0]} has ended"
        found += [match[0] for pattern in patterns[len(found) :] if (match := re.search(pattern, line))]
    server = Server(process, *found)
    threading.Thread(target=server.watch, daemon=True).start()
    threading.Thread(target=lambda: process.stdout and process.stdout.read(), daemon=True).start()
    try:
        yield server
    finally:
        server.ended.set()
        process.terminate()
        process.wait(30)


def own_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process alone."""
    return sum(map(int, _stat(pid)[11:13])) / _TICKS


def family(pid: int) -> list[int]:
    """Return a process and all processes under it."""
    parents = {int(path.name): _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = [pid]
    for one in found:
        found += [child for child, fields in parents.items() if fields and int(fields[1]) == one]
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _program(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _proportional(pid: int) -> int:
    """Return the memory of a process: its own pages, and its share of those that others have, too."""
    try:
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


@dataclass
class Traffic:
    """What a tab asks for and receives, as its network stack counts it: compressed, with headers."""

    num_bytes: int = 0
    requests: list[tuple[float, str]] = field(default_factory=list)
    """When, in seconds, and the path."""


def counted(page: Page) -> Traffic:
    """Return the traffic of a tab, which grows from now on."""
    traffic, begun = Traffic(), time.monotonic()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def received(event: dict[str, Any]) -> None:
        traffic.num_bytes += int(event["encodedDataLength"])

    def asked(event: dict[str, Any]) -> None:
        if "/api/" in event["request"]["url"]:
            path = event["request"]["url"].partition("/api/")[2]
            traffic.requests.append((time.monotonic() - begun, f"/api/{path}"))

    session.on("Network.dataReceived", received)
    session.on("Network.responseReceived", lambda event: received(event["response"]))
    session.on("Network.requestWillBeSent", asked)
    return traffic


@dataclass
class Heard:
    """What a stream of events has brought."""

    num_bytes: int = 0
    begun: float = field(default_factory=time.time)
    epochs: dict[tuple[str, int], float] = field(default_factory=dict)
    """When each came, in seconds since 1970."""
    most_bytes: int = 0
    """Of one event."""


async def listen(client: httpx.AsyncClient, heard: Heard, seconds: float) -> None:
    """Read the stream of events for so long."""
    end = time.monotonic() + seconds
    async with client.stream("GET", "/api/v1/events", timeout=None) as answer:
        async for line in answer.aiter_lines():
            heard.num_bytes += len(line) + 1
            if line.startswith("data: ") and '"trial_id"' in line:
                heard.most_bytes = max(heard.most_bytes, len(line))
                columns = json.loads(line[6:])["columns"]
                for trial_id, epoch in zip(columns["trial_id"], columns["epoch"], strict=True):
                    heard.epochs[trial_id, epoch] = time.time()
            if time.monotonic() > end:
                return


async def be_a_tab(client: httpx.AsyncClient, trace: list[tuple[float, str]], delay_s: float, seconds: float) -> int:
    """Do what a tab did: listen, and ask for the same paths at the same times, with the tags that it has."""
    await asyncio.sleep(delay_s)
    heard, tags, received = Heard(), {}, 0
    stream = asyncio.create_task(listen(client, heard, seconds - delay_s))
    begun = time.monotonic()
    for at, path in trace:
        if at + delay_s > seconds:
            break
        await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
        if path.startswith("/api/v1/events"):
            continue
        known = {"If-None-Match": tags[path]} if path in tags else {}
        answer = await client.get(path, headers=known, timeout=None)  # on a busy machine a first answer takes its time
        if "etag" in answer.headers:
            tags[path] = answer.headers["etag"]
        received += answer.num_bytes_downloaded
    await stream
    return received + heard.num_bytes


async def tabs(server: Server, number: int, trace: list[tuple[float, str]], seconds: float) -> list[int]:
    """Be so many tabs at once, each begun at another moment of the first seconds."""
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, limits=limits) as client:
        delays = [index * 10.0 / number for index in range(number)]
        return await asyncio.gather(*(be_a_tab(client, trace, delay, seconds) for delay in delays))


def main() -> None:
    """Be tabs, in a process of its own, as JSON from standard input says; print the bytes of each."""
    given = json.loads(sys.stdin.read())
    server = Server(None, given["url"], given["token"])  # type: ignore[arg-type]
    print(json.dumps(asyncio.run(tabs(server, given["number"], given["trace"], given["seconds"]))))


if __name__ == "__main__":
    main()
