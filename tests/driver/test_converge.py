"""How a launch ends: exit codes, and what the user is told."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from PIL import Image

from kd_sweep.cli import main
from kd_sweep.data import fingerprints
from kd_sweep.driver.converge import NO_SIGNALS, Outcome
from kd_sweep.driver.events import Event, RunBegan, Told
from kd_sweep.driver.launch import launch
from kd_sweep.driver.ray import connection, preflight
from kd_sweep.driver.ray.connection import Cluster
from kd_sweep.driver.ray.ray_settings import environment
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune import sweep
from kd_sweep.errors import ClusterError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import Objective
from kd_sweep.tables.reader import open_results
from tests.driver.reports import report_of

SPEC = "name: s\nsearch: {augmentation_strength: {uniform: [0, 1]}}\nsampler: {name: random, num_trials: 4}\n"

Run = Callable[[StudyState], None]


@pytest.mark.parametrize(
    ("counts", "interrupted", "code"),
    [
        ({"completed": 3, "stopped": 1}, None, 0),
        ({}, None, 0),
        ({"completed": 3, "interrupted": 1}, "SIGTERM", 1),
        ({"completed": 27, "failed": 1}, None, 3),
        ({"completed": 27, "lost": 1}, None, 3),
        ({"preempted": 1}, None, 3),
        ({"failed": 1, "interrupted": 1}, "SIGINT", 1),
    ],
)
def test_exit_codes(counts: dict[str, int], interrupted: str | None, code: int) -> None:
    assert Outcome("r/s", Counter(counts), ran=True, interrupted=interrupted).exit_code == code


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let launches run without Ray: what runs, and what happens while Ray is shut down, is up to the test."""

    def pretend(run: Run = lambda state: None, shut_down: Callable[[], None] = lambda: None) -> None:
        @contextmanager
        def connected(*arguments: Any) -> Iterator[Cluster]:
            try:
                yield Cluster(({"Resources": {"CPU": 2.0}},), local=True)
            finally:
                shut_down()

        monkeypatch.setattr(connection, "connected", connected)
        monkeypatch.setattr(preflight, "check_cluster", lambda *arguments: None)
        monkeypatch.setattr(
            sweep, "sweep", lambda state, connection, display, interrupt: (run(state), interrupt.check())[0]
        )

    return pretend


