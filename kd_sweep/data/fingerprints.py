"""Fingerprints of image files: digests of their content, known again by the state of the files.

A state is a digest of every file's name, size, inode and times. Whatever changes a file changes it, and the files are
read again. Known fingerprints are empty files in the cache of datasets, `<fingerprint>-<state>-<copies>.known`.
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
    """The fingerprint of a dataset, and the copies that were counted with it.

    Attributes:
        value: 16 hexadecimal digits.
        copies: images with the content of another one, as `overlaps.count_copies` counts them.
    """

    value: str
    copies: int


IN_PROCESS: dict[str, Fingerprint] = {}
"""By state: what this process has read, or knows from an earlier one; `store_fingerprint` stores it for others."""


def known_fingerprint(state: str, cache_dir: Path | None) -> Fingerprint | None:
    """Return the fingerprint of files in this state, if this process or an earlier one with ``cache_dir`` read them."""
    if state in IN_PROCESS:
        return IN_PROCESS[state]
    for file in cache_dir.glob(f"*-{state}-*.known") if cache_dir is not None and cache_dir.is_dir() else ():
        match = _KNOWN.fullmatch(file.name)
        if match is not None:
            return IN_PROCESS.setdefault(state, Fingerprint(match[1], int(match[2])))
    return None


def keep_in_process(state: str, fingerprint: Fingerprint, newest_change_s: float) -> None:
    """Keep a fingerprint for this process, unless a file could have changed since without a trace in its times.

    Args:
        state: of the files, taken before they were read.
        fingerprint: of the files.
        newest_change_s: time of the newest change of a file, in seconds since 1970.
    """
    if newest_change_s + SETTLED_S < time.time():
        IN_PROCESS[state] = fingerprint


def store_fingerprint(value: str | None, cache_dir: Path) -> None:
    """Store in ``cache_dir`` that files in a state have this fingerprint, if this process knows it."""
    for state, fingerprint in IN_PROCESS.items():
        if fingerprint.value == value:
            with suppress(OSError):  # a disk that is full or takes no writes: it is read again
                cache_dir.mkdir(parents=True, exist_ok=True)
                (cache_dir / f"{value}-{state}-{fingerprint.copies}{KNOWN}").touch()


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


def combined_fingerprint(kind: str, entries: Iterable[tuple[str, bytes, int]]) -> str:
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
