"""Datasets with a folder per class: the listing of their images and the checks of their layout. None is decoded here.

Layout: `train/CLASS/…` with `val/CLASS/…` or `test/CLASS/…` beside it (`val/` where there are both), in any case and
common spelling; or `CLASS/…` alone, from which `data.validation_fraction` is held out per class.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_sweep.data.image_formats import COMMON
from kd_sweep.data.paths import dataset_root
from kd_sweep.data.readers.folder_walk import File, Walk
from kd_sweep.data.readers.image_files import ImageFiles, dataset_of_files
from kd_sweep.data.readers.split_names import named_splits
from kd_sweep.data.undecoded_images import UndecodedDataset
from kd_sweep.errors import DataError

HELD_OUT = ("val", "test")


@dataclass(frozen=True)
class Splits:
    """Names of the folders of training and of validation images, and of those that are neither."""

    train: str
    held_out: str | None
    others: tuple[str, ...]


def list_class_folders(
    path: str, name: str, cache_dir: Path | None = None, *, published: bool = False
) -> UndecodedDataset:
    """Return the images in the class folders at ``path``.

    Args:
        path: `data.path`.
        name: of the dataset.
        cache_dir: where earlier processes stored fingerprints; None: all files are read for the fingerprint.
        published: whether it is a published set, which may have more copies.

    Raises:
        DataError: the folder is missing, empty or laid out in another way, or has too few images to hold some out.
    """
    root = dataset_root(path, f"an {name} is a folder with one folder per class")
    walk = Walk(root)
    class_names, train, val = _listing(walk, root)
    if val is None and np.bincount(train.labels_N).max() < 2:
        raise DataError(
            f"data.path: every class folder of {root} holds a single image, so none can be held out; "
            f"add images, or lay them out as train/ and val/"
        )
    return dataset_of_files(name, root, class_names, train, val, cache_dir, walk.passed_over, published=published)


def find_splits(walk: Walk, root: Path, names: list[str]) -> Splits | None:
    """Return the splits among the folders ``names`` in ``root``; None where the folders are classes.

    Raises:
        DataError: there are two folders for one split, or splits without training images.
    """
    splits = [
        parts
        for rest, parts in sorted(named_splits(names).items())
        if _are_splits(walk, root, parts, is_plain=not rest, alone=len(names) == sum(map(len, parts.values())))
    ]
    if not splits:
        return None
    for part in (*HELD_OUT, "train"):
        folders = [name for parts in splits for name in parts.get(part, ())]
        if len(folders) > 1:
            raise DataError(
                f"data.path: {root} has {folders[0]}/ and {folders[1]}/, which say the same of their images; "
                f"keep one of them, or set data.path to the one to split"
            )
    parts = splits[0]
    held_out = _held_out(parts)
    if "train" not in parts:
        raise DataError(
            f"data.path: {root} has {held_out}/ and no train/; add it, or set data.path to {root / held_out}"
        )
    train = parts["train"][0]
    return Splits(train, held_out or None, tuple(name for name in names if name not in (train, held_out)))


def _held_out(parts: dict[str, list[str]]) -> str:
    return next((parts[part][0] for part in HELD_OUT if part in parts), "")


def _are_splits(walk: Walk, root: Path, parts: dict[str, list[str]], *, is_plain: bool, alone: bool) -> bool:
    """A class may be called `train` as well, or `bullet_train`; it holds images and no class folders."""
    held_out = _held_out(parts)
    if "train" in parts and held_out:
        return True
    return is_plain and (alone or not walk.has_images(root / (held_out or parts["train"][0])))


def list_classes(walk: Walk, root: Path) -> tuple[tuple[str, ...], ImageFiles]:
    """Return the names of the class folders in ``root``, sorted, and all their images.

    Raises:
        DataError: there are no images, one class alone, a class without images, or folders that look like splits.
    """
    return _classes(walk, root, walk.folders(root))


def _classes(walk: Walk, root: Path, class_names: list[str]) -> tuple[tuple[str, ...], ImageFiles]:
    files_of = [walk.images(root / name) for name in class_names]
    if not any(files_of):
        raise DataError(f"data.path: {root} holds no images in a folder per class; possible files: {COMMON}")
    if len(class_names) == 1:
        raise DataError(f"data.path: {root} has one class folder, {class_names[0]!r}; at least 2 are needed")
    for name, files in zip(class_names, files_of, strict=True):
        if not files:
            raise DataError(f"data.path: class folder {root / name} holds no images; fill it or remove it")
    _check_not_splits(root, class_names, files_of)
    labels = [label for label, files in enumerate(files_of) for _ in files]
    return tuple(class_names), ImageFiles.of([file for files in files_of for file in files], labels, "data.path")


def _check_not_splits(root: Path, class_names: list[str], files_of: list[list[File]]) -> None:
    """Check that the folders are classes.

    Folders that all hold the same folders are parts of a dataset, and hold the classes. Nor is a folder with folders
    for training and for validation a class.
    """
    folders_of = [
        _folders_inside(f"{root / name}{os.sep}", files) for name, files in zip(class_names, files_of, strict=True)
    ]
    for name, folders in zip(class_names, folders_of, strict=True):
        for parts in named_splits(folders).values():
            if "train" in parts and _held_out(parts):
                raise DataError(
                    f"data.path: {root / name} holds {parts['train'][0]}/ and {_held_out(parts)}/, as a dataset does "
                    f"and a class does not; set data.path to it, or to a folder with one folder per class"
                )
    shared = sorted(set.intersection(*folders_of))
    if len(shared) > 1:
        raise DataError(
            f"data.path: {root} has {class_names[0]}/ and {class_names[1]}/, which both hold {shared[0]}/ and "
            f"{shared[1]}/, as splits do and classes do not; call them train/ and val/, or put the images of a class "
            f"directly in its folder"
        )


def _folders_inside(start: str, files: list[File]) -> set[str]:
    """Return the names of the folders directly below ``start`` that the files lie in."""
    inside = (file.path.removeprefix(start).partition(os.sep) for file in files)
    return {name for name, separator, _ in inside if separator}


def _listing(walk: Walk, root: Path) -> tuple[tuple[str, ...], ImageFiles, ImageFiles | None]:
    names = walk.folders(root)
    splits = find_splits(walk, root, names)
    if splits is None:
        return *_classes(walk, root, names), None
    if splits.held_out is None:
        raise DataError(
            f"data.path: {root} has {splits.train}/ but neither val/ nor test/; add one of them, "
            f"or set data.path to {root / splits.train} to have data.validation_fraction of it held out"
        )
    for name in splits.others:
        walk.passed_over.counts[f"folder beside the two ({name})"] += 1
    class_names, train = list_classes(walk, root / splits.train)
    val_class_names, val = list_classes(walk, root / splits.held_out)
    _check_same_classes(root, splits, class_names, val_class_names)
    return class_names, train, val


def _check_same_classes(root: Path, splits: Splits, train: tuple[str, ...], val: tuple[str, ...]) -> None:
    held_out = splits.held_out or ""
    for name, other, missing in (
        (splits.train, held_out, sorted(set(val) - set(train))),
        (held_out, splits.train, sorted(set(train) - set(val))),
    ):
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(
                f"data.path: {root / name} lacks class folder {missing[0]!r}{rest}, which {other}/ has; "
                f"both need the same class folders"
            )
