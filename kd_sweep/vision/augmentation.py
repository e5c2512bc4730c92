"""Augmentation as a deterministic stream: the pixels of a batch are a function of (seed, epoch, batch) and no state.

All random numbers are drawn on the CPU, the same for every strength and device, and only then scaled by the strength:
two streams of one seed show the same distortions, stronger or weaker, on a CPU and on a GPU.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_sweep.study.digest import derived_seed
from kd_sweep.study.trial import StreamConfig
from kd_sweep.vision.images import Dataset, ImageSet
from kd_sweep.vision.transforms import NUM_DRAWS, Normalization, augment

EVALUATION_BATCH_SIZE = 256
RESIDENT_BYTES = 2**31
"""Sets up to this size are copied to the device once; larger ones batch by batch."""


@dataclass(frozen=True)
class Batch:
    """Images as a network takes them.

    Attributes:
        indices_B: int64, places in the image set; on the CPU.
        images_BDHW: float32, normalised with the training set's mean and standard deviation; on the device.
        labels_B: int64, on the device.
    """

    indices_B: Tensor
    images_BDHW: Tensor
    labels_B: Tensor

    def __len__(self) -> int:
        return len(self.indices_B)


class AugmentationStream:
    """An endless, reproducible sequence of augmented batches. No method changes the stream.

    Args:
        stream: seed, strength, transforms and batch size.
        dataset: the images.
        device: where batches are made.
    """

    def __init__(self, stream: StreamConfig, dataset: Dataset, device: torch.device | str = "cpu") -> None:
        self.stream = stream
        self.dataset = dataset
        self.device = torch.device(device)
        self._train = self._resident(dataset.train)
        self._val = self._resident(dataset.val)
        self._normalization = Normalization.of(dataset, self.device)
        flips = "geometry" in stream.augmentation.transforms and dataset.horizontal_flip
        self._transforms = frozenset(stream.augmentation.transforms) | ({"flip"} if flips else set())

    @property
    def num_batches(self) -> int:
        """Batches per epoch. The last may be smaller; a single image, which batch norm cannot take, is dropped."""
        full, rest = divmod(len(self.dataset.train), self.stream.batch_size)
        return full + (rest > 1)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the training batches of ``epoch`` (from 1), in its own order."""
        order_N = torch.randperm(len(self.dataset.train), generator=self._generator("order", epoch, 0))
        for batch, indices_B in enumerate(torch.split(order_N, self.stream.batch_size)[: self.num_batches]):
            yield self._augmented(self._train, indices_B, self._generator("train", epoch, batch))

    def augmented_val(self, epoch: int) -> Iterator[Batch]:
        """Yield all validation images in order, augmented as training images of ``epoch`` are."""
        for batch, indices_B in enumerate(torch.split(torch.arange(len(self.dataset.val)), EVALUATION_BATCH_SIZE)):
            yield self._augmented(self._val, indices_B, self._generator("val", epoch, batch))

    def clean_batches(self, image_set: ImageSet, batch_size: int = EVALUATION_BATCH_SIZE) -> Iterator[Batch]:
        """Yield all images of ``image_set`` in order, normalised and nothing else."""
        image_set = self._val if image_set is self.dataset.val else image_set
        image_set = self._train if image_set is self.dataset.train else image_set
        for indices_B in torch.split(torch.arange(len(image_set)), batch_size):
            images_BDHW, labels_B = self._gather(image_set, indices_B)
            yield Batch(indices_B, self._normalization.of_pixels(images_BDHW), labels_B)

    def _generator(self, purpose: str, epoch: int, batch: int) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(derived_seed(self.stream.seed, epoch, batch, purpose))

    def _augmented(self, image_set: ImageSet, indices_B: Tensor, generator: torch.Generator) -> Batch:
        pixels_BDHW, labels_B = self._gather(image_set, indices_B)
        draws_BP = torch.rand(len(indices_B), NUM_DRAWS, generator=generator).to(self.device, non_blocking=True)
        images_BDHW = augment(
            pixels_BDHW, draws_BP, self.stream.augmentation_strength, self._transforms, self._normalization
        )
        return Batch(indices_B, images_BDHW, labels_B)

    def _gather(self, image_set: ImageSet, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        places_B = indices_B.to(image_set.images_NDHW.device)
        images_BDHW = image_set.images_NDHW[places_B].to(self.device, non_blocking=True)
        return images_BDHW, image_set.labels_N[places_B].to(self.device, non_blocking=True)

    def _resident(self, image_set: ImageSet) -> ImageSet:
        if self.device.type == "cpu" or image_set.images_NDHW.nbytes > RESIDENT_BYTES:
            return image_set
        return ImageSet(image_set.images_NDHW.to(self.device), image_set.labels_N.to(self.device))
