"""Datasets by name: the one place that turns the `data` section of a study into images."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kd_sweep.errors import DataError, alternatives
from kd_sweep.study.spec import DATASETS, Data
from kd_sweep.vision.checks import check_data
from kd_sweep.vision.images import Dataset, ImageSet
from kd_sweep.vision.splits import Indices, stratified_sample, stratified_split

__all__ = ["check_data", "load_dataset"]


def load_dataset(data: Data, cache_dir: Path | None = None) -> Dataset:
    """Return the images that ``data`` describes.

    Args:
        data: the `data` section of a study.
        cache_dir: where decoded images are kept for the next process; in memory alone when None.

    Raises:
        DataError: no such dataset; files missing, laid out in another way, changed since launch, or damaged.
    """
    if data.name == "digits":
        return _load_digits(check_data(data))
    if data.name == "image_folder":
        from kd_sweep.vision.image_folder import load_image_folder

        return load_image_folder(data, cache_dir)
    raise DataError(f"data.name: {data.name!r} is not a dataset; {alternatives(data.name, DATASETS)}")


def _load_digits(data: Data) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits (8 x 8, greyscale), enlarged bilinearly."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images_NDHW = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    if data.image_size != images_NDHW.shape[-1]:
        size = (data.image_size, data.image_size)
        images_NDHW = F.interpolate(images_NDHW, size, mode="bilinear", align_corners=False)
    pixels_NDHW = images_NDHW.round().clamp(0, 255).to(torch.uint8)
    labels_N = digits.target.astype(np.int64)
    train_N, val_N = stratified_split(labels_N, data.validation_fraction, data.split_seed)
    train_N = train_N[stratified_sample(labels_N[train_N], data.max_train_images, data.split_seed)]
    val_N = val_N[stratified_sample(labels_N[val_N], data.max_val_images, data.split_seed)]

    def subset(indices_N: Indices) -> ImageSet:
        return ImageSet(pixels_NDHW[torch.from_numpy(indices_N)], torch.from_numpy(labels_N[indices_N]))

    return Dataset(
        train=subset(train_N),
        val=subset(val_N),
        class_names=tuple(str(name) for name in digits.target_names),
        horizontal_flip=bool(data.horizontal_flip),
    )
