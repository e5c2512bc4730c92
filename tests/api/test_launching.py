"""Launches from Python: in a notebook's cell and in a thread, without a print, and without a Ray left behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import environment
from tests.comparing_tables import comparable
from tests.project.architecture import ROOT
from tests.project.pages import blocks
from tests.warm_python import run_warm

SCRIPT = """
import asyncio, json, os, pathlib, signal, sys, threading
import kd_sweep
from kd_sweep import Study, events

study, block = Study.from_file("tiny.yaml"), sys.stdin.read()
heard = []
def listen(event):
    heard.append(type(event).__name__)

def stopping(event):
    listen(event)
    if isinstance(event, events.TrialEpoch):
        raise LookupError("enough")

def rays():
    children = pathlib.Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    return sum(b"raylet" in command or b"gcs_server" in command for command in commands)

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

told = {}
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

def first():
    try:
        exec(block, {"study": study, "kd_sweep": kd_sweep, "print": stopping})
    except LookupError as error:
        told["stopped by"] = str(error)
in_thread(first)
(row,) = kd_sweep.open_results("results").status()
told["then"] = [row["status"], row["driver_alive"], rays()]

async def cell():  # a notebook runs cells in the main thread, in a loop that runs already
    outcome = kd_sweep.resume("results/tiny", progress=listen)
    told["ended"] = [dict(outcome.counts), outcome.ran, outcome.interrupted, outcome.study]
asyncio.run(cell())
told["rays"] = rays()
told["handlers"] = handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
import ray
told["connected"] = ray.is_initialized()
told["heard"] = heard
outcome = study.launch("results", progress=listen)
told["again"] = [dict(outcome.counts), outcome.ran]
exec(block, names := {"study": study, "kd_sweep": kd_sweep, "print": None})
told["page"] = [dict(names["outcome"].counts), names["outcome"].ran]
pathlib.Path("told.json").write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, uninterrupted: Path) -> tuple[Path, dict[str, Any], str]:
    """The folder of a process that has launched as its script says, what it has told, and what was printed."""
    folder = tmp_path_factory.mktemp("launched")
    (folder / "tiny.yaml").write_text((uninterrupted.parent / "tiny.yaml").read_text())
    block, _ = blocks(ROOT / "docs/python.md", "py")  # the other one asks a service
    done = run_warm(SCRIPT, folder, environment(), stdin=block.replace("digits-small", "tiny"), timeout_s=240)
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "told.json").read_text()), done.stdout + done.stderr


Launched = tuple[Path, dict[str, Any], str]


@pytest.mark.slow
def test_a_launch_in_a_thread_ends_in_order_when_its_listener_raises(launched: Launched) -> None:
    _, told, _ = launched
    assert told["stopped by"] == "enough"
    assert told["then"] == ["incomplete", False, 0]


@pytest.mark.slow
def test_a_resume_in_a_cell_goes_on_and_leaves_nothing_behind(launched: Launched, uninterrupted: Path) -> None:
    folder, told, _ = launched
    assert told["ended"] == [{"completed": 4}, True, None, str(folder / "results/tiny")]
    assert (told["rays"], told["connected"], told["handlers"]) == (0, False, True)
    assert told["again"] == [{"completed": 4}, False]
    assert comparable(folder / "results", "epochs").equals(comparable(uninterrupted, "epochs"))


@pytest.mark.slow
def test_events_tell_the_whole_run_and_nothing_is_printed(launched: Launched) -> None:
    _, told, printed = launched
    heard = told["heard"]
    assert printed == ""
    assert heard[0] == "RunBegan"
    assert heard.count("RunBegan") == 2
    assert (heard.count("TeacherTrained"), heard.count("TrialEnded")) == (4, 4)
    # Twelve epochs of four trials. One that was in flight when the first run ended may be in its checkpoint by then.
    assert heard.count("TrialEpoch") in (11, 12)
    assert set(heard) >= {"Told", "WorkCounted", "TeachersBegan", "TeacherBegan", "TeacherEpoch", "TrialsBegan", "Tick"}


@pytest.mark.slow
def test_the_launch_on_the_page_runs(launched: Launched) -> None:
    """Its first line has launched the study; once that is done, both find nothing to run."""
    _, told, _ = launched
    assert told["page"] == [{"completed": 4}, False]
