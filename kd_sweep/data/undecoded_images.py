"""Pictures that are not decoded yet: what every reader finds, before torch is needed.

Shapes: N images, D = 3 channels (RGB), H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_sweep.data.splits import Indices, long_tailed_counts, long_tailed_sample, stratified_sample, stratified_split
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data

Pixels = NDArray[np.uint8]
Source = Path | bytes | Pixels
"""One picture: a file, an encoded file's content, or pixels (3, H, W)."""


@dataclass(frozen=True)
class Pictures:
    """Pictures in a fixed order, with their labels.

    Attributes:
        sources: one per picture; or all at once, as uint8 (N, 3, H, W).
        names: what each is called in messages and in digests, without the place where the dataset lies.
        labels_N: int64, from 0.
    """

    sources: Sequence[Source] | Pixels
    names: Sequence[str]
    labels_N: Indices

    def pick(self, indices_N: Indices) -> "Pictures":
        """Return the pictures at ``indices_N``."""
        if isinstance(self.sources, np.ndarray):
            sources: Sequence[Source] | Pixels = self.sources[indices_N]
        else:
            sources = [self.sources[i] for i in indices_N]
        return Pictures(sources, [self.names[i] for i in indices_N], self.labels_N[indices_N])


@dataclass(frozen=True)
class Found:
    """What lies at `data.path`.

    Attributes:
        root: the folder.
        class_names: one per label.
        train: training images.
        val: validation images; None where they have to be split off `train`.
        fingerprint: 16 hexadecimal digits that other pixels, names or labels would change.
        copies: validation images that are copies of training images (or, where they are split off, images that are
            copies of others): few enough to be no mistake.
        passed_over: what else lies there and is not read, by reason; empty where there is nothing else.
    """

    root: Path
    class_names: tuple[str, ...]
    train: Pictures
    val: Pictures | None
    fingerprint: str
    copies: int = 0
    passed_over: str = ""


def chosen(data: Data, train_labels_N: Indices, val_labels_N: Indices | None) -> tuple[Indices, Indices]:
    """Return the sorted indices of the training and of the validation images that ``data`` asks for.

    Args:
        data: the `data` section of a study.
        train_labels_N: labels of all training images.
        val_labels_N: labels of the dataset's own validation images. None: they are split off the training images, and
            both results are places there.

    Raises:
        DataError: so few images are asked for that a class has none to train on.
    """
    seed = data.split_seed
    if val_labels_N is None:
        train_N, val_N = stratified_split(train_labels_N, data.validation_fraction, seed)
        held_out_labels_N = train_labels_N[val_N]
    else:
        train_N, val_N = np.arange(len(train_labels_N)), np.arange(len(val_labels_N))
        held_out_labels_N = val_labels_N
    if data.imbalance_ratio is not None:
        _check_imbalance(data, train_labels_N[train_N], data.imbalance_ratio)
        train_N = train_N[long_tailed_sample(train_labels_N[train_N], data.imbalance_ratio, seed)]
    _check_limit(data, train_labels_N)
    train_N = train_N[stratified_sample(train_labels_N[train_N], data.max_train_images, seed)]
    return train_N, val_N[stratified_sample(held_out_labels_N, data.max_val_images, seed)]


def _check_limit(data: Data, labels_N: Indices) -> None:
    limit, num_classes = data.max_train_images, len(np.unique(labels_N))
    if limit is not None and limit < num_classes:
        raise DataError(
            f"data.max_train_images: {limit} is fewer than the {num_classes} classes of {data.name}; "
            f"possible: {num_classes} to {len(labels_N)}, or null for all"
        )


def _check_imbalance(data: Data, labels_N: Indices, ratio: float) -> None:
    sizes = np.bincount(labels_N)
    counts = long_tailed_counts(int(sizes.max()), len(sizes), ratio)
    if min(counts) < 1:
        raise DataError(
            f"data.imbalance_ratio: {ratio:g} leaves class {counts.index(0)} of {data.name} without a training image, "
            f"as the largest class has {sizes.max()}; possible: 1 to {sizes.max()}, or null"
        )
