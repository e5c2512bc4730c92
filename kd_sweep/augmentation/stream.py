"""The augmentation stream: batches whose pixels are a function of (seed, epoch, batch) and of no state.

All random numbers are drawn on the CPU, the same for every strength and device, and only then scaled by the strength:
two streams of one seed show the same distortions, stronger or weaker, on a CPU and on a GPU.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kd_sweep.augmentation.mixing import NUM_DRAWS, Mixing, Partners, partner_indices
from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting
from kd_sweep.augmentation.plugin_pipeline import PluginPipeline
from kd_sweep.data.dataset import Dataset, ImageSet
from kd_sweep.data.normalization import Normalization
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.trial import StreamConfig

EVALUATION_BATCH_SIZE = 256
RESIDENT_BYTES = 2**31
"""Sets up to this size are copied to the device once; larger ones batch by batch."""
RESIDENT_SHARE = 4
"""A set takes at most one part in so many of a GPU's free memory: networks, and other trials, need the rest."""
_ORDER = "order"
READ_AHEAD = 3
"""Batches of such a set that are read while one is used, each by a thread of its own."""


@dataclass(frozen=True)
class Batch:
    """Images as a network takes them.

    Attributes:
        indices_B: int64, in the image set; on the CPU.
        images_BDHW: float32, normalised with the training set's mean and standard deviation; on the device.
        labels_B: int64, on the device.
        partners: other images that are mixed in; None where none are. The labels are those of the larger shares.
    """

    indices_B: Tensor
    images_BDHW: Tensor
    labels_B: Tensor
    partners: Partners | None = None

    def __len__(self) -> int:
        return len(self.indices_B)


