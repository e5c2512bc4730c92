"""The actor that runs trials under Ray Tune: one step is one epoch of `kd_sweep.distill.trial.trial_epochs`."""

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from ray import tune

from kd_sweep.distill.checkpoints import read_history
from kd_sweep.driver.ray.worker_plugins import with_plugins
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.tune.tune_trial import assignment_in, result_of
from kd_sweep.driver.worker_messages import Assignment, EpochDone, EpochReport, EpochsInCheckpoint, TrialFailed
from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Root


class TrialActor(tune.Trainable):
    """Runs trials one after another in one process, so that imports, datasets and teachers are loaded once."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember what to run. Work starts with the first step, so that its errors are the trial's own."""
        self._pending: Assignment | None = assignment_in(config)
        self._epochs: Iterator[Mapping[str, Any]] = iter(())
        self._num_epochs = 0
        self._failure: Exception | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take over the next trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train and evaluate one epoch; the checkpoint is on disk when this returns.

        What the trial raises is announced in a result first and raised in the next step, so that the driver can tell
        it from what happens to the process.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._next_epoch()
        except Exception as error:
            self._failure = error
            return result_of(TrialFailed(type(error).__name__, str(error)))

    def _next_epoch(self) -> dict[str, Any]:
        if self._pending is not None:
            unreported = self._begin(self._pending)
            self._pending = None
            if unreported:
                return result_of(EpochsInCheckpoint(unreported), done=unreported[-1].epoch >= self._num_epochs)
        report = EpochReport.of_row(next(self._epochs), host=socket.gethostname(), pid=os.getpid())
        return result_of(EpochDone(report), done=report.epoch >= self._num_epochs)

    def _begin(self, assignment: Assignment) -> tuple[EpochReport, ...]:
        """Return the epochs that the checkpoint has and the driver has not; of a trial that is done, at least one."""
        from kd_sweep.distill.trial import trial_epochs

        settings = assignment.settings
        trial = with_plugins(assignment.trial, settings)
        self._num_epochs = trial.student.epochs
        root = Root.open(settings.root)
        folder = StudyFolder(root, settings.study).checkpoint_folder(trial.trial_id)
        self._epochs = trial_epochs(
            trial,
            root=root,
            checkpoint_dir=folder,
            device=settings.device,
            num_threads=settings.num_threads,
            best_by=settings.best_by,
        )
        try:
            rows = read_history(folder)
        except CorruptFileError:  # the trial itself sets it aside
            return ()
        return tuple(map(EpochReport.of_row, rows[min(assignment.known_epochs, self._num_epochs - 1) :]))

    def cleanup(self) -> None:
        """Let go of the running trial's memory."""
        self._epochs = iter(())
