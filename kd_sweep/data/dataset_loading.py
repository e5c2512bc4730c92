"""Datasets by name: the one place that turns the `data` section of a study into images."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_listing import find_images
from kd_sweep.data.decoding.decoder import decode_images
from kd_sweep.data.fingerprints import remember
from kd_sweep.data.images import Dataset, ImageSet
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import Found, Pictures, chosen
from kd_sweep.study.identity import digest
from kd_sweep.study.recipe import Data

__all__ = ["check_data", "load_dataset"]


Selection = Callable[[Indices], Indices]
"""Labels of images -> places of those that are wanted, in the order that they are wanted in."""


def load_dataset(data: Data, cache_dir: Path | None = None, val_selection: Selection | None = None) -> Dataset:
    """Return the images that ``data`` describes; RGB ones are cropped to their central square.

    Args:
        data: the `data` section of a study.
        cache_dir: where decoded images, and the fingerprint, are kept for the next process; in memory alone when None.
        val_selection: which of the validation images are wanted; no others are decoded. All when None.

    Raises:
        DataError: no such dataset; files missing, laid out in another way, changed since launch, or damaged.
    """
    if data.name == "digits":
        return _load_digits(check_data(data), val_selection)
    found, parts = _asked_for(data, val_selection, cache_dir)
    if cache_dir is not None:
        remember(found.fingerprint, cache_dir)

    def decoded(part: int) -> ImageSet:
        pictures = parts[part]
        cache_file = _cache_file(cache_dir, found, pictures, data.image_size)
        images_NDHW, stored = decode_images(
            pictures, data.image_size, cache_file, functools.partial(_part, data, val_selection, part, cache_dir)
        )
        return ImageSet(torch.from_numpy(images_NDHW), torch.from_numpy(pictures.labels_N), stored)

    train, val = decoded(0), decoded(1)
    return Dataset(train, val, found.class_names, horizontal_flip=data.horizontal_flip is not False)


def _asked_for(
    data: Data, val_selection: Selection | None, memory: Path | None
) -> tuple[Found, tuple[Pictures, Pictures]]:
    """Return what there is, and what ``data`` takes of it for training and for validation."""
    found = find_images(data, memory)
    train_N, val_N = chosen(data, found.train.labels_N, None if found.val is None else found.val.labels_N)
    val = (found.train if found.val is None else found.val).pick(val_N)
    return found, (found.train.pick(train_N), val if val_selection is None else val.pick(val_selection(val.labels_N)))


def _part(data: Data, val_selection: Selection | None, part: int, memory: Path | None) -> Pictures:
    return _asked_for(data, val_selection, memory)[1][part]


def _cache_file(cache_dir: Path | None, found: Found, pictures: Pictures, image_size: int) -> Path | None:
    if cache_dir is None:
        return None
    return cache_dir / f"{found.fingerprint}-{digest(list(pictures.names))}-{image_size}.npy"


def _load_digits(data: Data, val_selection: Selection | None) -> Dataset:
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
    if val_selection is not None:
        val_N = val_N[val_selection(labels_N[val_N])]

    def subset(indices_N: Indices) -> ImageSet:
        return ImageSet(pixels_NDHW[torch.from_numpy(indices_N)], torch.from_numpy(labels_N[indices_N]))

    return Dataset(
        train=subset(train_N),
        val=subset(val_N),
        class_names=tuple(str(name) for name in digits.target_names),
        horizontal_flip=bool(data.horizontal_flip),
    )
