"""A results root on any filesystem that pyarrow knows: every file operation of a study goes through `Root`."""

import contextlib
import errno
import io
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs as pafs

from kd_sweep.errors import StorageError
from kd_sweep.storage.filesystem_errors import failures_to_read, reason_of, unreadable
from kd_sweep.storage.local_files import (
    TEMPORARY_SUFFIX,
    as_named,
    ensure_folder,
    link,
    local_sizes,
    replacement,
    sync_folder,
)
from kd_sweep.storage.locations import expanded, open_location
from kd_sweep.storage.object_store import persistently, read_one_version

PROBE = ".writable-"
"""The start of the name of the file that `check_writable` writes and deletes."""


class Root:
    """A folder: a results root, or a study in it. Names are relative to it and use ``/``.

    A file appears whole or not at all: locally by write to a temporary file, fsync, rename and fsync of the folder;
    elsewhere (S3, GCS) by one put. Failures of the filesystem raise `StorageError` with the path and the reason.
    """

    def __init__(self, filesystem: pafs.FileSystem, base: str, location: str) -> None:
        self.filesystem = filesystem
        self.base = base.rstrip("/") or "/"
        self.location = location
        """This folder as the user names it: a local path or a URI."""

    @classmethod
    def open(cls, location: "Location") -> "Root":
        """Return the root at a local path or a URI (``s3://bucket/prefix``, ``gs://…``, ``file:///…``).

        Nothing is created and nothing is read. Raises `StorageError` for a URI that pyarrow does not know.
        """
        if isinstance(location, Root):
            return location
        return cls(*open_location(_text_of(location)))

    @classmethod
    def named(cls, location: "Location") -> "Root":
        """Return the root at a location as `open` does, so that `parent` is the folder in which the user sees it.

        The parent of a link is the folder that holds the link: what studies share is expected there.
        """
        if isinstance(location, Root) or "://" in str(location):
            return cls.open(location)
        return cls.open(as_named(expanded(_text_of(location))))

    @property
    def is_local(self) -> bool:
        """Whether files lie on a mounted filesystem, where rename, links and locks exist."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def __str__(self) -> str:
        return self.location

    def __repr__(self) -> str:
        return f"Root({self.location!r})"

    def child(self, name: str) -> "Root":
        """Return the folder ``name`` inside this one."""
        return Root(self.filesystem, self.path(name), f"{self.location.rstrip('/')}/{name}")

    def parent(self) -> tuple["Root", str]:
        """Return the folder around this one, and this one's name in it."""
        base, _, name = self.base.rpartition("/")
        return Root(self.filesystem, base or "/", self.location.rpartition("/")[0] or "/"), name

    def path(self, *parts: str) -> str:
        """Return the path inside `filesystem` of a name below this folder."""
        return "/".join((self.base.rstrip("/"), *parts)) if parts else self.base

    def local_path(self, *parts: str) -> Path:
        """Return a name below this folder as a local path; `StorageError` where the root is not local."""
        if not self.is_local:
            raise StorageError(f"root: {self.location} is not a local path")
        return Path(self.path(*parts))

    def location_of(self, name: str) -> str:
        """Return the path or URI of a name below this folder, for messages."""
        return f"{self.location.rstrip('/')}/{name}" if name else self.location

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder of this name is there."""
        return bool(self._info(name).type != pafs.FileType.NotFound)

    def is_folder(self, name: str = "") -> bool:
        """Whether a folder of this name is there."""
        return bool(self._info(name).type == pafs.FileType.Directory)

    def size(self, name: str) -> int:
        """Return a file's length in bytes; `FileNotFoundError` where there is none."""
        info = self._info(name)
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(errno.ENOENT, "no such file", self.location_of(name))
        return int(info.size)

    def age_s(self, name: str) -> float:
        """Return the seconds since a file was written, by this process's clock; 0 where there is no file."""
        written_at = self._info(name).mtime
        return time.time() - written_at.timestamp() if written_at is not None else 0.0

    def files(self, folder: str = "") -> list[str]:
        """Return the names of the files directly in ``folder``, sorted; none where the folder is missing."""
        return [name for name, is_file in self._entries(folder) if is_file]

    def folders(self, folder: str = "") -> list[str]:
        """Return the names of the folders directly in ``folder``, sorted; none where it is missing."""
        return [name for name, is_file in self._entries(folder) if not is_file]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the bytes of every file below ``folder``, by its name below it; none where the folder is missing."""
        base = self.path(folder) if folder else self.base
        if self.is_local:
            return dict(local_sizes(base))
        with self._failures(folder, "listed"):
            selector = pafs.FileSelector(base, allow_not_found=True, recursive=True)
            infos = persistently(lambda: self.filesystem.get_file_info(selector))
        return {info.path[len(base) + 1 :]: int(info.size) for info in infos if info.type == pafs.FileType.File}

    def open_input(self, name: str) -> pa.NativeFile:
        """Open for random access. What was opened stays as it was, also when the file is replaced or deleted.

        A file that is not local is read whole at once: reads of parts of it could meet two versions of it, and a
        failure of the network would look like damage.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: it is there and cannot be read.
        """
        path = self.path(name)
        try:
            if self.is_local:
                return self.filesystem.open_input_file(path)
            return pa.BufferReader(persistently(lambda: read_one_version(self.filesystem, path)))
        except FileNotFoundError:
            raise
        except NotADirectoryError:
            raise FileNotFoundError(errno.ENOENT, "no such file", self.location_of(name)) from None
        except OSError as error:
            raise unreadable(self.location_of(name), error) from None

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[pa.NativeFile]:
        """Open for the block; errors as `open_input`, also where reading fails inside it."""
        with self.open_input(name) as source, failures_to_read(self.location_of(name)):
            yield source

    def read_bytes(self, name: str) -> bytes:
        """Return a file's content; errors as `open_input`."""
        with self.reading(name) as source:
            return bytes(source.read())

    def write_bytes(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Replace a file atomically. ``durable=False`` spares the fsync: a power cut may bring the old content back."""
        with self.replace(name, durable=durable) as sink:
            sink.write(content)

    @contextlib.contextmanager
    def replace(self, name: str, *, durable: bool = True) -> Iterator[BinaryIO]:
        """Yield a stream whose content becomes the file when the block ends well; else the file stays unchanged."""
        with self._failures(name):
            if self.is_local:
                target = Path(self.path(name))
                with replacement(target, self._temporary(target), durable=durable) as sink:
                    yield sink
            else:
                # Not an output stream of the filesystem: closing one publishes what was written before a failure.
                buffer = io.BytesIO()
                yield buffer
                persistently(lambda: self._write_whole(self.path(name), buffer.getvalue()))

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        with self._failures(name, "deleted"), contextlib.suppress(FileNotFoundError):
            self._persistently(lambda: self.filesystem.delete_file(self.path(name)))

    def delete_folder(self, name: str) -> None:
        """Remove a folder and everything in it; nothing happens where there is none."""
        with self._failures(name, "deleted"), contextlib.suppress(FileNotFoundError):
            if self.is_local:
                shutil.rmtree(self.path(name))
            else:
                persistently(lambda: self.filesystem.delete_dir(self.path(name)))

    def move(self, name: str, target: str) -> None:
        """Rename a file inside this folder; ``target`` is replaced."""
        with self._failures(name, "moved"):
            if self.is_local:
                ensure_folder(Path(self.path(target)).parent)
                self.filesystem.move(self.path(name), self.path(target))
            else:
                persistently(lambda: self.filesystem.copy_file(self.path(name), self.path(target)))
                self.delete(name)

    def move_folder(self, name: str, target: str) -> None:
        """Rename a folder inside this one, in one step and durably.

        Raises:
            StorageError: something is there already, the folder cannot be renamed, or the root is not local: object
                stores have no folders.
        """
        with self._failures(name, "renamed"):
            if self.exists(target):
                raise StorageError(f"{self.location_of(target)} is there already")
            source = self.local_path(name)
            source.rename(self.local_path(target))
            sync_folder(source.parent)

    def copy(self, name: str, target: str) -> None:
        """Put a file's content under a second name, at once; ``target`` is replaced.

        Locally both names are links to one content: made in no time, and taking no room. That is safe since files are
        replaced and never changed.

        Raises:
            FileNotFoundError: there is no such file.
        """
        try:
            with self._failures(target):
                self._copy(name, target)
        except StorageError:
            if self.exists(name):
                raise
            raise FileNotFoundError(errno.ENOENT, "no such file", self.location_of(name)) from None

    def ensure_folder(self, name: str = "") -> None:
        """Create a folder and those around it. Object stores have none: nothing happens there."""
        with self._failures(name):
            if self.is_local:
                ensure_folder(Path(self.path(name) if name else self.base))

    def check_writable(self) -> None:
        """Create the folder if need be and write a file in it; `StorageError` with the reason if that fails."""
        probe = f"{PROBE}{secrets.token_hex(4)}"
        self.write_bytes(probe, b"\0", durable=False)  # a full disk still takes empty files
        self.delete(probe)

    def _copy(self, name: str, target: str) -> None:
        if not self.is_local:
            persistently(lambda: self.filesystem.copy_file(self.path(name), self.path(target)))
            return
        path = Path(self.path(target))
        if not link(Path(self.path(name)), path, self._temporary(path)):
            self.write_bytes(target, self.read_bytes(name))

    def _persistently(self, operation: Callable[[], Any]) -> Any:
        return operation() if self.is_local else persistently(operation)

    def _write_whole(self, path: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(path) as target:
            target.write(content)

    def _info(self, name: str) -> pafs.FileInfo:
        try:
            return self._persistently(lambda: self.filesystem.get_file_info(self.path(name) if name else self.base))
        except NotADirectoryError:
            return pafs.FileInfo(self.path(name), pafs.FileType.NotFound)
        except OSError as error:
            raise StorageError(f"{self.location_of(name)} cannot be read: {reason_of(error)}") from None

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        path = self.path(folder) if folder else self.base
        try:
            if self.is_local:
                with os.scandir(path) as entries:
                    return sorted((entry.name, entry.is_file()) for entry in entries)
            infos = persistently(lambda: self.filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(f"{self.location_of(folder)} cannot be listed: {reason_of(error)}") from None
        return sorted((info.base_name, info.type == pafs.FileType.File) for info in infos)

    def _temporary(self, target: Path) -> Path:
        """Return a new name on the target's filesystem. Table folders hold tables only: polars minds anything else."""
        is_in_table_folder = target.suffix == ".parquet" and target.parent != Path(self.base)
        folder = target.parent.parent if is_in_table_folder else target.parent
        return folder / f".{target.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}"

    @contextlib.contextmanager
    def _failures(self, name: str, verb: str = "written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.location_of(name)} cannot be {verb}: {reason_of(error)}") from error


def _text_of(location: str | Path) -> str:
    """Return a location as text. Python callers can give anything, and `None` would be the name of a folder."""
    if not isinstance(location, str | Path) or not str(location).strip():
        raise StorageError(f"root: {location!r} is not a path or a URI such as s3://bucket/prefix")
    return str(location)


Location = str | Path | Root
"""What callers may give as a results root: a local path, a URI, or the root itself."""
