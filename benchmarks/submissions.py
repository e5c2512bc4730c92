"""1,000 submissions within a minute from 20 clients, to a service that runs the first of them meanwhile.

Printed are how many were accepted, how long each waited for its answer, and the CPU of the service's process for each.
Seconds depend on what else the machine does, which the first study is a part of: it trains on every CPU.

Run: python benchmarks/submissions.py [--number 1000] [--seconds 60]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack

import httpx
from service_visits import Server, own_cpu_s, serving

NUM_CLIENTS = 20
STUDY = """
# One of many.
name: {name}
data: {{name: digits, image_size: 8}}
teacher: {{model: resnet20, epochs: 100}}
student: {{model: resnet20, epochs: 50}}
search:
  augmentation_strength: {{grid: [0.0, 0.5, 1.0]}}
  ensemble_size: {{grid: [1, 2, 3]}}
  seed: {{grid: [0, 1, 2]}}
"""
YAML = {"Content-Type": "application/yaml"}


async def submit(client: httpx.AsyncClient, name: str, at: float, waited: list[float]) -> str:
    """Submit a study at a moment; return the name that the answer has."""
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    begun = time.monotonic()
    headers = YAML | {"Idempotency-Key": name}
    answer = await client.post("/api/v1/studies", content=STUDY.format(name=name), headers=headers)
    waited.append(time.monotonic() - begun)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["name"])


async def load(server: Server, number: int, seconds: float) -> tuple[set[str], list[float]]:
    """Submit so many studies, evenly over the time; return the names that were accepted, and how long each took."""
    waited: list[float] = []
    async with AsyncExitStack() as open_clients:
        # All before the first turn: one takes 50 ms to make, for which the others would be late, and then at once.
        clients = [await open_clients.enter_async_context(_client(server)) for _ in range(NUM_CLIENTS)]
        begun, pause = time.monotonic(), seconds / number

        async def be_a_client(which: int) -> list[str]:
            turns = range(which, number, NUM_CLIENTS)
            return [await submit(clients[which], f"study-{turn}", begun + turn * pause, waited) for turn in turns]

        names = await asyncio.gather(*(be_a_client(which) for which in range(NUM_CLIENTS)))
    return {name for some in names for name in some}, sorted(waited)


def _client(server: Server) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120)


def pause_all(server: Server) -> None:
    """Let no study run on when the service has ended."""
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=120) as client:
        for state in ("queued", "running", "pausing"):
            while rows := client.get("/api/v1/studies", params={"state": state, "limit": 500}).json()["studies"]:
                waiting = [row["name"] for row in rows if row["wanted"] == "run"]
                for name in waiting:
                    client.patch(f"/api/v1/studies/{name}", json={"wanted": "pause"})
                time.sleep(0.0 if waiting else 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "kd_sweep", "serve", f"{folder}/root", "--state", f"{folder}/state"]
        with serving([*command, "--port", "0"], (r"http://\S+", r"kds_\S+")) as server:
            before, begun = own_cpu_s(server.process.pid), time.monotonic()
            names, waited = asyncio.run(load(server, given.number, given.seconds))
            took, cpu = time.monotonic() - begun, own_cpu_s(server.process.pid) - before
            pause_all(server)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    figures = ", ".join(f"{name} {1000 * waited[int(at * (len(waited) - 1))]:.0f}" for name, at in shares.items())
    print(f"{len(names)} of {given.number} accepted in {took:.1f} s; ms to an answer: {figures}")
    print(f"CPU of the service: {1000 * cpu / given.number:.1f} ms each; load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
