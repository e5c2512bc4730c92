"""The lines of a trial that runs in this process: what happens on standard error, its epochs as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import kd_sweep
from kd_sweep.cli.screen import print_message
from kd_sweep.study.extra_metrics import extra_columns
from kd_sweep.study.spec import StudySpec

SHOWN = ("train_loss", "train_accuracy", "val_accuracy", "fidelity_val", "epoch_s")
"""What a terminal shows of an epoch, beside objectives and extra metrics."""


class TrialLines:
    """Prints what is told of a trial.

    Args:
        spec: its study.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._metrics = [objective.metric for objective in spec.objectives]
        self._extra = extra_columns(spec.metrics.extra)
        self._num_epochs = 0

    def __call__(self, event: "kd_sweep.events.Event") -> None:
        """Print a line for an event that is worth one."""
        events = kd_sweep.events
        match event:
            case events.Told(text):
                print_message(text)
            case events.TeacherBegan(_, label, num_epochs):
                print_message(f"teacher: {label}, {num_epochs} epochs to train")
            case events.TeacherTrained(_, label, val_accuracy):
                print_message(f"teacher: {label}, trained, val_accuracy {val_accuracy:.4f}")
            case events.TrialBegan(trial_id, config):
                self._num_epochs = config.student.epochs
                print_message(f"trial {trial_id}: {self._num_epochs} epochs")
            case events.TrialEpoch(_, epoch, metrics):
                print_message(f"epoch {epoch}/{self._num_epochs}: {', '.join(self._values(metrics))}")

    def table(self, rows: Sequence[Mapping[str, Any]], *, whole: bool) -> Any:
        """Return the epochs as an Arrow table; unless ``whole`` with few columns."""
        import pyarrow as pa

        table = pa.Table.from_pylist([dict(row) for row in rows])
        return table if whole else table.select(list(dict.fromkeys(["epoch", *self._metrics, *self._extra, *SHOWN])))

    def _values(self, metrics: Mapping[str, float | None]) -> list[str]:
        values = {name: metrics[name] for name in self._metrics}
        return [f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in values.items()]
