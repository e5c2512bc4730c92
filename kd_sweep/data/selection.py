"""The selection of a study: which images of a dataset its `data` section asks for."""

import numpy as np

from kd_sweep.data.splits import Indices, long_tailed_counts, long_tailed_sample, stratified_sample, stratified_split
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data


def selected_indices(data: Data, train_labels_N: Indices, val_labels_N: Indices | None) -> tuple[Indices, Indices]:
    """Return the sorted indices of the training and of the validation images that ``data`` asks for.

    Args:
        data: the `data` section of a study.
        train_labels_N: labels of all training images.
        val_labels_N: labels of the dataset's own validation images. None: they are split off the training images, and
            both results are indices of those.

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
