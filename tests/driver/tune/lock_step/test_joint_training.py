"""Trials that ask for epochs in a process that they share, without Ray: what they hear is what each has alone."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.driver.tune.lock_step import attendance
from kd_sweep.driver.tune.lock_step.joint_training import JointTraining, Told
from kd_sweep.driver.worker_messages import Assignment, EpochDone, EpochsInCheckpoint, WorkerSettings
from kd_sweep.errors import NonFiniteError, TrialError
from kd_sweep.study.recipe import Distillation
from kd_sweep.study.trial import TrialConfig
from tests.distill.trials import DIVERGES, metrics_of, run, tiny_trial

TIMEOUT_S = 60.0


def trial(size: int = 1, *, alpha: float = 0.0, seed: int = 0, **student: float) -> TrialConfig:
    distillation = Distillation(alpha=alpha)
    return tiny_trial(teacher={"epochs": 1}, student=student, ensemble_size=size, distillation=distillation, seed=seed)


class Process:
    """A thread that trains what is asked for, and the asking."""

    def __init__(self, root: Path, study: Path, num_expected: int) -> None:
        self.settings = WorkerSettings(root=str(root), study=study.name, device="cpu", num_threads=1)
        self.training = JointTraining(num_expected)
        threading.Thread(target=self.training.run, daemon=True).start()

    def ask(self, caller: str, config: TrialConfig, num_known: int = 0, **settings: Any) -> Callable[[], Told]:
        """Ask for an epoch, and return what waits for it."""
        assignment = Assignment(config, WorkerSettings(**{**vars(self.settings), **settings}))
        told = self.training.ask(caller, assignment, config.stream.stream_id, num_known)
        return lambda: told.result(TIMEOUT_S)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trials of this file find their teachers."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "PATIENCE_S", 1.0)
    monkeypatch.setattr(attendance, "START_PATIENCE_S", 1.0)


def rows(*told: Told) -> list[dict[str, Any]]:
    reports = [one for each in told for one in ((each.report,) if isinstance(each, EpochDone) else each.reports)]
    return metrics_of([report.columns() for report in reports])


def test_one_whose_scheduler_stops_it_is_replaced_and_each_hears_what_it_has_alone(root: Path, tmp_path: Path) -> None:
    goes_on, stopped, comes = trial(2), trial(1), trial(1, alpha=0.5)
    process = Process(root, tmp_path, 2)
    first, second = process.ask("a", goes_on), process.ask("b", stopped)
    told = [first()]
    assert rows(second()) == metrics_of(run(stopped, root))[:1]
    waits = process.ask("a", goes_on, 1)
    new = [process.ask("b", comes)()]  # the first epoch, while the other one waits
    last = process.ask("b", comes, 1)
    told.append(waits())
    new.append(last())
    both = process.ask("a", goes_on, 2), process.ask("b", comes, 2)
    assert rows(*told, both[0]()) == metrics_of(run(goes_on, root))
    assert rows(*new, both[1]()) == metrics_of(run(comes, root))


def test_one_that_is_silent_is_let_go_and_goes_on_from_its_checkpoint(root: Path, tmp_path: Path) -> None:
    silent, other = trial(1), trial(2)
    process = Process(root, tmp_path, 2)
    first, second = process.ask("a", silent), process.ask("b", other)
    told, others = [first()], [second()]
    others += [process.ask("b", other, known)() for known in (1, 2)]  # after some patience
    told += [process.ask("a", silent, known)() for known in (1, 2)]
    assert rows(*told) == metrics_of(run(silent, root))
    assert rows(*others) == metrics_of(run(other, root))


def test_another_attempt_hears_first_what_the_one_before_has_done(root: Path, tmp_path: Path) -> None:
    config = trial(1)
    process = Process(root, tmp_path, 1)
    for known in (0, 1):
        process.ask("a", config, known)()  # whose process dies before it reports the second epoch
    told = process.ask("b", config, 1)()
    assert isinstance(told, EpochsInCheckpoint)
    expected = metrics_of(run(config, root))
    assert rows(told) == expected[1:2]
    assert rows(process.ask("b", config, 2)()) == expected[2:]
    of_done = process.ask("c", config, 3)()
    assert isinstance(of_done, EpochsInCheckpoint)
    assert rows(of_done) == expected[2:]


def test_a_failure_is_one_trials_alone(root: Path, tmp_path: Path) -> None:
    diverges, other = trial(1, **DIVERGES | {"batch_size": 128}), trial(2)
    process = Process(root, tmp_path, 2)
    fails, told = process.ask("a", diverges), [process.ask("b", other)]
    with pytest.raises(NonFiniteError, match="epoch"):
        fails()
    assert rows(told[0]()) == metrics_of(run(other, root))[:1]
    assert process.ask("b", other, 1)()
    # A plug-in that cannot be loaded here, too.
    with pytest.raises(TrialError, match="node"):
        process.ask("c", trial(1, alpha=0.7), plugins=("nowhere",), plugins_digest="0" * 64)()


def test_trials_of_two_streams_take_turns(root: Path, tmp_path: Path) -> None:
    configs = {"a": trial(1), "b": trial(1, seed=1), "c": trial(2)}
    process = Process(root, tmp_path, 3)
    told: dict[str, list[Told]] = {name: [] for name in configs}
    for known in range(3):
        asked = {name: process.ask(name, config, known) for name, config in configs.items()}
        for name, wait in asked.items():
            told[name].append(wait())
    assert {name: rows(*heard) for name, heard in told.items()} == {
        name: metrics_of(run(config, root)) for name, config in configs.items()
    }
