"""Image files of a dataset, their fingerprint, and the checks that all of them must pass. None is decoded here."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_sweep.data import fingerprints
from kd_sweep.data.fingerprints import Fingerprint
from kd_sweep.data.overlaps import MAX_COPIES, MAX_PUBLISHED_COPIES, count_copies
from kd_sweep.data.readers.folder_walk import File, PassedOver
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import UndecodedDataset, UndecodedImages
from kd_sweep.errors import DataError

SIZE, DEVICE, INODE, MODIFIED_NS, CHANGED_NS = range(5)


@dataclass(frozen=True)
class ImageFiles:
    """Image files in a fixed order.

    Attributes:
        paths: one per image.
        labels_N: int64.
        states_N5: size in bytes, device, inode, and when content and state changed in ns since 1970; int64.
    """

    paths: list[str]
    labels_N: Indices
    states_N5: NDArray[np.int64]

    @classmethod
    def of(
        cls, files: list[File], labels: list[int], origin: str, hint: str = "restore or remove them"
    ) -> "ImageFiles":
        """Return these files with their labels.

        Args:
            files: at least one.
            labels: one per file.
            origin: begins the message where files are absent: the field, and the file that names them.
            hint: ends it.

        Raises:
            DataError: files are absent, a link to nowhere for one; the message has their count and names the first.
        """
        lost = [file.path for file in files if file.state is None]
        if lost:
            raise DataError(
                f"{origin}: {len(lost)} of {len(files)} image files cannot be found, {lost[0]} for one; {hint}"
            )
        states = [
            (state.st_size, state.st_dev, _signed(state.st_ino), state.st_mtime_ns, state.st_ctime_ns)
            for file in files
            if (state := file.state) is not None
        ]
        states_N5 = np.array(states, dtype=np.int64).reshape(-1, 5)
        return cls([file.path for file in files], np.array(labels, dtype=np.int64), states_N5)

    def undecoded(self, root: Path) -> UndecodedImages:
        """Return the files as undecoded images, named by their paths from ``root`` on."""
        start = str(root).rstrip(os.sep) + os.sep
        names = [path.removeprefix(start) for path in self.paths]
        return UndecodedImages(self.paths, names, self.labels_N)

    def identities(self) -> Iterator[tuple[int, int]]:
        """Yield device and inode of each file: a link is the file that it points to. Without inodes they are 0."""
        return map(tuple, self.states_N5[:, [DEVICE, INODE]].tolist())

    def inodes(self) -> NDArray[np.int64]:
        """Return the distinct inodes, sorted: where there are as many as files, no file is there twice."""
        return np.unique(self.states_N5[:, INODE])


def dataset_of_files(
    kind: str,
    root: Path,
    class_names: tuple[str, ...],
    train: ImageFiles,
    val: ImageFiles | None,
    cache_dir: Path | None,
    passed_over: PassedOver | None = None,
    *,
    published: bool = False,
) -> UndecodedDataset:
    """Return these files as a dataset.

    Its fingerprint is a digest of the relative paths, the labels and the content of the files.

    Args:
        kind: the dataset's name.
        root: where it lies.
        class_names: one per label.
        train: training images.
        val: validation images; None where they are split off.
        cache_dir: where earlier processes stored fingerprints; None: all files are read.
        passed_over: other files and folders there.
        published: whether it is a published set, which may have more copies.

    Raises:
        DataError: an image is in both sets, under whatever name; or there twice, where validation is split off
            training; or of two classes. Or a file cannot be read.
    """
    _check_same_files(train, val)
    train_images, val_images = train.undecoded(root), None if val is None else val.undecoded(root)
    parts = [(train, train_images)]
    if val is not None and val_images is not None:
        parts.append((val, val_images))
    most_copies = MAX_PUBLISHED_COPIES if published else MAX_COPIES
    fingerprint = _fingerprint(kind, parts, cache_dir, most_copies)
    others = str(passed_over or "")
    return UndecodedDataset(root, class_names, train_images, val_images, fingerprint.value, fingerprint.copies, others)


def _fingerprint(
    kind: str, parts: list[tuple[ImageFiles, UndecodedImages]], cache_dir: Path | None, most_copies: Fraction
) -> Fingerprint:
    """Return the fingerprint of all files, after a check that none is a copy of one in another part."""
    state = _state(kind, parts)
    known = fingerprints.known_fingerprint(state, cache_dir)
    if known is not None:
        return known
    contents = [fingerprints.content_digests(files.paths) for files, _ in parts]
    entries = [
        zip(images.names, digests, files.labels_N.tolist(), strict=True)
        for (files, images), digests in zip(parts, contents, strict=True)
    ]
    copies = count_copies(
        _distinct_if_empty(parts[0][0], contents[0]),
        _distinct_if_empty(parts[1][0], contents[1]) if len(parts) > 1 else None,
        [files.paths for files, _ in parts],
        most_copies,
    )
    value = fingerprints.combined_fingerprint(kind, (entry for part in entries for entry in part))
    fingerprint = Fingerprint(value, copies)
    newest_ns = max(int(files.states_N5[:, CHANGED_NS].max()) for files, _ in parts)
    fingerprints.keep_in_process(state, fingerprint, newest_ns / 1e9)
    return fingerprint


def _distinct_if_empty(files: ImageFiles, digests: list[bytes]) -> list[bytes]:
    """Return the digests, and for empty files their paths: they are damaged, which their decoding reports."""
    sizes = files.states_N5[:, SIZE].tolist()
    return [
        digest if size else os.fsencode(path) for digest, size, path in zip(digests, sizes, files.paths, strict=True)
    ]


def _state(kind: str, parts: list[tuple[ImageFiles, UndecodedImages]]) -> str:
    """Return a digest of the state of the files in the filesystem; device numbers differ from host to host."""
    state = hashlib.sha256(kind.encode())
    for files, images in parts:
        state.update(f"{len(files.paths)}\n".encode())
        state.update(b"\0".join(os.fsencode(name) for name in images.names))
        state.update(files.labels_N.tobytes())
        state.update(np.ascontiguousarray(files.states_N5[:, [SIZE, INODE, MODIFIED_NS, CHANGED_NS]]).tobytes())
    return state.hexdigest()[:32]


def _signed(inode: int) -> int:
    return inode if inode < 2**63 else inode - 2**64


def _check_same_files(train: ImageFiles, val: ImageFiles | None) -> None:
    if val is None:
        _check_no_file_twice(train)
    else:
        _check_no_overlap(train, val)
        _check_no_file_of_two_classes(val)
    _check_no_file_of_two_classes(train)


def _check_no_file_twice(train: ImageFiles) -> None:
    """A split could put one name of a file into training and the other into validation."""
    if len(train.inodes()) == len(train.paths):
        return
    first_of: dict[tuple[int, int], int] = {}
    for index, file in enumerate(train.identities()):
        first = first_of.setdefault(file, index)
        if first != index and file[1] != 0:
            raise DataError(
                f"data: {train.paths[index]} is the same file as {train.paths[first]}, and validation is split off the "
                f"training images, so that one could be in both; remove one of the two"
            )


def _check_no_file_of_two_classes(files: ImageFiles) -> None:
    if len(files.inodes()) == len(files.paths):
        return
    first_of: dict[tuple[int, int], int] = {}
    labels = files.labels_N.tolist()
    for index, file in enumerate(files.identities()):
        first = first_of.setdefault(file, index)
        if labels[first] != labels[index] and file[1] != 0:
            raise DataError(
                f"data: {files.paths[index]} is the same file as {files.paths[first]}, which is of another class; "
                f"remove one of the two"
            )


def _check_no_overlap(train: ImageFiles, val: ImageFiles) -> None:
    if not len(np.intersect1d(train.inodes(), val.inodes(), assume_unique=True)):
        return
    trained_on = set(train.identities())
    shared = [index for index, file in enumerate(val.identities()) if file in trained_on and file[1] != 0]
    if shared:
        raise DataError(
            f"data: {len(shared)} of {len(val.paths)} validation images are training images too, "
            f"{val.paths[shared[0]]} for one; validation must not overlap training, take them out of one of the two"
        )
