"""Ways in which a file really breaks."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from kd_sweep.storage.root import Root

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


class UnreliableDisk(pafs.FileSystemHandler):
    """A folder of this machine behind an interface without rename and locks; it refuses everything while ``fails``."""

    def __init__(self) -> None:
        self._disk = pafs.LocalFileSystem()
        self.fails = False

    def opened(self, folder: Path) -> Root:
        """Return the folder as a root on this disk."""
        return Root(pafs.PyFileSystem(self), str(folder), str(folder))

    def _ask(self, operation: str, *arguments: Any) -> Any:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return getattr(self._disk, operation)(*arguments)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def get_type_name(self) -> str:
        return "unreliable"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        return self._ask("get_file_info", paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        return self._ask("get_file_info", selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._ask("create_dir", path)

    def delete_dir(self, path: str) -> None:
        self._ask("delete_dir", path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._ask("delete_dir_contents", path)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        self._ask("delete_file", path)

    def move(self, path: str, target: str) -> None:
        self._ask("move", path, target)

    def copy_file(self, path: str, target: str) -> None:
        self._ask("copy_file", path, target)

    def open_input_stream(self, path: str) -> Any:
        return self._ask("open_input_stream", path)

    def open_input_file(self, path: str) -> Any:
        return self._ask("open_input_file", path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return self._ask("open_output_stream", path)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError


class _FailingFile(io.FileIO):
    def read(self, size: int = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
