"""Datasets that are arrays: the call of their functions, the checks of what these return, and its fingerprint.

Nothing here loads torch.

Shapes: N images, H x W pixels, D channels.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_sweep.catalogue.entries import Entry
from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.data.arrays import Arrays
from kd_sweep.data.overlaps import MAX_COPIES, count_copies
from kd_sweep.data.splits import Indices
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data

SHAPES = "(N, H, W) or (N, H, W, D) with D 1 or 3"


@dataclass(frozen=True)
class ArrayPart:
    """Images of one set with their labels.

    Attributes:
        images_NHWD: uint8, or float32 in [0, 1]; D is 1 or 3.
        labels_N: int64, from 0.
    """

    images_NHWD: NDArray[Any]
    labels_N: Indices


@dataclass(frozen=True)
class ArrayDataset:
    """A dataset of arrays that has passed all checks.

    Attributes:
        train: training images.
        val: validation images; None where they have to be split off `train`.
        class_names: one per label.
        fingerprint: 16 hexadecimal digits that other pixels or labels would change; None where they cannot be others.
    """

    train: ArrayPart
    val: ArrayPart | None
    class_names: tuple[str, ...]
    fingerprint: str | None


def array_dataset(data: Data) -> ArrayDataset:
    """Return the dataset that ``data`` names, all of its images. Its function is called once per process.

    Raises:
        DataError: the function raised or returned no such arrays; the message names it. Or it returned others than at
            launch.
    """
    dataset = _called(data.entry, _origin(data))
    if data.fingerprint is not None and data.fingerprint != dataset.fingerprint:
        raise DataError(
            f"data.name: {data.name!r} returned other images or labels than those that the study was launched with "
            f"(fingerprint {dataset.fingerprint}, at launch {data.fingerprint}); it has to return the same every time: "
            "bring its old source back, or launch a study with another name"
        )
    return dataset


def _origin(data: Data) -> Data:
    """Return the section with nothing but what the function reads, so that it is called once for all others."""
    others = {key: field.default for key, field in Data.model_fields.items() if key != "name"}
    return data.model_copy(update=others)


@lru_cache(maxsize=2)
def _called(entry: Entry, data: Data) -> ArrayDataset:
    try:
        arrays = entry.item(data)
    except RAISED as error:
        raise _mistake(data, f"raised {described(error)}") from error
    if not isinstance(arrays, Arrays):
        raise _mistake(data, f"returned a {type(arrays).__name__}, not Arrays")
    train = _part(data, arrays.images, arrays.labels, "")
    class_names = _class_names(data, arrays, train)
    val = _val(data, arrays, train, len(class_names))
    fingerprint = _fingerprint(data, train, val) if entry.traits.has_fingerprint else None
    return ArrayDataset(train, val, class_names, fingerprint)


def _part(data: Data, images: object, labels: object, prefix: str) -> ArrayPart:
    for name, array in (("images", images), ("labels", labels)):
        if not isinstance(array, np.ndarray):
            raise _mistake(data, f"returned {prefix}{name} that are a {type(array).__name__}, not a NumPy array")
    images_NHWD = _images(data, np.asarray(images), f"{prefix}images")
    labels_N = _labels(data, np.asarray(labels), f"{prefix}labels", len(images_NHWD))
    return ArrayPart(images_NHWD, labels_N)


def _images(data: Data, images: NDArray[Any], name: str) -> NDArray[Any]:
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise _mistake(data, f"returned {name} of shape {shape}; possible: {SHAPES}")
    if 0 in shape:
        raise _mistake(data, f"returned {name} of shape {shape}, which are none")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise _mistake(data, f"returned {name} of {images.dtype}; possible: uint8, or floats from 0 to 1")
    low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise _mistake(data, f"returned {name} with NaN or infinite values")
    if low < 0 or high > 1:
        raise _mistake(data, f"returned {name} from {low:g} to {high:g}; possible: uint8, or floats from 0 to 1")
    return images.astype(np.float32)


def _labels(data: Data, labels: NDArray[Any], name: str, count: int) -> Indices:
    if labels.shape != (count,):
        raise _mistake(data, f"returned {name} of shape {labels.shape} for {count:,} images; possible: ({count},)")
    if labels.dtype.kind not in "iu":
        raise _mistake(data, f"returned {name} of {labels.dtype}; possible: whole numbers from 0 on")
    if int(labels.min()) < 0:
        raise _mistake(data, f"returned {name} with {int(labels.min())}; possible: whole numbers from 0 on")
    return labels.astype(np.int64)


def _class_names(data: Data, arrays: Arrays, train: ArrayPart) -> tuple[str, ...]:
    highest, present = int(train.labels_N.max()), np.unique(train.labels_N)
    given: object = arrays.class_names
    if given is not None and not isinstance(given, list | tuple):
        raise _mistake(data, f"returned class_names that are a {type(given).__name__}, not a tuple of names")
    names = tuple(map(str, range(highest + 1) if arrays.class_names is None else arrays.class_names))
    if highest >= len(names):
        raise _mistake(data, f"returned the label {highest} with {len(names)} class_names")
    if len(names) < 2:
        raise _mistake(data, "returned one class; at least 2 are needed")
    if len(present) < len(names):
        missing = next(label for label in range(len(names)) if label not in set(present.tolist()))
        rule = f"labels are 0 to {len(names) - 1}, and each needs an image"
        raise _mistake(data, f"returned no training image of class {missing}; {rule}")
    return names


def _val(data: Data, arrays: Arrays, train: ArrayPart, num_classes: int) -> ArrayPart | None:
    """Return the validation part; what it shares with the training images is refused, as of other datasets."""
    if arrays.val_images is None and arrays.val_labels is None:
        if np.bincount(train.labels_N).max() < 2:
            raise _mistake(data, "returned one image of every class, so none can be held out; possible: val_images")
        _check_copies(data, train, None)
        return None
    val = _part(data, arrays.val_images, arrays.val_labels, "val_")
    if val.images_NHWD.shape[1:] != train.images_NHWD.shape[1:] or val.images_NHWD.dtype != train.images_NHWD.dtype:
        shapes = [f"{part.images_NHWD.shape[1:]} {part.images_NHWD.dtype}" for part in (val, train)]
        raise _mistake(data, f"returned val_images of {shapes[0]}, and images of {shapes[1]}; both have to be the same")
    if int(val.labels_N.max()) >= num_classes:
        rule = f"possible: 0 to {num_classes - 1}, as of the training images"
        raise _mistake(data, f"returned val_labels with {int(val.labels_N.max())}; {rule}")
    if len(np.unique(val.labels_N)) < 2:
        raise _mistake(data, "returned val_labels of one class; at least 2 are needed")
    _check_copies(data, train, val)
    return val


def _check_copies(data: Data, train: ArrayPart, val: ArrayPart | None) -> None:
    if not data.entry.traits.has_fingerprint:
        return
    parts = [train] if val is None else [train, val]
    contents = [[hashlib.sha256(image.tobytes()).digest() for image in part.images_NHWD] for part in parts]
    names = [
        [f"{array}[{index}]" for index in range(len(part.labels_N))]
        for array, part in zip(("images", "val_images"), parts, strict=False)
    ]
    count_copies(contents[0], None if val is None else contents[1], names, MAX_COPIES)


def _fingerprint(data: Data, train: ArrayPart, val: ArrayPart | None) -> str:
    """Return a digest of pixels and labels, and of whether mirroring keeps a label, which decides what is shown."""
    whole = hashlib.sha256(f"arrays {data.entry.traits.horizontal_flip}".encode())
    for part in (train, val):
        if part is None:
            continue
        for array in (part.images_NHWD, part.labels_N):
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            whole.update(f" {array.dtype.name} {array.shape} ".encode())
            whole.update(little.data)
    return whole.hexdigest()[:16]


def _mistake(data: Data, rule: str) -> DataError:
    return DataError(f"data.name: {data.name!r} {rule}")
