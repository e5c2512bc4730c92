"""Images in a folder per class: which there are, and whether the layout is right. No image is opened here.

Layout: `train/CLASS/…` with `val/CLASS/…` or `test/CLASS/…` beside it (`val/` where there are both), or `CLASS/…`
alone, from which `data.validation_fraction` is held out per class.
"""

import os
from pathlib import Path

import numpy as np

from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data
from kd_sweep.vision.files import Listing, existing_root, found_files, list_images, listing_of
from kd_sweep.vision.formats import COMMON
from kd_sweep.vision.pictures import Found

HELD_OUT_FOLDERS = ("val", "test")


def find_folder(data: Data) -> Found:
    """Return the images in the class folders at ``data.path``.

    Raises:
        DataError: the folder is missing, empty or laid out in another way, or has too few images to hold some out.
    """
    root = existing_root(data.path or "", f"an {data.name} is a folder with one folder per class")
    class_names, train, val = _found(root)
    if val is None and np.bincount(train.labels_N).max() < 2:
        raise DataError(
            f"data.path: every class folder of {root} holds a single image, so none can be held out; "
            f"add images, or lay them out as train/ and val/"
        )
    return found_files("image_folder", root, class_names, train, val)


def list_classes(root: Path) -> tuple[tuple[str, ...], Listing]:
    """Return the names of the class folders in ``root``, sorted, and all their images.

    Raises:
        DataError: there are no images, one class alone, or a class without images.
    """
    class_names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    found = [(label, path) for label, name in enumerate(class_names) for path in list_images(root / name)]
    if not found:
        raise DataError(f"data.path: {root} holds no images in a folder per class; possible files: {COMMON}")
    labels_N = np.array([label for label, _ in found], dtype=np.int64)
    if len(class_names) == 1:
        raise DataError(f"data.path: {root} has one class folder, {class_names[0]!r}; at least 2 are needed")
    for label, name in enumerate(class_names):
        if not (labels_N == label).any():
            raise DataError(f"data.path: class folder {root / name} holds no images; fill it or remove it")
    return tuple(class_names), listing_of([path for _, path in found], labels_N)


def _found(root: Path) -> tuple[tuple[str, ...], Listing, Listing | None]:
    held_out = next((root / name for name in HELD_OUT_FOLDERS if (root / name).is_dir()), None)
    if not (root / "train").is_dir():
        return *list_classes(root), None
    if held_out is None:
        raise DataError(
            f"data.path: {root} has train/ but neither val/ nor test/; add one of them, "
            f"or set data.path to {root / 'train'} to have data.validation_fraction of it held out"
        )
    class_names, train = list_classes(root / "train")
    val_class_names, val = list_classes(held_out)
    _check_same_classes(root, held_out.name, class_names, val_class_names)
    return class_names, train, val


def _check_same_classes(root: Path, held_out: str, train: tuple[str, ...], val: tuple[str, ...]) -> None:
    for place, other, missing in (
        ("train", held_out, sorted(set(val) - set(train))),
        (held_out, "train", sorted(set(train) - set(val))),
    ):
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(
                f"data.path: {root / place} lacks class folder {missing[0]!r}{rest}, which {other}/ has; "
                f"both need the same class folders"
            )
