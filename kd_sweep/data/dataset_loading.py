"""The loading of a dataset: from the `data` section of a study to decoded images in memory."""

from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset import Dataset, ImageSet
from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.decoding.decoder import decode_images
from kd_sweep.data.fingerprints import store_fingerprint
from kd_sweep.data.selection import selected_indices
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import UndecodedDataset, UndecodedImages
from kd_sweep.study.identity import digest
from kd_sweep.study.recipe import Data

Split = Literal["train", "val"]
DIGIT_SIZE, DIGIT_LEVELS = 8, 16
"""Height and width of scikit-learn's digits in pixels, and the level of white."""
Selection = Callable[[Indices], Indices]
"""Labels of images -> indices of those that are wanted, in their order."""


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
    dataset = list_images(data, cache_dir)
    if cache_dir is not None:
        store_fingerprint(dataset.fingerprint, cache_dir)

    selected = _selected(data, dataset, val_selection)

    def decoded(split: Split) -> ImageSet:
        images = selected[split]
        cache_file = _cache_file(cache_dir, dataset.fingerprint, images, data.image_size)

        def list_again() -> UndecodedImages:  # keeps none of the lists, which are long
            return _selected(data, list_images(data, cache_dir), val_selection)[split]

        images_NDHW, stored = decode_images(images, data.image_size, cache_file, list_again)
        return ImageSet(torch.from_numpy(images_NDHW), torch.from_numpy(images.labels_N), stored)

    train, val = decoded("train"), decoded("val")
    return Dataset(train, val, dataset.class_names, horizontal_flip=data.horizontal_flip is not False)


def _selected(data: Data, dataset: UndecodedDataset, val_selection: Selection | None) -> dict[Split, UndecodedImages]:
    """Return the images of ``dataset`` that ``data`` asks for."""
    train_N, val_N = selected_indices(
        data, dataset.train.labels_N, None if dataset.val is None else dataset.val.labels_N
    )
    val = (dataset.train if dataset.val is None else dataset.val).select(val_N)
    if val_selection is not None:
        val = val.select(val_selection(val.labels_N))
    return {"train": dataset.train.select(train_N), "val": val}


def _cache_file(cache_dir: Path | None, fingerprint: str, images: UndecodedImages, image_size: int) -> Path | None:
    if cache_dir is None:
        return None
    return cache_dir / f"{fingerprint}-{digest(list(images.names))}-{image_size}.npy"


def enlarged_digits(levels_NDHW: Tensor, image_size: int) -> Tensor:
    """Return digits of levels 0 to 16, float32 (N, 1, H, W), as uint8 of ``image_size``, enlarged bilinearly."""
    images_NDHW = levels_NDHW * (255 / DIGIT_LEVELS)
    if image_size != images_NDHW.shape[-1]:
        images_NDHW = F.interpolate(images_NDHW, (image_size, image_size), mode="bilinear", align_corners=False)
    return images_NDHW.round().clamp(0, 255).to(torch.uint8)


def _load_digits(data: Data, val_selection: Selection | None) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits (8 x 8, greyscale), enlarged bilinearly."""
    # Read without scikit-learn, which would take every worker a second of CPU to import.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    digits_NF = np.loadtxt(str(file), delimiter=",", dtype=np.float32)  # 64 levels, and the label
    levels_NDHW = torch.from_numpy(digits_NF[:, :-1].reshape(-1, 1, DIGIT_SIZE, DIGIT_SIZE))
    pixels_NDHW = enlarged_digits(levels_NDHW, data.image_size)
    labels_N = digits_NF[:, -1].astype(np.int64)
    train_N, val_N = selected_indices(data, labels_N, None)
    if val_selection is not None:
        val_N = val_N[val_selection(labels_N[val_N])]

    def subset(indices_N: Indices) -> ImageSet:
        return ImageSet(pixels_NDHW[torch.from_numpy(indices_N)], torch.from_numpy(labels_N[indices_N]))

    return Dataset(
        train=subset(train_N),
        val=subset(val_N),
        class_names=tuple(str(digit) for digit in range(10)),
        horizontal_flip=bool(data.horizontal_flip),
    )
