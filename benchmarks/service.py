"""The service with 10,000 trials x 200 epochs that grow live, beside optuna-dashboard, in one Chromium and run.

The study is that of `generated_study.py`, through the real writer, 50 epochs a second. Measured are what the page costs
in bytes and seconds, how late an epoch is, what 50 tabs take, and the service's memory. optuna-dashboard shows a study
of the same trials from the same tables, through JournalStorage and Optuna's `create_trial` and `add_trials`. Since it
holds and sends a whole study, both are compared at 1,000 trials; `--peer-trials` says otherwise. A visit is a page
opened with an empty cache, and left open for 15 s; compared are three visits to each, of which the first finds nothing
computed. The 50 tabs are clients that do what a tab of Chromium did before: its stream of events, and the same requests
at the same times, with the tags that it has.

CPU is that of the server's process and its children, memory theirs with shared pages counted once. Wall seconds depend
on what else the machine does; its load is printed. Each part prints what it has measured; where one fails, the others
go on. Two million epochs take minutes to write: a `--root` of an earlier run has them.

Needs Chromium, and the packages playwright and optuna-dashboard; the latter only for this.
Run: python benchmarks/service.py [--root FOLDER]; `--small` takes two minutes and shows that it works.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import generated_study
import httpx
from playwright.sync_api import Browser, Page, sync_playwright
from service_visits import Heard, Server, Traffic, counted, listen, serving

from kd_sweep.tables.queries.named_queries import NAMED_QUERIES
from kd_sweep.tables.reader import open_results

HERE = Path(__file__).parent
NAME, PEER = "generated", "peer"
EPOCHS_PER_S = 50
NUM_TABS = 50
BEGUN_S = 8.0
"""After so long the writer of the live trials has begun."""
NUM_VISITS = 3
CURVE_S = 60.0
"""How long a page may take to its first curve."""
WHOLE = {"trials": 9_900, "epochs": 200, "live": 100, "peer": 1_000, "visit": 15.0, "watch": 45.0}
SMALL = {"trials": 100, "epochs": 20, "live": 300, "peer": 100, "visit": 5.0, "watch": 10.0}
Sizes = dict[str, Any]
Figures = dict[str, float]
LIMITS = {
    "how it stands, s": 1.0,
    "first curve, s": 1.0,
    "first curve, kB": 300.0,
    "slowest view, s": 1.0,
    "epoch on its way, s (p99)": 2.0,
    "event, kB (largest)": 50.0,
    "50 tabs, cores": 1.0,
    "memory, MB (peak)": 400.0,
    "bytes of a visit / optuna-dashboard's": 0.1,
    "CPU of a visit / optuna-dashboard's": 0.2,
}
STANDING = "() => document.querySelector('[aria-label=\"How it stands\"]') !== null"
"""State, progress, best value and time left are on the page."""
CURVE = "() => document.querySelector('.uplot canvas') !== null"
OURS = {"standing": STANDING, "first": CURVE}
PEER_CURVE = "() => document.querySelector('.js-plotly-plot .trace, .js-plotly-plot .scatterlayer') !== null"


def write_journal(root: Path, path: Path) -> None:
    """Write the peer's study for optuna-dashboard: the same trials, with the value of each epoch."""
    import optuna
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    results = open_results(root / PEER)
    curves: dict[str, dict[int, float]] = {}
    for row in results.sql("SELECT trial_id, epoch, val_accuracy FROM epochs ORDER BY ALL").to_pylist():
        curves.setdefault(row["trial_id"], {})[row["epoch"]] = row["val_accuracy"]
    distributions = {
        "augmentation_strength": FloatDistribution(0.0, 1.0),
        "ensemble_size": IntDistribution(1, 3),
        "seed": IntDistribution(0, 10_000),
    }
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))), study_name=PEER, direction="maximize"
    )
    study.add_trials(
        optuna.create_trial(
            params={name: row[name] for name in distributions},
            distributions=distributions,
            value=row["objective"],
            intermediate_values=curves[row["trial_id"]],
        )
        for row in results.table("trials").to_pylist()
    )


