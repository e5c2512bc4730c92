"""Ways in which a file really breaks."""

import errno
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

DAMAGES = ("truncated", "flipped", "empty", "missing")


def break_file(path: Path, how: str) -> None:
    """Damage a file: cut it off, flip a bit that matters in it, empty it or remove it."""
    content = path.read_bytes()
    match how:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            at = _in_the_values(path) if path.suffix == ".parquet" else len(content) // 8
            path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()


def _in_the_values(path: Path) -> int:
    """The last byte of the first column's values: many other bytes are statistics of a page, which nobody reads."""
    column = pq.read_metadata(path).row_group(0).column(0)
    return (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1


class FailingDisk(pafs.LocalFileSystem):
    """Files whose path contains ``name`` can be opened, and not read."""

    name = ""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_FailingFile(path), mode="r") if self.name in path else super().open_input_file(path)


class _FailingFile(io.FileIO):
    def read(self, size: int = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
