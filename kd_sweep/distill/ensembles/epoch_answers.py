"""The teachers' answers to one epoch of a student's images: read where they are kept, computed where they are not.

Shapes: B batch, C classes, M teachers, N training images, V validation images.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kd_sweep.augmentation.stream import AugmentationStream, Batch
from kd_sweep.distill.ensembles.member import Member
from kd_sweep.distill.ensembles.shared_epoch import SharedEpoch
from kd_sweep.distill.teacher_logits import EpochLogits, LogitCache


class EnsembleEpoch:
    """The teachers' answers to one epoch. Ask for the training batches in order, then for the validation ones.

    Answers that can be kept are there before the first batch, so that other processes wait for a pass of the teachers,
    and not for an epoch of a student. Others are computed as they are asked for.

    Args:
        members: the teachers.
        stream: the student's.
        teacher_stream: what teachers see of the training images; of the validation images they see the student's.
        cache: where their outputs are kept, under the name of their stream.
        epoch: which one, from 1.
        fixed: each teacher's logits on all training images, where it has no others.
        shared: what other students of the stream ask for in this epoch, too.
    """

    def __init__(
        self,
        members: list[Member],
        stream: AugmentationStream,
        teacher_stream: AugmentationStream,
        cache: LogitCache,
        epoch: int,
        fixed: list[Tensor] | None,
        shared: SharedEpoch,
    ) -> None:
        self._stream, self._teacher_stream, self._cache, self._epoch = stream, teacher_stream, cache, epoch
        self._fixed = fixed
        dataset = stream.dataset
        num_train = min(len(dataset.train), stream.num_batches * stream.stream.batch_size)
        self._shape = (num_train, len(dataset.val), dataset.num_classes)
        seen = teacher_stream.stream.stream_id
        is_kept = fixed is None and cache.keeps(self._shape)
        if is_kept:
            folders = {member: f"{member.teacher_id}/{seen}" for member in members}
            kept = cache.once(folders, self._kept, self._compute)
            on_device = [shared.kept(kept[member], member.teacher_id, seen, stream.device) for member in members]
            self._train: list[Callable[[Tensor], Tensor]] = [_Kept(logits.train_NC) for logits in on_device]
            self._val: list[Callable[[Tensor], Tensor]] = [_Kept(logits.val_augmented_VC) for logits in on_device]
        else:
            self._train = [shared.train_logits(member, seen) for member in members]
            self._val = [shared.val_logits(member) for member in members]
        are_views = not is_kept and fixed is None and teacher_stream.stream != stream.stream
        self._views = shared.views(teacher_stream, epoch) if are_views else None

    def train_logits(self, batch: Batch) -> Tensor:
        """Return the teachers' logits on the next training batch, (M, B, C), or on their views of its images."""
        if self._fixed is not None:
            fixed_MBC = torch.stack([logits_NC[batch.indices_B] for logits_NC in self._fixed])
            return fixed_MBC.to(self._stream.device, non_blocking=True)
        seen = batch if self._views is None else self._views(batch)
        return torch.stack([answer(seen.images_BDHW) for answer in self._train])

    def val_augmented_logits(self, batch: Batch) -> Tensor:
        """Return the teachers' logits on the next augmented validation batch, (M, B, C)."""
        return torch.stack([answer(batch.images_BDHW) for answer in self._val])

    def _kept(self, member: Member) -> EpochLogits | None:
        return self._cache.epoch(member.teacher_id, self._teacher_stream.stream.stream_id, self._epoch, self._shape)

    def _compute(self, members: list[Member]) -> dict[Member, EpochLogits]:
        """Return the answers of some teachers, computed in one pass over the images, and keep them for other trials."""
        train: list[list[Tensor]] = [[] for _ in members]
        val: list[list[Tensor]] = [[] for _ in members]
        for batch in self._teacher_stream.batches(self._epoch):
            for member, given in zip(members, train, strict=True):
                given.append(member.train_logits(batch.images_BDHW))
        for batch in self._stream.augmented_val(self._epoch):
            for member, given in zip(members, val, strict=True):
                given.append(member.logits(batch.images_BDHW))
        answers = {
            member: EpochLogits(torch.cat(of_train).cpu(), torch.cat(of_val).cpu())
            for member, of_train, of_val in zip(members, train, val, strict=True)
        }
        for member, logits in answers.items():
            stream_id = self._teacher_stream.stream.stream_id
            self._cache.keep_epoch(member.teacher_id, stream_id, self._epoch, logits)
        return answers


class _Kept:
    """Answers that are known for the whole epoch, given in place of those of a pass over the next images."""

    def __init__(self, logits_NC: Tensor) -> None:
        self._logits_NC = logits_NC
        self._position = 0

    def __call__(self, images_BDHW: Tensor) -> Tensor:
        first, self._position = self._position, self._position + len(images_BDHW)
        return self._logits_NC[first : self._position]