def resident_bytes(device: torch.device) -> int:
    """Return the size up to which an image set is copied to ``device`` once."""
    if device.type != "cuda":
        return RESIDENT_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return min(RESIDENT_BYTES, free_bytes // RESIDENT_SHARE)


class AugmentationStream:
    """An endless, reproducible sequence of augmented batches. No method changes the stream.

    Args:
        stream: seed, strength, transforms and batch size.
        dataset: the images.
        device: where batches are made.

    Raises:
        TrialError: the pipeline is one of a plug-in and not as it has to be; also where batches are made.
    """

    def __init__(self, stream: StreamConfig, dataset: Dataset, device: torch.device | str = "cpu") -> None:
        self.stream = stream
        self.dataset = dataset
        self.device = torch.device(device)
        self._train = self._resident(dataset.train)
        self._val = self._resident(dataset.val)
        self._normalization = Normalization.of(dataset, self.device)
        self._pipeline = _pipeline(stream, dataset, self._normalization)
        self._mixing = self._pipeline.mixing if stream.augmentation_strength > 0 else None

    def with_seeds_of(self, stream: StreamConfig) -> "AugmentationStream":
        """Return the stream that differs from this in its seeds alone; both share the images in memory."""
        other = copy.copy(self)
        other.stream = stream
        return other

    @property
    def num_batches(self) -> int:
        """Batches per epoch. The last may be smaller; a single image, which batch norm cannot take, is dropped."""
        full, rest = divmod(len(self.dataset.train), self.stream.batch_size)
        return full + (rest > 1)

    @property
    def val_indices(self) -> Sequence[Tensor]:
        """Indices of the validation images, int64, batch by batch as `augmented_val` and `clean_batches` yield them."""
        return torch.split(torch.arange(len(self.dataset.val)), EVALUATION_BATCH_SIZE)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the training batches of ``epoch`` (from 1), in its own order."""
        order_N = torch.randperm(len(self.dataset.train), generator=self._generator(_ORDER, epoch, 0))
        batches = torch.split(order_N, self.stream.batch_size)[: self.num_batches]
        shown = self._augmented(self._train, batches, "train", epoch)
        if self._mixing is None:
            return shown
        # Their order is random, so a neighbour is a random partner.
        return self._mixed(self._mixing, ((batch, _shifted(batch)) for batch in shown), "train", epoch)

    def augmented_val(self, epoch: int) -> Iterator[Batch]:
        """Yield all validation images in order, augmented as training images of ``epoch`` are."""
        shown = self._augmented(self._val, self.val_indices, "val", epoch)
        if self._mixing is None:
            return shown
        # They may lie class by class, so a partner comes from the whole set.
        partner_N = partner_indices(len(self.dataset.val), self._generator("val partners", epoch, 0))
        partners = [partner_N[indices_B] for indices_B in self.val_indices]
        pairs = zip(shown, self._augmented(self._val, partners, "val partner", epoch), strict=True)
        return self._mixed(self._mixing, pairs, "val", epoch)

    def clean_batches(self, image_set: ImageSet, batch_size: int = EVALUATION_BATCH_SIZE) -> Iterator[Batch]:
        """Yield all images of ``image_set`` in order, normalised and nothing else."""
        image_set = self._val if image_set is self.dataset.val else image_set
        image_set = self._train if image_set is self.dataset.train else image_set
        batches = torch.split(torch.arange(len(image_set)), batch_size)
        for indices_B, pixels_BDHW, labels_B in self._gathered(image_set, batches):
            yield Batch(indices_B, self._normalization.of_pixels(pixels_BDHW), labels_B)

    def _generator(self, purpose: str, epoch: int, batch: int) -> torch.Generator:
        of_pixels = self.stream.augmentation_seed
        seed = self.stream.seed if of_pixels is None or purpose == _ORDER else of_pixels
        return torch.Generator("cpu").manual_seed(derived_seed(seed, epoch, batch, purpose))

    def _augmented(self, image_set: ImageSet, batches: Sequence[Tensor], purpose: str, epoch: int) -> Iterator[Batch]:
        for batch, (indices_B, pixels_BDHW, labels_B) in enumerate(self._gathered(image_set, batches)):
            generator = self._generator(purpose, epoch, batch)
            draws_BP = torch.rand(len(indices_B), self._pipeline.num_draws, generator=generator)
            images_BDHW = self._pipeline(pixels_BDHW, draws_BP, self.stream.augmentation_strength)
            yield Batch(indices_B, images_BDHW, labels_B)

    def _mixed(self, mixing: Mixing, pairs: Iterable[tuple[Batch, Batch]], purpose: str, epoch: int) -> Iterator[Batch]:
        """Yield the first batch of each pair with the images of the second mixed in."""
        for number, (batch, partner) in enumerate(pairs):
            generator = self._generator(f"{purpose} mixing", epoch, number)
            draws_B3 = torch.rand(len(batch), NUM_DRAWS, generator=generator)
            strength = self.stream.augmentation_strength
            images_BDHW, share_B = mixing(batch.images_BDHW, partner.images_BDHW, draws_B3, strength)
            yield replace(batch, images_BDHW=images_BDHW, partners=Partners(partner.labels_B, share_B))

    def _gathered(self, image_set: ImageSet, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield indices, pixels and labels of each batch; those of large sets, often on a disk, are read ahead."""
        images_NDHW = image_set.images_NDHW
        if images_NDHW.device.type == self.device.type and images_NDHW.nbytes <= RESIDENT_BYTES:
            yield from ((indices_B, *self._gather(image_set, indices_B)) for indices_B in batches)
            return
        with ThreadPoolExecutor(READ_AHEAD) as pool:
            reading: deque[Future[tuple[Tensor, Tensor]]] = deque()
            for number, indices_B in enumerate(batches):
                for ahead_B in batches[number + len(reading) : number + 1 + READ_AHEAD]:
                    reading.append(pool.submit(self._gather, image_set, ahead_B))
                yield (indices_B, *reading.popleft().result())

    def _gather(self, image_set: ImageSet, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        indices_B = indices_B.to(image_set.images_NDHW.device, non_blocking=True)
        pixels_BDHW, labels_B = image_set.pixels(indices_B), image_set.labels_N[indices_B]
        if self.device.type == "cuda" and not pixels_BDHW.is_cuda:
            pixels_BDHW = pixels_BDHW.pin_memory()  # else the copy would wait for all work of the GPU
        return pixels_BDHW.to(self.device, non_blocking=True), labels_B.to(self.device, non_blocking=True)

    def _resident(self, image_set: ImageSet) -> ImageSet:
        if self.device.type == "cpu" or image_set.images_NDHW.nbytes > resident_bytes(self.device):
            return image_set
        return image_set.to(self.device)


def _pipeline(stream: StreamConfig, dataset: Dataset, normalization: Normalization) -> Pipeline:
    """Return the pipeline that ``stream`` names."""
    setting = PipelineSetting(stream.data.entry.traits.presets, dataset.horizontal_flip, normalization)
    entry = stream.augmentation.entry
    if not entry.is_built_in:
        return PluginPipeline(stream.augmentation, setting)
    pipeline: Pipeline = entry.item(setting, stream.augmentation)
    return pipeline


def _shifted(batch: Batch) -> Batch:
    """Return ``batch`` with every image at the next index, the last one at the first."""
    return Batch(batch.indices_B.roll(1), batch.images_BDHW.roll(1, 0), batch.labels_B.roll(1))
