"""Fingerprints of image files: by what is in them, read once and remembered by what the filesystem says of them.

What is remembered are empty files in the cache of decoded images, `<fingerprint>-<state>-<copies>.known`. A state is a
digest of every file's name, size, inode and times, so that whatever changes a file makes it be read again.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kd_sweep.errors import DataError
from kd_sweep.waiting import doing

READ_BYTES = 2**20
FILES_PER_TASK = 256
SETTLED_S = 2.0
"""A file that was changed so recently could change again within one tick of the filesystem's clock."""
KNOWN = ".known"
_KNOWN = re.compile(r"([0-9a-f]{16})-[0-9a-f]{32}-(\d+)\.known")
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Fingerprint:
    """Of a dataset.

    Attributes:
        value: 16 hexadecimal digits.
        copies: images whose content is another's too, as `overlaps.count_copies` counts them.
    """

    value: str
    copies: int


_KNOWN_HERE: dict[str, Fingerprint] = {}
"""By state: what this process has read or recalled; `remember` writes it down."""


def recall(state: str, folder: Path | None) -> Fingerprint | None:
    """Return what is known of files in this state: to this process, or from an earlier one that wrote to ``folder``."""
    if state in _KNOWN_HERE:
        return _KNOWN_HERE[state]
    for file in folder.glob(f"*-{state}-*.known") if folder is not None and folder.is_dir() else ():
        match = _KNOWN.fullmatch(file.name)
        if match is not None:
            return _KNOWN_HERE.setdefault(state, Fingerprint(match[1], int(match[2])))
    return None


def note(state: str, fingerprint: Fingerprint, newest_change_s: float) -> None:
    """Keep in mind what was read, unless a file could have changed since without a trace in its times.

    Args:
        state: of the files, taken before they were read.
        fingerprint: what was found.
        newest_change_s: when the last of the files was changed, in seconds since 1970.
    """
    if newest_change_s + SETTLED_S < time.time():
        _KNOWN_HERE[state] = fingerprint


def remember(value: str | None, folder: Path) -> None:
    """Write down in ``folder`` what this process knows of the dataset with this fingerprint, for other processes."""
    for state, fingerprint in _KNOWN_HERE.items():
        if fingerprint.value == value:
            with suppress(OSError):  # a disk that is full or takes no writes: it is read again
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{value}-{state}-{fingerprint.copies}{KNOWN}").touch()


def forget() -> None:
    """Forget what this process knows, and not what is written down."""
    _KNOWN_HERE.clear()


def content_digests(paths: list[str]) -> list[bytes]:
    """Return the SHA-256 of each file.

    Raises:
        DataError: a file cannot be read.
    """
    parts = [paths[start : start + FILES_PER_TASK] for start in range(0, len(paths), FILES_PER_TASK)]
    with doing(f"reading {len(paths):,} image files, once"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            return [digest for part in pool.map(_digests, parts) for digest in part]
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise


def combined(kind: str, entries: Iterable[tuple[str, bytes, int]]) -> str:
    """Return the fingerprint of a dataset.

    Args:
        kind: of the dataset.
        entries: name of each image, digest of its content, and its label; in an order that is the dataset's own.
    """
    state = hashlib.sha256(kind.encode())
    for name, digest, label in entries:
        state.update(os.fsencode(name) + b"\0" + digest + label.to_bytes(8, "little", signed=True))
    return state.hexdigest()[:16]


def _digests(paths: list[str]) -> list[bytes]:
    digests = []
    for path in paths:
        try:
            digests.append(_digest(path))
        except OSError as error:
            raise DataError(
                f"data.path: image {path} cannot be read ({error.strerror}); restore or remove it"
            ) from None
    return digests


def _digest(path: str) -> bytes:
    state = hashlib.sha256()
    file = os.open(path, os.O_RDONLY)
    try:
        while chunk := os.read(file, READ_BYTES):
            state.update(chunk)
    finally:
        os.close(file)
    return state.digest()