def visited(browser: Browser, server: Server, url: str, shown: Mapping[str, str], seconds: float) -> dict[str, float]:
    """Open a page in a tab with an empty cache; return what it costs until all is shown, and in so many seconds.

    Args:
        browser: with the tab.
        server: of the page.
        url: of the page.
        shown: conditions that come true one after another, the last with the first curve; by their names.
        seconds: how long the page is left open.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    if server.token:
        answer = context.request.post(f"{server.url}/api/v1/session", data={"token": server.token})
        assert answer.ok, answer.text()
    page = context.new_page()
    traffic, before, begun = counted(page), server.cpu_s(), time.monotonic()
    page.goto(url, wait_until="commit")
    figures = {}
    for name, condition in shown.items():
        page.wait_for_function(condition, timeout=1000 * CURVE_S, polling=20)
        figures |= {f"{name}_s": time.monotonic() - begun, f"{name}_bytes": float(traffic.num_bytes)}
    page.wait_for_timeout(max(0.0, 1000 * (seconds - figures["first_s"])))
    figures |= {"bytes": float(traffic.num_bytes), "cpu_s": server.cpu_s() - before}
    figures["requests"] = float(len(traffic.requests))
    context.close()
    return figures


def traced(browser: Browser, server: Server, url: str, seconds: float) -> Traffic:
    """Return what a tab asks for in so many seconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    assert context.request.post(f"{server.url}/api/v1/session", data={"token": server.token}).ok
    page: Page = context.new_page()
    traffic = counted(page)
    page.goto(url)
    page.wait_for_timeout(1000 * seconds)
    context.close()
    return traffic


def views_of(server: Server) -> dict[str, float]:
    """Return how long the service takes for each view of the study, asked for the first time."""
    taken = {}
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=120) as client:
        for name, query in NAMED_QUERIES.items():
            if query.columns is None:
                continue
            begun = time.monotonic()
            client.get(f"/api/v1/studies/{NAME}/queries/{name}", params={"format": "columns"}).raise_for_status()
            taken[name] = time.monotonic() - begun
    return taken


def watched(server: Server, seconds: float) -> Heard:
    """Listen to the events of the service for so long."""

    async def work() -> Heard:
        heard = Heard()
        async with httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}
        ) as client:
            await listen(client, heard, seconds)
        return heard

    with ThreadPoolExecutor(1) as pool:  # Playwright has the loop of this thread
        return pool.submit(asyncio.run, work()).result()


def delays(root: Path, heard: Heard) -> list[float]:
    """Return how long after its end each epoch had come that ended while somebody listened, sorted."""
    rows = open_results(root / NAME).sql("SELECT trial_id, epoch, finished_at FROM epochs").to_pylist()
    ended = {(row["trial_id"], row["epoch"]): row["finished_at"].timestamp() for row in rows if row["trial_id"]}
    return sorted(came - ended[key] for key, came in heard.epochs.items() if ended[key] >= heard.begun)


