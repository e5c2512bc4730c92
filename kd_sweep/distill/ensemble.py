"""The teachers of a trial, and what they say about its images: looked up where it is known, computed where it is not.

A batch goes through a teacher in the same composition either way, so both ways give the same bits.

Shapes: B batch, C classes, M teachers, N training images of an epoch, V validation images, P bytes of a packed region.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from kd_sweep.distill.logits import CleanOutputs, EpochLogits, LogitCache, pack_regions, packed_bytes, unpack_regions
from kd_sweep.distill.teachers import teacher_model
from kd_sweep.metrics.attention import attention_iou_pairs
from kd_sweep.metrics.splits import teacher_metrics
from kd_sweep.results.storage import Location
from kd_sweep.study.trial import TeacherConfig
from kd_sweep.vision.attention import attention_masks
from kd_sweep.vision.augmentation import AugmentationStream, Batch
from kd_sweep.vision.models import Classifier


class Ensemble:
    """Frozen teachers in evaluation mode, loaded when one of them has to look at an image.

    Args:
        teachers: member 1 first.
        stream: the student's stream.
        cache: where their outputs are kept.
        root: the results root.
        device: where they run.
        num_threads: for training a teacher that is missing.
        cam_threshold: of the attention regions.
    """

    def __init__(
        self,
        teachers: tuple[TeacherConfig, ...],
        stream: AugmentationStream,
        cache: LogitCache,
        *,
        root: Location,
        device: torch.device,
        num_threads: int | None,
        cam_threshold: float,
    ) -> None:
        self._members = [_Member(teacher, root, device, num_threads) for teacher in teachers]
        self._stream = stream
        self._cache = cache
        self._device = device
        self._cam_threshold = cam_threshold

    def epoch(self, epoch: int) -> "EnsembleEpoch":
        """Return the teachers' answers to one epoch of the stream."""
        return EnsembleEpoch(self._members, self._stream, self._cache, epoch, self._device)

    @cached_property
    def _clean(self) -> list[CleanOutputs]:
        """Each teacher's outputs on the clean validation images, on the device."""
        return [self._clean_outputs(member) for member in self._members]

    @cached_property
    def clean_logits(self) -> Tensor:
        """The teachers' logits on the clean validation images, (M, V, C)."""
        return torch.stack([outputs.logits_VC for outputs in self._clean])

    @cached_property
    def clean_metrics(self) -> dict[str, float | None]:
        """The metrics of the teachers alone, which are the same after every epoch."""
        labels_V = self._stream.dataset.val.labels_N.to(self._device)
        return {
            **teacher_metrics(self.clean_logits, labels_V),
            "attention_iou_teachers": self._attention_iou_of_pairs() if len(self._members) > 1 else None,
        }

    def clean_regions(self, batch: Batch) -> Tensor:
        """Return the teachers' attention regions on a clean validation batch, bool (M, B, H, W)."""
        places_B = batch.indices_B.to(self._device)
        image_size = self._stream.dataset.image_size
        return torch.stack([unpack_regions(outputs.regions_VP[places_B], image_size) for outputs in self._clean])

    def _attention_iou_of_pairs(self) -> float:
        # Batch by batch: unpacked regions of a large validation set do not fit in memory.
        val = self._stream.dataset.val
        sums = 0.0
        for batch in self._stream.clean_batches(val):
            value = attention_iou_pairs(self.clean_regions(batch))
            assert value is not None
            sums += value * len(batch)
        return sums / len(val)

    def _clean_outputs(self, member: "_Member") -> CleanOutputs:
        dataset, device = self._stream.dataset, self._device
        shape = (len(dataset.val), dataset.num_classes, packed_bytes(dataset.image_size))
        outputs = self._cache.clean(member.teacher_id, self._cam_threshold, shape)
        if outputs is None:
            outputs = self._look_at_clean(member.model)
            self._cache.keep_clean(member.teacher_id, self._cam_threshold, outputs)
        return CleanOutputs(outputs.logits_VC.to(device), outputs.regions_VP.to(device))

    def _look_at_clean(self, model: nn.Module) -> CleanOutputs:
        logits, regions = [], []
        with torch.no_grad():
            for batch in self._stream.clean_batches(self._stream.dataset.val):
                logits_BC, regions_BHW = clean_batch(model, batch, self._cam_threshold)
                logits.append(logits_BC)
                regions.append(pack_regions(regions_BHW))
        return CleanOutputs(torch.cat(logits).cpu(), torch.cat(regions).cpu())


