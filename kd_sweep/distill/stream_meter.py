"""The metrics of a stream of images, taken while they pass by.

Shapes: B batch, C classes, M teachers, N images held.
"""

import math

import torch
from torch import Tensor

from kd_sweep.distill.image_means import ImageMeans
from kd_sweep.metrics.calibration import calibration_bins
from kd_sweep.metrics.paper_code import BATCH_SIZE, ECE_BINS, mean_gap
from kd_sweep.metrics.predictions import ensemble_log_probabilities, top_1
from kd_sweep.metrics.split_metrics import information_metrics, rethinkkd_metrics, stream_metrics

CHUNK_IMAGES = 8192


class StreamMeter:
    """Takes the metrics of a stream while its images pass by.

    Logits are held for `CHUNK_IMAGES` images at a time: those of a whole epoch of ImageNet would fill a GPU.

    Args:
        split: `train` or `val_augmented`.
    """

    def __init__(self, split: str) -> None:
        self._split = split
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []
        self._num_held = 0
        self._means = ImageMeans()
        self._batch_means = ImageMeans()
        self._bins: list[Tensor] = []
        self._predicted: list[tuple[Tensor, Tensor]] = []

    def add(self, student_logits_BC: Tensor, teacher_logits_MBC: Tensor, labels_B: Tensor) -> None:
        """Count a batch."""
        self._held.append((student_logits_BC.detach().float(), teacher_logits_MBC, labels_B))
        self._num_held += len(labels_B)
        if self._num_held >= CHUNK_IMAGES:
            self._count_full_batches()

    def metrics(self) -> dict[str, float]:
        """Return the metrics of all images that were added.

        Those of `metrics.split_metrics.rethinkkd_metrics` are missing where their images do not fill a batch.
        """
        self._count_full_batches()
        self._count(self._num_held)
        values = {**self._means.values(), **self._batch_means.values()}
        if self._split == "train":
            values["ece_train_rethinkkd"] = mean_gap(*torch.stack(self._bins).sum(0))
        student, ensemble = zip(*self._predicted, strict=True)
        return {**values, **information_metrics(torch.cat(student), torch.cat(ensemble), self._split)}

    def _count_full_batches(self) -> None:
        self._count(self._num_held // BATCH_SIZE * BATCH_SIZE)

    def _count(self, num_images: int) -> None:
        """Count the first of the images that are held, and let go of them."""
        if not num_images:
            return
        student, teachers, labels = zip(*self._held, strict=True)
        student_NC, teacher_MNC, labels_N = torch.cat(student), torch.cat(teachers, dim=1), torch.cat(labels)
        self._held = [(student_NC[num_images:], teacher_MNC[:, num_images:], labels_N[num_images:])]
        self._num_held -= num_images
        student_NC, teacher_MNC, labels_N = student_NC[:num_images], teacher_MNC[:, :num_images], labels_N[:num_images]

        ensemble_log_NC = ensemble_log_probabilities(teacher_MNC)
        self._means.add(stream_metrics(student_NC, ensemble_log_NC, labels_N, self._split), num_images)
        self._predicted.append((top_1(student_NC), top_1(ensemble_log_NC)))
        # The paper's code counts the training stream's smaller last batch as a full one, and drops the other's.
        if self._split == "train" or num_images % BATCH_SIZE == 0:
            num_batches = math.ceil(num_images / BATCH_SIZE)
            self._batch_means.add(rethinkkd_metrics(student_NC, teacher_MNC, self._split), num_batches)
        if self._split == "train":
            self._bins.append(torch.stack(calibration_bins(student_NC, labels_N, ECE_BINS)))