def interrupt(state: StudyState | None = None) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return path


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_one_signal_ends_a_run_in_order(
    pretended: Callable[..., None], spec_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pretended(interrupt)
    assert command("launch", spec_file, "--root", tmp_path / "r") == 1
    assert f"stopped by SIGINT; go on with: kd-sweep resume {tmp_path / 'r' / 's'}\n" in capfd.readouterr().err


@pytest.mark.parametrize("is_new", [True, False])
def test_a_second_signal_while_ray_is_shut_down_is_told_in_one_line(
    is_new: bool, pretended: Callable[..., None], spec_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if not is_new:
        pretended()
        assert command("launch", spec_file, "--root", tmp_path / "r") == 0
        capfd.readouterr()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pretended(interrupt, shut_down=interrupt)
    assert command("launch", spec_file, "--root", tmp_path / "r") == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == f"kd-sweep: stopped at once by SIGINT; go on with: kd-sweep resume {tmp_path / 'r' / 's'}"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    (row,) = open_results(tmp_path / "r").status()
    assert (row["status"], row["driver_alive"]) == ("incomplete", False)


def test_a_launch_works_in_any_thread(pretended: Callable[..., None], tmp_path: Path) -> None:
    pretended()
    outcomes: list[Outcome] = []
    heard: list[Event] = []
    spec = parse_spec(SPEC, "s.yaml")
    thread = threading.Thread(target=lambda: outcomes.append(launch(spec, tmp_path, progress=heard.append)))
    thread.start()
    thread.join()
    assert [outcome.exit_code for outcome in outcomes] == [0]
    assert Told(NO_SIGNALS) in heard


def test_a_launch_says_what_the_dataset_holds_and_a_resume_notices_other_pixels(
    pretended: Callable[..., None],
    spec_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretended()
    monkeypatch.setattr(fingerprints, "SETTLED_S", -60.0)  # files of this second may be remembered
    for number in range(20):
        image = tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.bmp"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(image)
    (tmp_path / "images/cat/notes.txt").write_text("")
    data = f"data={{name: image_folder, path: {tmp_path}/images, image_size: 8}}"
    assert command("launch", spec_file, "--root", tmp_path / "r", "--set", data) == 0
    said = capfd.readouterr().err
    assert "] data: 16 training and 4 validation images of 2 classes (cat, dog)\n" in said
    assert "] passed over: 1 not images (.txt)\n" in said
    (known,) = (tmp_path / "r/datasets").glob("*.known")
    assert command("resume", tmp_path / "r/s") == 0
    before = image.stat().st_ctime_ns
    while image.stat().st_ctime_ns == before:  # the clock of the filesystem has ticks
        Image.new("RGB", (8, 8), "white").save(image)
    capfd.readouterr()
    assert command("resume", tmp_path / "r/s") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"kd-sweep: data.path: the images under {tmp_path}/images are not those that the study was")
    assert known.name.startswith(line.partition("at launch ")[2].partition(")")[0])


def an_hour_of_training(state: StudyState) -> None:
    """Record the first epoch of the first trial, which took an hour."""
    trial = state.work.new[0].config
    state.recorder.started(trial)
    state.recorder.epoch(trial.trial_id, report_of(1, epoch_s=3600.0))


@pytest.mark.parametrize(
    ("run", "more", "left", "reason"),
    [
        (an_hour_of_training, "budget: {max_hours: 1}", 3, "budget.max_hours are over"),
        (None, "budget: {max_hours: 1}", 4, "the sampler found no other point to suggest"),
        (
            an_hour_of_training,
            "budget: {max_trials: 3, max_hours: 1}",
            3,
            "budget.max_trials keeps them out, and budget.max_hours are over",
        ),
    ],
)
def test_what_was_left_out_is_told_with_its_reason(
    run: Run | None,
    more: str,
    left: int,
    reason: str,
    pretended: Callable[..., None],
    spec_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spec_file.write_text(SPEC + more)
    pretended(*([run] if run else []))
    assert command("launch", spec_file, "--root", tmp_path / "r") == 0
    said = capfd.readouterr().err.splitlines()
    assert f"{left} trials have not started: {reason}" in said
    if run is None:
        return
    paused = "1 trials go on from their last epoch when budget.max_hours is raised"
    assert said[-1] == paused
    pretended(lambda state: pytest.fail("the hours are over"))
    assert command("resume", tmp_path / "r" / "s") == 0
    assert capfd.readouterr().err.splitlines()[-1] == paused


def test_settings_of_the_environment_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_SWEEP_SET", "by the user")
    monkeypatch.delenv("KD_SWEEP_UNSET", raising=False)
    before = dict(os.environ)
    with environment({"KD_SWEEP_SET": "by us", "KD_SWEEP_UNSET": "by us"}):
        assert (os.environ["KD_SWEEP_SET"], os.environ["KD_SWEEP_UNSET"]) == ("by the user", "by us")
    assert dict(os.environ) == before


def test_what_follows_a_run_hears_of_it_and_nothing_is_printed(
    pretended: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pretended()
    heard: list[Event] = []
    outcome = launch(parse_spec(SPEC, "s.yaml"), tmp_path, progress=heard.append)
    assert heard[0] == RunBegan("s", str(tmp_path / "s"), Objective())
    assert Told("starting Ray", is_routine=True) in heard
    assert capfd.readouterr() == ("", "")
    assert (outcome.study, outcome.ran, outcome.left) == (str(tmp_path / "s"), True, 4)


def test_a_signal_ends_a_launch_from_python_with_an_outcome(pretended: Callable[..., None], tmp_path: Path) -> None:
    """As the stop button of a notebook does; the handlers that were there before are put back."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pretended(interrupt)
    outcome = launch(parse_spec(SPEC, "s.yaml"), tmp_path)
    assert (outcome.interrupted, outcome.exit_code, outcome.left) == ("SIGINT", 1, 4)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    pretended()
    heard: list[Event] = []
    assert launch(parse_spec(SPEC, "s.yaml"), tmp_path, progress=heard.append).interrupted is None
    assert Told(NO_SIGNALS) not in heard


def test_what_a_listener_raises_ends_the_run_in_order(pretended: Callable[..., None], tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Told) and event.text.startswith("data:"):
            raise LookupError("enough")

    heard: list[Event] = []
    pretended()
    with pytest.raises(LookupError, match="enough"):
        launch(parse_spec(SPEC, "s.yaml"), tmp_path, progress=listen)
    assert isinstance(heard[-1], Told)
    (row,) = open_results(tmp_path).status()
    assert (row["status"], row["driver_alive"]) == ("incomplete", False)


def test_a_ray_of_the_process_itself_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: pytest.fail("it is not ours"))
    with pytest.raises(ClusterError, match="connected to a Ray already"):
        launch(parse_spec(SPEC, "s.yaml"), tmp_path / "r")
    assert not (tmp_path / "r").exists()
