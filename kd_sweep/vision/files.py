"""Image files on a disk and what is asked of every set of them. No image is opened here."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_sweep.errors import DataError
from kd_sweep.study.digest import digest
from kd_sweep.vision.formats import SUFFIXES
from kd_sweep.vision.pictures import Found, Pictures
from kd_sweep.vision.splits import Indices


@dataclass(frozen=True)
class Listing:
    """Image files in a fixed order.

    Attributes:
        paths: one per image.
        labels_N: int64.
        states_N3: size in bytes, device and inode of each, uint64.
    """

    paths: list[Path]
    labels_N: Indices
    states_N3: NDArray[np.uint64]

    def pictures(self, root: Path) -> Pictures:
        """Return the files as pictures, named by their path from ``root`` on."""
        return Pictures(self.paths, [_from(root, path) for path in self.paths], self.labels_N)


def found_files(kind: str, root: Path, class_names: tuple[str, ...], train: Listing, val: Listing | None) -> Found:
    """Return these files as a dataset.

    Its fingerprint is a digest of the relative paths and the sizes, and, but for an image folder, of the labels.

    Raises:
        DataError: a file is in both sets, under whatever name; or there twice, where validation is split off training.
    """
    listings = [train] if val is None else [train, val]
    if val is None:
        _check_no_file_twice(train)
    else:
        _check_no_overlap(train, val)
    train_pictures, val_pictures = train.pictures(root), None if val is None else val.pictures(root)
    parts = [train_pictures] if val_pictures is None else [train_pictures, val_pictures]
    sizes = [listing.states_N3[:, 0].tolist() for listing in listings]
    files = [list(zip(part.names, size, strict=True)) for part, size in zip(parts, sizes, strict=True)]
    if kind == "image_folder":
        content: object = sorted(entry for part in files for entry in part)
    else:
        content = [[part, listing.labels_N.tolist()] for part, listing in zip(files, listings, strict=True)]
    return Found(root, class_names, train_pictures, val_pictures, digest({kind: content}))


def list_images(folder: Path) -> list[Path]:
    """Return the image files below ``folder``, sorted; hidden ones and other files are passed over."""
    images = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if not name.startswith("."))
        images += [path for path in paths if path.suffix.lower() in SUFFIXES]
    return sorted(images)


def listing_of(paths: list[Path], labels_N: Indices) -> Listing:
    """Return these files as a listing.

    Raises:
        DataError: files are absent, a link to nowhere for one; the message has their count and names the first.
    """
    states_N3, absent = states_of(paths)
    if absent:
        raise DataError(
            f"data.path: {len(absent)} of {len(paths)} image files cannot be found, {paths[absent[0]]} for one; "
            f"restore or remove them"
        )
    return Listing(paths, labels_N, states_N3)


def states_of(paths: list[Path]) -> tuple[NDArray[np.uint64], list[int]]:
    """Return size, device and inode of each file, and the places in ``paths`` of those that are no files."""
    states_N3 = np.zeros((len(paths), 3), dtype=np.uint64)
    absent = []
    for place, path in enumerate(paths):
        try:
            state = path.stat()
        except OSError:
            absent.append(place)
            continue
        if not stat.S_ISREG(state.st_mode):
            absent.append(place)
        states_N3[place] = state.st_size, state.st_dev, state.st_ino
    return states_N3, absent


def existing_root(path: str, what: str) -> Path:
    """Return ``path`` as an absolute folder.

    Raises:
        DataError: it does not exist or is a file; the message says that ``what`` was expected.
    """
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"data.path: {path} {problem}; {what}")
    return root


def _from(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _check_no_file_twice(train: Listing) -> None:
    """A split could put one name of a file into training and the other into validation."""
    first_of: dict[tuple[int, int], int] = {}
    for place, (device, inode) in enumerate(train.states_N3[:, 1:].tolist()):
        first = first_of.setdefault((device, inode), place)
        if first != place and inode != 0:
            raise DataError(
                f"data: {train.paths[place]} is the same file as {train.paths[first]}, and validation is split off the "
                f"training images, so that one could be in both; remove one of the two"
            )


def _check_no_overlap(train: Listing, val: Listing) -> None:
    """Compare files and not names: a link is the file that it points to. An inode of 0 is of a filesystem without."""
    trained_on = set(map(tuple, train.states_N3[:, 1:].tolist()))
    held_out = map(tuple, val.states_N3[:, 1:].tolist())
    shared = [place for place, file in enumerate(held_out) if file in trained_on and file[1] != 0]
    if shared:
        raise DataError(
            f"data: {len(shared)} of {len(val.paths)} validation images are training images too, "
            f"{val.paths[shared[0]]} for one; validation must not overlap training, take them out of one of the two"
        )