class EnsembleEpoch:
    """The teachers' answers to one epoch. Ask for the training batches in order, then for the validation ones."""

    def __init__(
        self, members: list["_Member"], stream: AugmentationStream, cache: LogitCache, epoch: int, device: torch.device
    ) -> None:
        self._stream, self._cache, self._epoch, self._device = stream, cache, epoch, device
        dataset = stream.dataset
        num_train = min(len(dataset.train), stream.num_batches * stream.stream.batch_size)
        self._shape = (num_train, len(dataset.val), dataset.num_classes)
        self._answers = [self._answers_of(member) for member in members]

    def train_logits(self, batch: Batch) -> Tensor:
        """Return the teachers' logits on the next training batch, (M, B, C)."""
        return torch.stack([answers.train.next(batch) for answers in self._answers])

    def val_augmented_logits(self, batch: Batch) -> Tensor:
        """Return the teachers' logits on the next augmented validation batch, (M, B, C)."""
        return torch.stack([answers.val_augmented.next(batch) for answers in self._answers])

    def finish(self) -> None:
        """Keep, for other trials, what was computed in this one."""
        if not self._cache.keeps(self._shape):
            return
        for answers in self._answers:
            if isinstance(answers.train, _Asked) and isinstance(answers.val_augmented, _Asked):
                logits = EpochLogits(answers.train.given().cpu(), answers.val_augmented.given().cpu())
                self._cache.keep_epoch(answers.teacher_id, self._stream.stream.stream_id, self._epoch, logits)

    def _answers_of(self, member: "_Member") -> "_Answers":
        logits = self._cache.epoch(member.teacher_id, self._stream.stream.stream_id, self._epoch, self._shape)
        if logits is None:
            keep = self._cache.keeps(self._shape)
            return _Answers(member.teacher_id, _Asked(member, keep), _Asked(member, keep))
        train_NC, val_augmented_VC = logits.train_NC.to(self._device), logits.val_augmented_VC.to(self._device)
        return _Answers(member.teacher_id, _Remembered(train_NC), _Remembered(val_augmented_VC))


def clean_batch(model: nn.Module, batch: Batch, cam_threshold: float) -> tuple[Tensor, Tensor]:
    """Return logits (B, C) and attention regions, bool (B, H, W), of ``model`` as it is on a batch."""
    classifier = cast(Classifier, model)
    logits_BC, features_BDhw = classifier.forward_with_features(batch.images_BDHW)
    image_size = batch.images_BDHW.shape[-1]
    return logits_BC.float(), attention_masks(features_BDhw, classifier.classifier_weight, image_size, cam_threshold)


class _Member:
    def __init__(self, teacher: TeacherConfig, root: Location, device: torch.device, num_threads: int | None) -> None:
        self._teacher, self._root, self._device, self._num_threads = teacher, root, device, num_threads
        self.teacher_id = teacher.teacher_id

    @cached_property
    def model(self) -> nn.Module:
        return teacher_model(self._teacher, self._root, device=str(self._device), num_threads=self._num_threads)


class _Asked:
    """Answers of a teacher that looks at every batch; all of them are held only where they will be kept."""

    def __init__(self, member: _Member, keep: bool) -> None:
        self._member = member
        self._keep = keep
        self._given: list[Tensor] = []

    def next(self, batch: Batch) -> Tensor:
        # Not inference_mode: the loss keeps these tensors for its backward pass.
        with torch.no_grad():
            logits_BC: Tensor = self._member.model(batch.images_BDHW).float()
        if self._keep:
            self._given.append(logits_BC)
        return logits_BC

    def given(self) -> Tensor:
        return torch.cat(self._given)


class _Remembered:
    """Answers that are known for the whole epoch."""

    def __init__(self, logits_NC: Tensor) -> None:
        self._logits_NC = logits_NC
        self._position = 0

    def next(self, batch: Batch) -> Tensor:
        first, self._position = self._position, self._position + len(batch)
        return self._logits_NC[first : self._position]


@dataclass(frozen=True)
class _Answers:
    teacher_id: str
    train: _Asked | _Remembered
    val_augmented: _Asked | _Remembered
