"""What students that learn from one stream in lock step share of an epoch: each teacher answers each batch once.

Shapes: B batch, C classes.
"""

import itertools
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from kd_sweep.augmentation.stream import AugmentationStream, Batch
from kd_sweep.distill.ensembles.member import Member
from kd_sweep.distill.teacher_logits import EpochLogits

Answer = Callable[[Tensor], Tensor]
"""``images_BDHW -> logits_BC``, of images in the order of their stream."""
Shown = TypeVar("Shown")
Given = TypeVar("Given")


class SharedEpoch:
    """What is computed for the first student that asks for it in an epoch, and given to the others.

    Students ask for the training batches in lock step, so of these the newest answers are enough. Each then looks at
    the validation images by itself, so of those all answers are held. A teacher that drifts is its student's own.

    Args:
        num_students: that learn in lock step.
    """

    def __init__(self, num_students: int) -> None:
        self._num_students = num_students
        self._made: dict[Hashable, Any] = {}

    def train_logits(self, member: Member, stream_id: str) -> Answer:
        """Return what gives a teacher's logits on the training images that it sees, those of ``stream_id``."""
        if member.drifting:
            return member.train_logits
        return self._once(("train", member.teacher_id, stream_id), lambda: _OncePerBatch(member.train_logits))

    def val_logits(self, member: Member) -> Answer:
        """Return what gives a teacher's logits on the augmented validation images, to one student."""
        if member.drifting or self._num_students == 1:
            return member.logits
        return self._once(("val", member.teacher_id), lambda: _EachOnce(member.logits)).for_one_student()

    def views(self, teacher_stream: AugmentationStream, epoch: int) -> Callable[[Batch], Batch]:
        """Return what gives the teachers' view of the student's next batch."""

        def start() -> Callable[[Batch], Batch]:
            views = teacher_stream.batches(epoch)

            def next_view(_: Batch) -> Batch:
                return next(views)

            return _OncePerBatch(next_view)

        return self._once(("views", teacher_stream.stream.stream_id), start)

    def kept(self, logits: EpochLogits, teacher_id: str, stream_id: str, device: torch.device) -> EpochLogits:
        """Return the logits of a whole epoch on ``device``."""

        def copy() -> EpochLogits:
            return EpochLogits(logits.train_NC.to(device), logits.val_augmented_VC.to(device))

        return self._once(("kept", teacher_id, stream_id), copy)

    def _once(self, key: Hashable, make: Callable[[], Given]) -> Given:
        if key not in self._made:
            self._made[key] = make()
        made: Given = self._made[key]
        return made


class _OncePerBatch(Generic[Shown, Given]):
    """A function of the batch that is learned from, called once for it: what it gave or raised is the same for all."""

    def __init__(self, function: Callable[[Shown], Given]) -> None:
        self._function = function
        self._shown: list[Shown] = []
        self._given: list[Given] = []
        self._error: Exception | None = None

    def __call__(self, shown: Shown) -> Given:
        if not self._shown or self._shown[0] is not shown:
            self._shown, self._given, self._error = [shown], [], None
            try:
                self._given = [self._function(shown)]
            except Exception as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._given[0]


class _EachOnce:
    """A teacher's answers to a series of images that several students look at one after another."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._given: list[Tensor] = []

    def for_one_student(self) -> Answer:
        numbers = itertools.count()

        def answer(images_BDHW: Tensor) -> Tensor:
            number = next(numbers)
            if number == len(self._given):
                self._given.append(self._answer(images_BDHW))
            return self._given[number]

        return answer
