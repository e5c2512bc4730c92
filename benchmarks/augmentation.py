"""Images per second of the augmentation stream, beside torchvision's transforms per image and kornia's container.

Colour images of 32 x 32, one thread. The strength family has the same kinds of transform as torchvision's and kornia's
rows; below are the published pipelines, at the strength where they do most. Prints one table.

    python -m benchmarks.augmentation
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from kd_sweep.augmentation import transforms
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.dataset import Dataset, ImageSet
from kd_sweep.study.recipe import Augmentation, Data
from kd_sweep.study.trial import StreamConfig

IMAGE_SIZE = 32
NUM_CLASSES = 10
STRENGTH = 0.5
PUBLISHED: dict[str, tuple[str, str]] = {
    "weak_strong, CIFAR's presets": ("weak_strong", "cifar10"),
    "weak_strong, ImageNet's presets": ("weak_strong", "image_folder"),
    "randaugment": ("randaugment", "cifar10"),
    "autoaugment, CIFAR-10's policy": ("autoaugment", "cifar10"),
    "autoaugment, ImageNet's policy": ("autoaugment", "image_folder"),
    "trivialaugment": ("trivialaugment", "cifar10"),
}
"""Pipelines, and a dataset that has them."""
FREED_BYTES = 24 * 2**20


def random_dataset(num_images: int) -> Dataset:
    """Return noise: no transform here depends on what a picture shows."""
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, 3, IMAGE_SIZE, IMAGE_SIZE)
    images_NDHW = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    image_set = ImageSet(images_NDHW, torch.arange(num_images) % NUM_CLASSES)
    names = tuple(str(label) for label in range(NUM_CLASSES))
    return Dataset(image_set, image_set, names, horizontal_flip=True)


def stream_epoch(
    dataset: Dataset, batch_size: int, strength: float, pipeline: str = "strength", name: str = "cifar10"
) -> Callable[[], int]:
    """One epoch of the augmentation stream: shuffled, augmented, normalised batches."""
    config = StreamConfig(
        data=Data.model_validate({"name": name, "path": ".", "image_size": IMAGE_SIZE}),
        augmentation=Augmentation.model_validate({"pipeline": pipeline}),
        augmentation_strength=strength,
        batch_size=batch_size,
        seed=0,
    )
    stream = AugmentationStream(config, dataset)
    return lambda: sum(len(batch) for batch in stream.batches(1))


def torchvision_epoch(dataset: Dataset, batch_size: int, strength: float) -> Callable[[], int]:
    """torchvision's v2 transforms on one image at a time, as a data loader's worker runs them."""
    from torchvision.transforms import v2

    change = transforms.MAX_COLOR_CHANGE * strength
    resize = 1 + transforms.MAX_SIZE_CHANGE * strength
    pipeline = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomAffine(
                transforms.MAX_ROTATION_DEGREES * strength,
                translate=(transforms.MAX_SHIFT * strength,) * 2,
                scale=(1 / resize, resize),
                shear=transforms.MAX_ROTATION_DEGREES * strength / 2,
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(change, change, change),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(dataset.mean, dataset.std),
            v2.RandomErasing(transforms.ERASING_PROBABILITY * strength, (0.01, transforms.MAX_ERASED_AREA * strength)),
        ]
    )

    def epoch() -> int:
        count = 0
        for indices_B in torch.randperm(len(dataset.train)).split(batch_size):
            count += len(torch.stack([pipeline(image_DHW) for image_DHW in dataset.train.images_NDHW[indices_B]]))
        return count

    return epoch


def kornia_epoch(dataset: Dataset, batch_size: int, strength: float) -> Callable[[], int]:
    """kornia's augmentation container on whole batches."""
    from kornia import augmentation

    change = transforms.MAX_COLOR_CHANGE * strength
    resize = 1 + transforms.MAX_SIZE_CHANGE * strength
    pipeline = augmentation.AugmentationSequential(
        augmentation.RandomHorizontalFlip(0.5),
        augmentation.RandomAffine(
            transforms.MAX_ROTATION_DEGREES * strength,
            translate=(transforms.MAX_SHIFT * strength,) * 2,
            scale=(1 / resize, resize),
            shear=transforms.MAX_ROTATION_DEGREES * strength / 2,
            padding_mode="reflection",
            p=1.0,
        ),
        augmentation.ColorJiggle(change, change, change, p=1.0),
        augmentation.Normalize(torch.tensor(dataset.mean), torch.tensor(dataset.std)),
        augmentation.RandomErasing(
            (0.01, transforms.MAX_ERASED_AREA * strength), p=transforms.ERASING_PROBABILITY * strength
        ),
        data_keys=["input"],
    )

    def epoch() -> int:
        count = 0
        for indices_B in torch.randperm(len(dataset.train)).split(batch_size):
            images_BDHW: Tensor = dataset.train.images_NDHW[indices_B].float() / 255
            count += len(pipeline(images_BDHW))
        return count

    return epoch


def images_per_second(epoch: Callable[[], int], repeats: int) -> float:
    """Return the median over ``repeats`` epochs, after one that is not counted."""
    epoch()
    rates = []
    for _ in range(repeats):
        started = time.perf_counter()
        count = epoch()
        rates.append(count / (time.perf_counter() - started))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4096, help="images per epoch")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # As in a training, whose larger tensors teach malloc to keep freed memory instead of mapping it for every batch.
    torch.empty(FREED_BYTES, dtype=torch.uint8).fill_(1)

    dataset = random_dataset(arguments.images)
    small = random_dataset(max(arguments.batch_size, arguments.images // 8))
    ways: list[tuple[str, Callable[[], int]]] = [
        ("kd_sweep stream, strength 0", stream_epoch(dataset, arguments.batch_size, 0.0)),
        ("kd_sweep stream, strength 0.5", stream_epoch(dataset, arguments.batch_size, STRENGTH)),
        ("kd_sweep stream, strength 1", stream_epoch(dataset, arguments.batch_size, 1.0)),
        *(
            (f"kd_sweep {name} at 0.5", stream_epoch(dataset, arguments.batch_size, STRENGTH, name))
            for name in ("mixup", "cutmix")
        ),
        ("kornia AugmentationSequential", kornia_epoch(dataset, arguments.batch_size, STRENGTH)),
        ("torchvision v2, per image", torchvision_epoch(small, arguments.batch_size, STRENGTH)),
    ]
    for title, (pipeline, name) in PUBLISHED.items():
        ways.append((f"kd_sweep {title}", stream_epoch(dataset, arguments.batch_size, 1.0, pipeline, name)))
    rates = {name: images_per_second(epoch, arguments.repeats) for name, epoch in ways}
    ours = rates["kd_sweep stream, strength 0.5"]
    table = Table(title=f"augmentation, {IMAGE_SIZE} x {IMAGE_SIZE} colour, batch {arguments.batch_size}, 1 thread")
    for heading in ("way", "images/s", "of the stream at 0.5"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / ours:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
