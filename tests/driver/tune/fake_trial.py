"""A trial of Tune's without Tune, and what Tune does when its process fails."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_sweep.driver.ray.lost_processes import MAX_LOSSES
from kd_sweep.driver.tune.tune_trial import config_of
from kd_sweep.driver.worker_messages import Assignment, TeacherAssignment, WorkerSettings
from kd_sweep.study.trial import TeacherConfig, TrialConfig


@dataclass
class FakeResults:
    """The attributes of `KeptResults`."""

    last_result: dict[str, Any] = field(default_factory=dict)
    metric_analysis: dict[str, dict[str, Any]] = field(default_factory=dict)
    metric_n_steps: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class FakeTrial:
    """The attributes of `TuneTrial`; a failure is written and counted as `ray.tune.experiment.Trial` does it."""

    trial_id: str
    config: dict[str, Any]
    folder: Path
    max_failures: int = MAX_LOSSES
    num_failures: int = 0
    error_file: str | None = None
    pickled_error_file: str | None = None
    run_metadata: FakeResults = field(default_factory=FakeResults)

    def fail(self, error: Exception, account: str) -> bool:
        """Write the error and count it; return whether Tune would try the trial again."""
        self.num_failures += 1
        self.error_file, self.pickled_error_file = str(self.folder / "error.txt"), str(self.folder / "error.pkl")
        with Path(self.error_file).open("a") as file:
            file.write(f"Failure # {self.num_failures}\n{account}\n")
        Path(self.pickled_error_file).write_bytes(pickle.dumps(error))
        return self.num_failures <= self.max_failures


def fake_trial(config: TrialConfig, folder: Path, *, suggestion: int | None = None) -> FakeTrial:
    """Return a trial of Tune's that is to run this one of a study whose root is the folder."""
    return _running(config.trial_id, Assignment(config, _settings(folder), suggestion), folder)


def fake_teacher(config: TeacherConfig, folder: Path) -> FakeTrial:
    """Return a trial of Tune's that is to train this teacher of a study whose root is the folder."""
    return _running(config.teacher_id, TeacherAssignment(config, _settings(folder)), folder)


def _settings(folder: Path) -> WorkerSettings:
    return WorkerSettings(root=str(folder), study="s", device="cpu", num_threads=1)


def _running(own_id: str, assignment: Assignment | TeacherAssignment, folder: Path) -> FakeTrial:
    folder.mkdir(parents=True, exist_ok=True)
    return FakeTrial(f"tune-{own_id}", config_of(assignment), folder)
