"""Image files on a disk and what is asked of every set of them. No image is decoded here."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_sweep.data import fingerprints
from kd_sweep.data.fingerprints import Fingerprint
from kd_sweep.data.overlaps import MAX_COPIES, MAX_PUBLISHED_COPIES, count_copies
from kd_sweep.data.readers.folder_walk import File, PassedOver
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import Found, Pictures
from kd_sweep.errors import DataError

SIZE, DEVICE, INODE, MODIFIED_NS, CHANGED_NS = range(5)
PUBLISHED = ("cifar10", "cifar100", "tiny_imagenet")


@dataclass(frozen=True)
class Listing:
    """Image files in a fixed order.

    Attributes:
        paths: one per image.
        labels_N: int64.
        states_N5: size in bytes, device, inode, and when content and state changed in ns since 1970; int64.
    """

    paths: list[str]
    labels_N: Indices
    states_N5: NDArray[np.int64]

    def pictures(self, root: Path) -> Pictures:
        """Return the files as pictures, named by their path from ``root`` on."""
        return Pictures([Path(path) for path in self.paths], _names(root, self.paths), self.labels_N)


def listing_of(files: list[File], labels: list[int], absent: str, hint: str = "restore or remove them") -> Listing:
    """Return these files as a listing.

    Args:
        files: at least one.
        labels: one per file.
        absent: begins the message where files are absent: the field and the place that names them.
        hint: ends it.

    Raises:
        DataError: files are absent, a link to nowhere for one; the message has their count and names the first.
    """
    lost = [file.path for file in files if file.state is None]
    if lost:
        raise DataError(f"{absent}: {len(lost)} of {len(files)} image files cannot be found, {lost[0]} for one; {hint}")
    states = [
        (state.st_size, state.st_dev, _signed(state.st_ino), state.st_mtime_ns, state.st_ctime_ns)
        for file in files
        if (state := file.state) is not None
    ]
    return Listing(
        [file.path for file in files], np.array(labels, dtype=np.int64), np.array(states, dtype=np.int64).reshape(-1, 5)
    )


def found_files(
    kind: str,
    root: Path,
    class_names: tuple[str, ...],
    train: Listing,
    val: Listing | None,
    memory: Path | None,
    passed_over: PassedOver | None = None,
) -> Found:
    """Return these files as a dataset.

    Its fingerprint is a digest of the relative paths, the labels and what is in the files.

    Args:
        kind: the dataset's name.
        root: where it lies.
        class_names: one per label.
        train: training images.
        val: validation images; None where they are split off.
        memory: where fingerprints that are known already are looked up.
        passed_over: what else was found.

    Raises:
        DataError: an image is in both sets, under whatever name; or there twice, where validation is split off
            training; or of two classes. Or a file cannot be read.
    """
    if val is None:
        _check_no_file_twice(train)
    else:
        _check_no_overlap(train, val)
        _check_no_file_of_two_classes(val)
    _check_no_file_of_two_classes(train)
    train_pictures, val_pictures = train.pictures(root), None if val is None else val.pictures(root)
    parts = [(train, train_pictures)] + ([] if val is None or val_pictures is None else [(val, val_pictures)])
    fingerprint = _fingerprint(kind, parts, memory)
    return Found(
        root,
        class_names,
        train_pictures,
        val_pictures,
        fingerprint.value,
        copies=fingerprint.copies,
        passed_over=str(passed_over or ""),
    )


def resolved(path: str, field: str) -> Path:
    """Return ``path`` as an absolute one; ``field`` names it in messages.

    Raises:
        DataError: no file can have this path: no such user, too long, links without end.
    """
    try:
        place = Path(path).expanduser().resolve()
        place.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "no such path"
        raise DataError(f"{field}: {path!r} cannot be a path ({reason})") from None
    return place


def existing_root(path: str, what: str) -> Path:
    """Return ``path`` as an absolute folder.

    Raises:
        DataError: it does not exist or is a file; the message says that ``what`` was expected.
    """
    root = resolved(path, "data.path")
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"data.path: {path} {problem}; {what}")
    return root


def _fingerprint(kind: str, parts: list[tuple[Listing, Pictures]], memory: Path | None) -> Fingerprint:
    """Return the fingerprint of all files, after a check that none is a copy of one in another part."""
    state = _state(kind, parts)
    known = fingerprints.recall(state, memory)
    if known is not None:
        return known
    contents = [fingerprints.content_digests(listing.paths) for listing, _ in parts]
    entries = [
        zip(pictures.names, digests, listing.labels_N.tolist(), strict=True)
        for (listing, pictures), digests in zip(parts, contents, strict=True)
    ]
    copies = count_copies(
        _told_apart(parts[0][0], contents[0]),
        _told_apart(parts[1][0], contents[1]) if len(parts) > 1 else None,
        [listing.paths for listing, _ in parts],
        MAX_PUBLISHED_COPIES if kind in PUBLISHED else MAX_COPIES,
    )
    value = fingerprints.combined(kind, (entry for part in entries for entry in part))
    found = Fingerprint(value, copies)
    newest_ns = max(int(listing.states_N5[:, CHANGED_NS].max()) for listing, _ in parts)
    fingerprints.note(state, found, newest_ns / 1e9)
    return found


def _told_apart(listing: Listing, digests: list[bytes]) -> list[bytes]:
    """Return the digests, but for empty files: they are damaged, which is said when they are decoded."""
    sizes = listing.states_N5[:, SIZE].tolist()
    return [
        digest if size else os.fsencode(path) for digest, size, path in zip(digests, sizes, listing.paths, strict=True)
    ]


def _state(kind: str, parts: list[tuple[Listing, Pictures]]) -> str:
    """Return a digest of what the filesystem says of the files; device numbers differ from host to host."""
    state = hashlib.sha256(kind.encode())
    for listing, pictures in parts:
        state.update(f"{len(listing.paths)}\n".encode())
        state.update(b"\0".join(os.fsencode(name) for name in pictures.names))
        state.update(listing.labels_N.tobytes())
        state.update(np.ascontiguousarray(listing.states_N5[:, [SIZE, INODE, MODIFIED_NS, CHANGED_NS]]).tobytes())
    return state.hexdigest()[:32]


def _names(root: Path, paths: list[str]) -> list[str]:
    start = str(root).rstrip(os.sep) + os.sep
    return [path.removeprefix(start) for path in paths]


def _signed(inode: int) -> int:
    return inode if inode < 2**63 else inode - 2**64


def _files(listing: Listing) -> list[tuple[int, int]]:
    """Return device and inode of each: a link is the file that it points to. Without inodes they are 0."""
    return list(map(tuple, listing.states_N5[:, [DEVICE, INODE]].tolist()))


def _check_no_file_twice(train: Listing) -> None:
    """A split could put one name of a file into training and the other into validation."""
    first_of: dict[tuple[int, int], int] = {}
    for place, file in enumerate(_files(train)):
        first = first_of.setdefault(file, place)
        if first != place and file[1] != 0:
            raise DataError(
                f"data: {train.paths[place]} is the same file as {train.paths[first]}, and validation is split off the "
                f"training images, so that one could be in both; remove one of the two"
            )


def _check_no_file_of_two_classes(listing: Listing) -> None:
    first_of: dict[tuple[int, int], int] = {}
    labels = listing.labels_N.tolist()
    for place, file in enumerate(_files(listing)):
        first = first_of.setdefault(file, place)
        if labels[first] != labels[place] and file[1] != 0:
            raise DataError(
                f"data: {listing.paths[place]} is the same file as {listing.paths[first]}, which is of another class; "
                f"remove one of the two"
            )


def _check_no_overlap(train: Listing, val: Listing) -> None:
    trained_on = set(_files(train))
    shared = [place for place, file in enumerate(_files(val)) if file in trained_on and file[1] != 0]
    if shared:
        raise DataError(
            f"data: {len(shared)} of {len(val.paths)} validation images are training images too, "
            f"{val.paths[shared[0]]} for one; validation must not overlap training, take them out of one of the two"
        )
