"""Checksums of a Parquet file, kept inside it.

Parquet's own checksums leave out the headers of pages and the footer. A flipped bit there makes a query skip rows, or a
column read as null, without an error. So two SHA-256 sums are entries of the file's own metadata, which lies in the
footer: of all bytes before the footer, and of the footer, taken while that entry's own value is zeros.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.filesystem_errors import failures_to_read

DATA_KEY = b"data_sha256"
FOOTER_KEY = b"footer_sha256"
_ZEROS = b"0" * 64
UNSEALED = {DATA_KEY: _ZEROS, FOOTER_KEY: _ZEROS}
"""What to add to a file's metadata before it is sealed."""

_TAIL_BYTES = 8  # the footer's length and PAR1
_CHUNK_BYTES = 1 << 20


def seal(file: BinaryIO) -> None:
    """Fill in the checksums of a Parquet file that was just written with `UNSEALED` in its metadata."""
    start, footer = _footer(file)
    if _stated(footer, DATA_KEY) is None or _stated(footer, FOOTER_KEY) is None:
        raise ValueError("the file was not written with UNSEALED")
    footer = _filled(footer, DATA_KEY, _sum_of_data(file, start))
    footer = _filled(footer, FOOTER_KEY, _sum_of(footer))
    file.seek(start)
    file.write(footer)


def check_footer(file: pa.NativeFile, path: str) -> None:
    """Raise `CorruptFileError` unless the footer is as it was sealed. Older files have no checksum and pass."""
    _checked_footer(file, path)


def check_whole(file: pa.NativeFile, path: str) -> bool:
    """Raise `CorruptFileError` unless every byte is as it was sealed.

    Returns False for older files without a sum over all bytes: only the checksums of their pages can tell.
    """
    start, footer = _checked_footer(file, path)
    stated = _stated(footer, DATA_KEY)
    if stated is not None and _sum_of_data(file, start) != stated[1]:
        raise CorruptFileError(f"{path} is damaged: its data does not match its checksum")
    return stated is not None


@contextlib.contextmanager
def damage_named(path: str) -> Iterator[None]:
    """Turn what Parquet's reader raises on damaged bytes into a `CorruptFileError` of one line that names the file.

    Raises `StorageError` if the file cannot be read: its bytes may still be sound.
    """
    try:
        with failures_to_read(path):
            yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: damaged names of columns
        lines = str(error).splitlines() or [type(error).__name__]
        raise CorruptFileError(f"{path} is damaged: {lines[0]}") from None


def _checked_footer(file: pa.NativeFile, path: str) -> tuple[int, bytes]:
    start, footer = _footer(file)
    stated = _stated(footer, FOOTER_KEY)
    if stated is not None and _sum_of(_filled(footer, FOOTER_KEY, _ZEROS)) != stated[1]:
        raise CorruptFileError(f"{path} is damaged: its footer does not match its checksum")
    return start, footer


def _stated(footer: bytes, key: bytes) -> re.Match[bytes] | None:
    return re.search(key + rb"\x18\x40([0-9a-f]{64})", footer)  # Thrift: a string of 64 bytes follows its key


def _filled(footer: bytes, key: bytes, checksum: bytes) -> bytes:
    stated = _stated(footer, key)
    return footer[: stated.start(1)] + checksum + footer[stated.end(1) :] if stated is not None else footer


def _sum_of(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _sum_of_data(file: BinaryIO | pa.NativeFile, num_bytes: int) -> bytes:
    """Return the sum of the file's beginning, piece by piece: a merged part has tens of megabytes."""
    checksum = hashlib.sha256()
    file.seek(0)
    while num_bytes > 0 and (piece := file.read(min(_CHUNK_BYTES, num_bytes))):
        checksum.update(piece)
        num_bytes -= len(piece)
    return checksum.hexdigest().encode()


def _footer(file: BinaryIO | pa.NativeFile) -> tuple[int, bytes]:
    """Return where the footer starts and its bytes to the end of the file; none where there is no Parquet footer."""
    num_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, num_bytes - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    start = num_bytes - _TAIL_BYTES - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or start < 0:
        return num_bytes, b""
    file.seek(start)
    return start, file.read()
