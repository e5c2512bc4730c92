"""Datasets by name: the one place that turns the `data` section of a study into images."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kd_sweep.study.digest import digest
from kd_sweep.study.spec import Data
from kd_sweep.vision.checks import check_data
from kd_sweep.vision.decoding import decode_images
from kd_sweep.vision.images import Dataset, ImageSet
from kd_sweep.vision.pictures import Found, Pictures, chosen
from kd_sweep.vision.sources import find_images
from kd_sweep.vision.splits import Indices

__all__ = ["check_data", "load_dataset"]


def load_dataset(data: Data, cache_dir: Path | None = None) -> Dataset:
    """Return the images that ``data`` describes; RGB ones are cropped to their central square.

    Args:
        data: the `data` section of a study.
        cache_dir: where decoded images are kept for the next process; in memory alone when None.

    Raises:
        DataError: no such dataset; files missing, laid out in another way, changed since launch, or damaged.
    """
    if data.name == "digits":
        return _load_digits(check_data(data))
    found = find_images(data)
    train_N, val_N = chosen(data, found.train.labels_N, None if found.val is None else found.val.labels_N)
    val = found.train if found.val is None else found.val
    return Dataset(
        train=_decoded(found.train.pick(train_N), found, data.image_size, cache_dir),
        val=_decoded(val.pick(val_N), found, data.image_size, cache_dir),
        class_names=found.class_names,
        horizontal_flip=data.horizontal_flip is not False,
    )


def _decoded(pictures: Pictures, found: Found, image_size: int, cache_dir: Path | None) -> ImageSet:
    cache_file = None
    if cache_dir is not None:
        cache_file = cache_dir / f"{found.fingerprint}-{digest(list(pictures.names))}-{image_size}.npy"
    images_NDHW = decode_images(pictures, image_size, cache_file)
    return ImageSet(torch.from_numpy(images_NDHW), torch.from_numpy(pictures.labels_N))


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
    train_N, val_N = chosen(data, labels_N, None)

    def subset(indices_N: Indices) -> ImageSet:
        return ImageSet(pixels_NDHW[torch.from_numpy(indices_N)], torch.from_numpy(labels_N[indices_N]))

    return Dataset(
        train=subset(train_N),
        val=subset(val_N),
        class_names=tuple(str(name) for name in digits.target_names),
        horizontal_flip=bool(data.horizontal_flip),
    )
