"""A soak: one process of a sweep after another is killed, and at the end nothing is missing, doubled or different.

``KD_SWEEP_SOAK_KILLS`` says how many: one of each kind unless told, 8 in `make test-all`. ``KD_SWEEP_SOAK_SEED``
changes whom they hit, and when.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST, read_header
from kd_sweep.distill.teacher_records import RECORD, TEACHERS
from tests.command_line import environment
from tests.comparing_tables import comparable
from tests.latest import latest
from tests.trained_studies import train_study
from tests.warm_python import WarmProcess, command_program

NUM_KILLS = int(os.environ.get("KD_SWEEP_SOAK_KILLS", "3"))
SEED = int(os.environ.get("KD_SWEEP_SOAK_SEED", "7"))
DEADLINE_S = 300.0 + 60.0 * NUM_KILLS
"""Several times what a soak takes on two idle cores: 40 s, and 12 s for each kill."""

DRIVER, WORKER, RAYLET, HELPER = "driver", "worker", "raylet", "helper"
VICTIMS = (DRIVER, WORKER, RAYLET)
CPUS = 2 if len(VICTIMS) < NUM_KILLS else 1

TEACHER_EPOCHS, STUDENT_EPOCHS = 2 + NUM_KILLS, 2 + 3 * NUM_KILLS
ALL_EPOCHS = 4 * TEACHER_EPOCHS + 4 * STUDENT_EPOCHS
SPEC = f"""
name: soak
data: {{name: digits, image_size: 8, max_train_images: 300, max_val_images: 100}}
teacher: {{model: resnet8, width: 4, epochs: {TEACHER_EPOCHS}}}
student: {{model: resnet8, width: 4, epochs: {STUDENT_EPOCHS}}}
search:
  augmentation_strength: {{grid: [0.0, 0.5]}}
  ensemble_size: {{grid: [1, 2]}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2 * DEADLINE_S),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc"),
]


class Sweep:
    """A study that is launched again and again, and every process that its launches have started.

    Each driver leads a session of its own, in which Ray's daemons and workers stay even when their parents have gone.
    """

    def __init__(self, spec: Path, root: Path) -> None:
        self.root = root
        self._program = command_program("launch", str(spec), "--root", str(root))
        self._log = root.with_suffix(".log")
        self._sessions: set[int] = set()
        self._end = time.monotonic() + DEADLINE_S
        self.history: list[str] = []

    def launch(self) -> None:
        """Launch or resume: the same command."""
        self._log.touch()
        self._begin = self._log.stat().st_size
        self.driver = WarmProcess(self._program, environment(CPUS), self._log, forks_workers=False)
        self._sessions.add(self.driver.pid)

    def said(self) -> str:
        """Return what the newest launch has said."""
        return self._log.read_bytes()[self._begin :].decode()

    def processes(self, *kinds: str, session: int | None = None) -> list[int]:
        """Return the pids of the living processes of these kinds, of one launch or of all."""
        found, sessions = [], {self.driver.pid}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, _, leader, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(leader) not in self._sessions:
                    continue
                sessions.add(int(leader))
                kind = DRIVER if entry.name == leader else kind_of((entry / "cmdline").read_bytes().decode())
                if state not in "ZX" and kind in kinds and session in (None, int(leader)):
                    found.append(int(entry.name))
        self._sessions = sessions  # the number of a session that is over can come again
        return found

    def newest(self, kind: str) -> list[int]:
        """Return the pids of the living processes of this kind that belong to the newest launch."""
        return self.processes(kind, session=self.driver.pid)

    def num_epochs(self) -> int:
        """Return how many epochs of teachers and students have been trained."""
        done = sum(epoch_of(latest(folder, LAST)) for folder in self.root.glob(f"soak/{CHECKPOINTS}/*"))
        for folder in self.root.glob(f"{TEACHERS}/*"):
            done += TEACHER_EPOCHS if latest(folder, RECORD).exists() else epoch_of(latest(folder, LAST))
        return done

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds; the driver must live until then."""
        while not condition():
            assert self.driver.poll() is None, self.account(
                f"the driver ended with {self.driver.returncode} before {what}"
            )
            assert time.monotonic() < self._end, self.account(f"not within {DEADLINE_S:g} s: {what}")
            time.sleep(0.05)

    def ends(self, timeout_s: float) -> int:
        """Wait for the driver's end and return its exit code."""
        try:
            return self.driver.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.account(f"the driver has not ended within {timeout_s:g} s")) from None

    def seconds_left(self) -> float:
        """Return the time until the deadline."""
        return max(1.0, self._end - time.monotonic())

    def account(self, what: str) -> str:
        """Return what happened, for a failed assertion."""
        return f"seed {SEED}: {what}\nkills: {', '.join(self.history)}\n{self.said()}"


