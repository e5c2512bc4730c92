"""The Ray Tune side of a trial: one step is one epoch of `kd_sweep.distill.trial.trial_epochs`."""

from collections.abc import Iterator
from typing import Any

from ray import tune

from kd_sweep.distill.checkpoints import read_history
from kd_sweep.driver.ray.failures import FAILURE, REASON
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.storage.root import Root
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig

REPEATED = "repeated"
"""The key of a result that an earlier attempt's checkpoint held; that attempt died before it could report it."""


class TrialActor(tune.Trainable):
    """Runs trials one after another in one process, so that imports, datasets and teachers are loaded once.

    The Tune configuration of a trial holds strings and numbers alone: `trial_id`, `trial` (the configuration as JSON),
    `root`, `study`, `num_threads`, `device` and `best_by` (an objective as JSON, or none).
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Remember what to run. Work starts with the first step, so that its errors are the trial's own."""
        self._pending: dict[str, Any] | None = config
        self._epochs: Iterator[dict[str, Any]] = iter(())
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
            return {FAILURE: type(error).__name__, REASON: str(error)}

    def _next_epoch(self) -> dict[str, Any]:
        if self._pending is not None:
            self._begin(self._pending)
            self._pending = None
        row = next(self._epochs, None)
        if row is None:  # every epoch was in the checkpoint already: say how the last one was, for who learns from it
            return read_history(self._checkpoints)[-1] | {"done": True, REPEATED: True}
        return row | {"done": row["epoch"] >= self._num_epochs}

    def _begin(self, config: dict[str, Any]) -> None:
        from kd_sweep.distill.trial import trial_epochs

        trial = TrialConfig.model_validate_json(config["trial"])
        self._num_epochs = trial.student.epochs
        root = Root.open(config["root"])
        folder = StudyFolder(root, config["study"]).checkpoint_folder(trial.trial_id)
        self._checkpoints = folder
        self._epochs = trial_epochs(
            trial,
            root=root,
            checkpoint_dir=folder,
            device=config["device"],
            num_threads=config["num_threads"],
            best_by=Objective.model_validate_json(config["best_by"]) if config["best_by"] else None,
        )

    def cleanup(self) -> None:
        """Let go of the running trial's memory."""
        self._epochs = iter(())
