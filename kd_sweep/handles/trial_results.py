"""The results of a trial as a notebook holds them: its configuration, epochs, networks, preprocessing, attention."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from kd_sweep.handles.preprocessing import Preprocessing
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.comparison import TrialComparison, compare_trials
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.html_tables import html_blocks, html_facts
from kd_sweep.tables.schema import extra_metrics_of, searched_columns
from kd_sweep.tables.trial_lookup import StoredTrial, find_trials
from kd_sweep.trained.stored_configuration import stored_configuration

if TYPE_CHECKING:
    from torch import nn

    from kd_sweep.handles.attention_results import AttentionResults
    from kd_sweep.trained.trained_networks import TrainedNetworks

Epoch = Literal["last", "best"] | int
_POINT = ("augmentation_strength", "ensemble_size", "seed")
_SHOWN = ("last_epoch", "best_epoch", "val_accuracy", "fidelity_val", "ensemble_accuracy")


class TrialResults:
    """One trial. Its row is as it was when this was made; epochs and networks are read when they are asked for.

    Torch is not loaded before a network, a tensor or a map is. What needs the images, as every network does for the
    number of its classes, needs the dataset where the study had it; `DataError` says where that was.
    """

    def __init__(self, stored: StoredTrial) -> None:
        self._stored = stored

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits: the digest of the configuration."""
        return self._stored.trial_id

    @property
    def study(self) -> str:
        """Name of the study."""
        return str(self.row["study"])

    @property
    def status(self) -> str:
        """`completed`, `stopped`, `running` or another of the table's."""
        return str(self.row["status"])

    @property
    def row(self) -> dict[str, Any]:
        """The trial's row of the `trials` table, by column."""
        return self._stored.row

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The trial's strength, ensemble size and seed, and the other fields that its study searches, by column."""
        added = searched_columns(pa.schema([(name, pa.null()) for name in self.row]))
        return {name: self.row[name] for name in (*_POINT, *added)}

    @cached_property
    def config(self) -> TrialConfig:
        """Everything that decides the trial's result.

        Raises:
            StorageError: a version of kd_sweep wrote the trial whose trials have other fields.
        """
        return stored_configuration(self._stored)

    def epochs(self) -> pa.Table:
        """Return the trial's rows of the `epochs` table, in order, as Arrow; ``.to_pandas()`` makes a frame of them.

        Raises:
            CorruptFileError: a part of the table is damaged.
        """
        return snapshot([self._stored.study]).of_trials([self.trial_id])

    def student(self, epoch: Epoch = "last", *, device: str = "cpu") -> "nn.Module":
        """Return the student after an epoch, frozen and in evaluation mode; a network of its own at each call.

        Called with images (B, D, H, W) as `preprocess` returns them it gives logits (B, C); ``.requires_grad_()`` and
        ``.train()`` make it learn again. Over all validation images, 256 at a time, its accuracy is `val_accuracy` of
        that epoch's row.

        Args:
            epoch: `last`, whose metrics the trial's row has; `best`, by the study's first objective; or a number. Kept
                on disk are the last and the best.
            device: `cpu`, `auto` (a GPU where there is one), `cuda`, `cuda:1`, …

        Raises:
            QueryError: there is no such epoch.
            StorageError: there is no checkpoint of it: it was deleted, or the trial has not got so far.
            CorruptFileError: the checkpoint is damaged.
            DataError: the images are not where they were, or others.
            SpecError: the network cannot be built, as where timm or a plug-in is missing.
        """
        return self._networks(device).student(epoch)[0]

    def teachers(self, epoch: Epoch = "last", *, device: str = "cpu") -> tuple["nn.Module", ...]:
        """Return the teachers, member 1 first, frozen and in evaluation mode; networks of their own at each call.

        Args:
            epoch: of the student, where `distillation.teacher_batchnorm: train` lets the teachers' statistics drift
                while it learns; elsewhere it does not matter.
            device: as for `student`.

        Raises:
            CorruptFileError: a teacher is not trained yet, damaged or gone. One line.
            Exception: as `student`; `QueryError` and `StorageError` only where teachers drift.
        """
        return tuple(self._networks(device).teachers(epoch))

    @cached_property
    def preprocess(self) -> Preprocessing:
        """The function that makes of images what the networks take: ``student(trial.preprocess(image))``."""
        return Preprocessing(self._stored.root, self.config.data)

    def attention(
        self,
        images: int | Sequence[int] = 8,
        *,
        epoch: Epoch = "last",
        map_kind: str | None = None,
        device: str = "auto",
    ) -> "AttentionResults":
        """Return attention maps of the teachers and the student on validation images, and how far they overlap.

        Args:
            images: how many, evenly over the classes; or the indices of images in the validation set, from 0.
            epoch: of the student; as for `student`.
            map_kind: `grad_cam`, `cam`, or one of a plug-in; that of the study, `metrics.attention`, when None.
            device: where they are computed; the result is on the CPU.

        Raises:
            DataError: the images are not where they were, or there is none of such an index.
            QueryError: there is no such kind of map.
            Exception: as `student` and `teachers`.
        """
        from kd_sweep.handles.attention_results import attention_results

        return attention_results(self._newest(), images, epoch, map_kind, device)

    def compare(self, other: "TrialResults") -> TrialComparison:
        """Return how another trial differs from this one, which is the first: settings, and metrics side by side."""
        return compare_trials(self.row, other.row)

    def __repr__(self) -> str:
        accuracy = self.row.get("val_accuracy")
        reached = f", epoch {self.row['last_epoch']}" if self.row.get("last_epoch") else ""
        measured = f", val_accuracy {accuracy:.4f}" if accuracy is not None else ""
        return f"<trial {self.trial_id} of study {self.study}: {self.status}{reached}{measured}>"

    def _repr_html_(self) -> str:
        names = (*_SHOWN, *extra_metrics_of(self.row), "error")
        shown = {name: self.row[name] for name in names if self.row.get(name) is not None}
        return html_blocks(
            f"trial {self.trial_id} of study {self.study}", html_facts({"status": self.status} | self.settings | shown)
        )

    def _networks(self, device: str) -> "TrainedNetworks":
        from kd_sweep.trained.trained_networks import TrainedNetworks

        return TrainedNetworks(self._newest(), device)

    def _newest(self) -> StoredTrial:
        """Return the trial with its row as it is now: its checkpoints may be newer than ours."""
        (newest,) = find_trials(Results(self._stored.study), [self.trial_id])
        return replace(self._stored, row=newest.row)