def kind_of(command: str) -> str:
    """Return what a process that a driver has started is, by its command line."""
    if command.startswith(("ray::ResourceTrainable", "ray::TrialActor")):
        return WORKER
    return RAYLET if command.partition("\0")[0].endswith("/raylet") else HELPER


def epoch_of(checkpoint: Path) -> int:
    """Return the epoch that a checkpoint is at, 0 where there is none."""
    header = read_header(checkpoint)
    return header.epoch if header else 0


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "soak.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def sweep(spec: Path, tmp_path: Path) -> Iterator[Sweep]:
    made = Sweep(spec, tmp_path / "soaked")
    yield made
    for pid in made.processes(*VICTIMS, HELPER):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    made.driver.wait(10)


def test_a_sweep_whose_processes_are_killed_again_and_again(
    sweep: Sweep, spec: Path, tmp_path: Path, kd_sweep: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Each kill comes when a certain part of all epochs is done, so every speed of machine sees them all."""
    undisturbed = tmp_path / "undisturbed"
    train_study(undisturbed, SPEC)

    chosen = random.Random(SEED)
    victims = [*VICTIMS, *chosen.choices(VICTIMS, k=max(0, NUM_KILLS - len(VICTIMS)))][:NUM_KILLS]
    chosen.shuffle(victims)
    moments = sorted(chosen.uniform(0, 0.9 * ALL_EPOCHS) for _ in victims)
    for victim, moment in zip(victims, moments, strict=True):
        if not sweep.history or sweep.driver.poll() is not None:
            sweep.launch()
        sweep.until(partial(is_at, sweep, moment), f"epoch {moment:.0f}")
        time.sleep(chosen.uniform(0, 0.3))
        kill(sweep, victim, chosen)
    if sweep.driver.poll() is not None:
        sweep.launch()
    assert sweep.ends(sweep.seconds_left()) == 0, sweep.account("the last run did not succeed")

    for table in ("epochs", "trials", "teachers"):
        assert comparable(sweep.root, table).equals(comparable(undisturbed, table)), sweep.account(f"{table} differ")
    verified = kd_sweep("verify", sweep.root)
    assert verified.returncode == 0, sweep.account(verified.stdout + verified.stderr)
    end = time.monotonic() + 15
    while left := sweep.processes(*VICTIMS):  # Ray's other processes take up to a minute to notice
        assert time.monotonic() < end, sweep.account(f"processes are left: {left}")
        time.sleep(0.1)


def is_at(sweep: Sweep, epoch: float) -> bool:
    """Whether so many epochs are done, and the newest launch works."""
    return sweep.num_epochs() >= epoch and bool(sweep.newest(WORKER))


def kill(sweep: Sweep, victim: str, chosen: random.Random) -> None:
    """Kill a process of this kind, and see that what ends ends well, and that nothing else does."""
    sweep.until(lambda: sweep.newest(victim), f"there was a {victim} to kill")
    pid = chosen.choice(sweep.newest(victim))
    os.kill(pid, signal.SIGKILL)
    sweep.history.append(f"{victim} at epoch {sweep.num_epochs()}")
    if victim == DRIVER:
        assert sweep.ends(10) == -signal.SIGKILL, sweep.account("somebody else ended the driver")
    elif victim == RAYLET:
        assert sweep.ends(30) == 1, sweep.account("a driver without its raylet")
        reason = "Ray on this machine has died: its process raylet was ended by SIGKILL"
        assert f"kd-sweep: {reason}; go on with: kd-sweep resume {sweep.root / 'soak'}" in sweep.said(), sweep.account(
            ""
        )
    assert "Traceback" not in sweep.said(), sweep.account("a traceback")
