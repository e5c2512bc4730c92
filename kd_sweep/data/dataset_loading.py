"""The loading of a dataset: from the `data` section of a study to decoded images in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.data.dataset import CHUNK_IMAGES, Dataset, ImageSet
from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.fingerprints import store_fingerprint
from kd_sweep.data.readers.array_datasets import ArrayPart, array_dataset
from kd_sweep.data.selection import selected_indices
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import UndecodedDataset, UndecodedImages
from kd_sweep.study.identity import digest
from kd_sweep.study.recipe import Data

Split = Literal["train", "val"]
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
    if not data.entry.traits.lists_files:
        return _of_arrays(data, val_selection)
    from kd_sweep.data.decoding.decoder import decode_images  # arrays need no Pillow, which each worker would load

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
    return Dataset(train, val, dataset.class_names, horizontal_flip=data.mirrors)


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


def resized_arrays(levels_NDHW: Tensor, image_size: int) -> Tensor:
    """Return levels from 0 to 255, float32 (N, D, H, W), as uint8: their central square, resized bilinearly.

    Antialiased where it becomes smaller.
    """
    height, width = levels_NDHW.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images_NDHW = levels_NDHW[..., top : top + side, left : left + side]
    if image_size != side:
        size = (image_size, image_size)
        images_NDHW = F.interpolate(
            images_NDHW, size, mode="bilinear", align_corners=False, antialias=image_size < side
        )
    return images_NDHW.round().clamp(0, 255).to(torch.uint8)


def _of_arrays(data: Data, val_selection: Selection | None) -> Dataset:
    """Return the images of a dataset that is arrays."""
    arrays = array_dataset(data)
    train, val = arrays.train, arrays.val
    train_N, val_N = selected_indices(data, train.labels_N, None if val is None else val.labels_N)
    held_out = train if val is None else val
    if val_selection is not None:
        val_N = val_N[val_selection(held_out.labels_N[val_N])]
    return Dataset(
        train=_image_set(train, train_N, data.image_size),
        val=_image_set(held_out, val_N, data.image_size),
        class_names=arrays.class_names,
        horizontal_flip=data.mirrors,
    )


def _image_set(part: ArrayPart, indices_N: Indices, image_size: int) -> ImageSet:
    chunks = []
    for start in range(0, len(indices_N), CHUNK_IMAGES):
        images_NHWD = part.images_NHWD[indices_N[start : start + CHUNK_IMAGES]]
        levels_NDHW = torch.from_numpy(np.ascontiguousarray(images_NHWD.transpose(0, 3, 1, 2))).float()
        chunks.append(resized_arrays(levels_NDHW if images_NHWD.dtype == np.uint8 else levels_NDHW * 255, image_size))
    return ImageSet(torch.cat(chunks), torch.from_numpy(part.labels_N[indices_N]))