def of_tabs(server: Server, traffic: Traffic, seconds: float) -> dict[str, float]:
    """Be 50 tabs that do what one did, and return the cores that the service takes for them, and bytes per tab."""
    given = {
        "url": server.url,
        "token": server.token,
        "number": NUM_TABS,
        "seconds": seconds,
        "trace": traffic.requests,
    }
    before, begun = server.cpu_s(), time.monotonic()
    done = subprocess.run(
        [sys.executable, HERE / "service_visits.py"],
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    cores = (server.cpu_s() - before) / (time.monotonic() - begun)
    return {"cores": cores, "bytes": statistics.mean(json.loads(done.stdout))}


@contextmanager
def growing(root: Path, sizes: Sizes) -> Iterator[None]:
    """Let the study grow while the block runs; fail where it has ended before the block."""
    num_trials = open_results(root / NAME).table("trials").num_rows + sizes["live"]
    command = [sys.executable, HERE / "generated_study.py", root, "--name", NAME, "--trials", str(num_trials)]
    command += ["--epochs", str(sizes["epochs"]), "--live-trials", str(sizes["live"])]
    writer = subprocess.Popen([*command, "--epochs-per-s", str(EPOCHS_PER_S)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(BEGUN_S)
        yield
        assert writer.poll() is None, "the live trials have ended before the measurement; take more of them"
    finally:
        writer.terminate()
        writer.wait()


class Measured:
    """What is measured, part by part, and the figures that have limits."""

    def __init__(self) -> None:
        self.figures: Figures = {}

    @contextmanager
    def part(self, name: str) -> Iterator[Figures]:
        """Yield a part's figures, to be filled; print them, or why there are none."""
        found: Figures = {}
        try:
            yield found
        except Exception as error:
            print(f"{name}: failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}", flush=True)
        shown = {key: round(value, 3) for key, value in found.items()}
        print(f"{name}: {json.dumps(shown)} (load {os.getloadavg()[0]:.1f})", flush=True)

    def table(self) -> Iterator[str]:
        """Yield the lines of a table of what has limits."""
        yield f"{'':40} {'measured':>10} {'limit':>8} {'ratio':>6}"
        for name, limit in LIMITS.items():
            value = self.figures.get(name)
            figures = f"{'-':>10} {limit:8.1f}" if value is None else f"{value:10.3f} {limit:8.1f} {value / limit:6.2f}"
            yield f"{name:40} {figures}"


def several_visits(
    browser: Browser, server: Server, url: str, shown: Mapping[str, str], seconds: float, found: Figures
) -> None:
    """Visit a page several times; each visit's figures have its number behind them, and the means have none."""
    visits = []
    for number in range(1, NUM_VISITS + 1):
        visits.append(visited(browser, server, url, shown, seconds))
        found |= {f"{name} {number}": value for name, value in visits[-1].items()}
        found |= {name: statistics.mean(visit[name] for visit in visits) for name in visits[-1]}


def measure_live(root: Path, browser: Browser, server: Server, sizes: Sizes, measured: Measured) -> None:
    """Measure the large study while it grows: views, a visit, how late epochs are, 50 tabs."""
    page, figures = f"{server.url}/#/studies/{NAME}", measured.figures
    with measured.part("views, s") as found:
        found |= views_of(server)
        figures["slowest view, s"] = max(found.values())
    with measured.part("a visit while it grows") as found:
        found |= visited(browser, server, page, OURS, sizes["visit"])
        figures |= {
            "how it stands, s": found["standing_s"],
            "first curve, s": found["first_s"],
            "first curve, kB": found["first_bytes"] / 1000,
        }
    with measured.part("events") as found:
        heard = watched(server, sizes["watch"])
        late = delays(root, heard)
        figures["event, kB (largest)"] = found["kB"] = heard.most_bytes / 1000
        figures["epoch on its way, s (p99)"] = found["p99 s"] = late[int(0.99 * (len(late) - 1))]
        found |= {"p50 s": statistics.median(late), "epochs": float(len(late))}
    with measured.part("tabs") as found:
        traffic = traced(browser, server, page, sizes["watch"])
        found |= {"requests of one": float(len(traffic.requests)), "bytes of one": float(traffic.num_bytes)}
        found |= of_tabs(server, traffic, sizes["watch"])
        figures["50 tabs, cores"] = found["cores"]


def measure(root: Path, folder: Path, sizes: Sizes, measured: Measured) -> None:
    """Measure everything."""
    serve = [sys.executable, "-m", "kd_sweep", "serve", str(root), "--state", str(folder / "state"), "--port", "0"]
    figures = measured.figures
    ours: Figures = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with measured.part("the service") as found, serving(serve, (r"http://\S+", r"kds_\S+")) as server:
            with measured.part(f"visits, {sizes['peer']} trials") as ours:
                several_visits(browser, server, f"{server.url}/#/studies/{PEER}", OURS, sizes["visit"], ours)
            with measured.part("while it grows"), growing(root, sizes):
                measure_live(root, browser, server, sizes, measured)
            figures["memory, MB (peak)"] = found["peak MB"] = server.peak_bytes / 1e6
            found["CPU s"] = server.cpu_s()
        with measured.part("visits to optuna-dashboard") as theirs:
            journal = folder / "journal.log"
            write_journal(root, journal)
            peer = [str(Path(sys.executable).with_name("optuna-dashboard")), str(journal), "--server", "wsgiref"]
            with serving([*peer, "--port", "8399"], (r"http://\S+?(?=/?\s|$)",)) as server:
                url = f"{server.url}/dashboard/studies/0"
                several_visits(browser, server, url, {"first": PEER_CURVE}, sizes["visit"], theirs)
            figures["bytes of a visit / optuna-dashboard's"] = ours["bytes"] / theirs["bytes"]
            figures["CPU of a visit / optuna-dashboard's"] = ours["cpu_s"] / theirs["cpu_s"]
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--root", type=Path, help="to write to, or one of an earlier run; a temporary folder without it"
    )
    parser.add_argument("--small", action="store_true", help="a small study, for a minute")
    parser.add_argument("--peer-trials", type=int, help="of the study that both are compared with")
    given = parser.parse_args()
    sizes: Sizes = dict(SMALL if given.small else WHOLE)
    sizes["peer"] = given.peer_trials or sizes["peer"]
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        root = given.root or Path(folder) / "root"
        generated_study.write(root, PEER, sizes["peer"], sizes["epochs"])
        generated_study.write(root, NAME, sizes["trials"], sizes["epochs"])
        measure(root, Path(folder), sizes, measured)
    print("\n".join(measured.table()))


if __name__ == "__main__":
    main()
