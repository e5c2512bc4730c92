"""Images in a folder per class: which there are, and whether the layout is right. No image is opened here.

Layout: `train/CLASS/…` with `val/CLASS/…` or `test/CLASS/…` beside it (`val/` where there are both), or `CLASS/…`
alone, from which `data.validation_fraction` is held out per class.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_sweep.errors import DataError
from kd_sweep.study.digest import digest
from kd_sweep.study.spec import Data
from kd_sweep.vision.splits import Indices

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"))
HELD_OUT_FOLDERS = ("val", "test")


@dataclass(frozen=True)
class Listing:
    """The image files of one folder of classes, in a fixed order.

    Attributes:
        paths: one per image.
        labels_N: int64.
        sizes: of the files, in bytes.
    """

    paths: list[Path]
    labels_N: Indices
    sizes: list[int]

    def pick(self, indices_N: Indices) -> "Listing":
        """Return the images at ``indices_N``."""
        return Listing([self.paths[i] for i in indices_N], self.labels_N[indices_N], [self.sizes[i] for i in indices_N])


@dataclass(frozen=True)
class Folder:
    """What lies at `data.path`. `val` is None where it has to be split off `train`."""

    root: Path
    class_names: tuple[str, ...]
    train: Listing
    val: Listing | None

    @property
    def fingerprint(self) -> str:
        """Digest of the relative paths and the sizes of all image files."""
        listings = [self.train] if self.val is None else [self.train, self.val]
        files = [
            (path.relative_to(self.root).as_posix(), size)
            for listing in listings
            for path, size in zip(listing.paths, listing.sizes, strict=True)
        ]
        return digest({"image_folder": sorted(files)})


def list_folder(data: Data) -> Folder:
    """Return the images at ``data.path``.

    Raises:
        DataError: the folder is missing, empty, laid out in another way, not what the fingerprint says, or has fewer
            images than are asked for.
    """
    folder = _found(data)
    check_train_limit(data, len(folder.train.paths), len(folder.class_names))
    if folder.val is None and np.bincount(folder.train.labels_N).max() < 2:
        raise DataError(
            f"data.path: every class folder of {folder.root} holds a single image, so none can be held out; "
            f"add images, or lay them out as train/ and val/"
        )
    if data.fingerprint is not None and data.fingerprint != folder.fingerprint:
        raise DataError(
            f"data.path: the images under {folder.root} are not those that the study was launched with (fingerprint "
            f"{folder.fingerprint}, at launch {data.fingerprint}); restore them, or launch a study with another name"
        )
    return folder


def check_train_limit(data: Data, num_images: int, num_classes: int) -> None:
    """Raise DataError where so few images are asked for that a class has none to train on."""
    limit = data.max_train_images
    if limit is not None and limit < num_classes:
        raise DataError(
            f"data.max_train_images: {limit} is fewer than the {num_classes} classes of {data.name}; "
            f"possible: {num_classes} to {num_images}, or null for all"
        )


def _found(data: Data) -> Folder:
    root = Path(data.path or "").expanduser().resolve()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"data.path: {data.path} {what}; an image_folder is a folder with one folder per class")
    held_out = next((root / name for name in HELD_OUT_FOLDERS if (root / name).is_dir()), None)
    if not (root / "train").is_dir():
        class_names, train = _list_classes(root)
        return Folder(root, class_names, train, None)
    if held_out is None:
        raise DataError(
            f"data.path: {root} has train/ but neither val/ nor test/; add one of them, "
            f"or set data.path to {root / 'train'} to have data.validation_fraction of it held out"
        )
    class_names, train = _list_classes(root / "train")
    val_class_names, val = _list_classes(held_out)
    _check_same_classes(root, held_out.name, class_names, val_class_names)
    return Folder(root, class_names, train, val)


def _list_classes(root: Path) -> tuple[tuple[str, ...], Listing]:
    class_names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    found = [(label, image) for label, name in enumerate(class_names) for image in _list_images(root / name)]
    if not found:
        raise DataError(
            f"data.path: {root} holds no images in a folder per class; possible files: {', '.join(sorted(SUFFIXES))}"
        )
    labels_N = np.array([label for label, _ in found], dtype=np.int64)
    if len(class_names) == 1:
        raise DataError(f"data.path: {root} has one class folder, {class_names[0]!r}; at least 2 are needed")
    for label, name in enumerate(class_names):
        if not (labels_N == label).any():
            raise DataError(f"data.path: class folder {root / name} holds no images; fill it or remove it")
    return tuple(class_names), Listing([path for _, (path, _) in found], labels_N, [size for _, (_, size) in found])


def _list_images(folder: Path) -> list[tuple[Path, int]]:
    images = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                images.append((path, path.stat().st_size))
    return sorted(images)


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
