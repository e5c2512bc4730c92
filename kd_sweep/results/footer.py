"""A checksum over the footer of a Parquet file, kept inside it.

The footer says where columns lie, what they are called and which values a group of rows spans. Parquet has no checksum
for it, and a flipped bit in it makes a query skip rows, or a column read as null, without an error. So its SHA-256 is
an entry of the file's own metadata, taken while that entry's place is filled with zeros.
"""

import hashlib
import os
import re
from typing import BinaryIO

import pyarrow as pa

from kd_sweep.errors import CorruptFileError

FOOTER_KEY = b"footer_sha256"
_ZEROS = b"0" * 64
UNSEALED = {FOOTER_KEY: _ZEROS}
"""What to add to a file's metadata before it is sealed."""

_TAIL_BYTES = 8  # the footer's length and PAR1
_STATED = re.compile(FOOTER_KEY + rb"\x18\x40([0-9a-f]{64})")  # Thrift: a string of 64 bytes follows its key


def seal(file: BinaryIO) -> None:
    """Fill in the checksum of a Parquet file that was just written with `UNSEALED` in its metadata."""
    start, footer = _footer(file)
    stated = _STATED.search(footer)
    if stated is None:
        raise ValueError("the file was not written with UNSEALED")
    file.seek(start + stated.start(1))
    file.write(hashlib.sha256(footer).hexdigest().encode())
    file.seek(0, os.SEEK_END)


def check_footer(file: pa.NativeFile, where: str) -> None:
    """Raise `CorruptFileError` unless the footer is as it was sealed. Files of before there were seals are believed."""
    _, footer = _footer(file)
    stated = _STATED.search(footer)
    if stated is None:
        return
    zeroed = footer[: stated.start(1)] + _ZEROS + footer[stated.end(1) :]
    if hashlib.sha256(zeroed).hexdigest().encode() != stated[1]:
        raise CorruptFileError(f"{where} is damaged: its footer does not match its checksum")


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
