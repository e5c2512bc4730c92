"""A stored file: its name below a results root, and what can be done with it wherever the root lies."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from kd_sweep.storage.root import Root


class StoredFile(NamedTuple):
    """A file by its name below a root."""

    root: Root
    name: str

    @classmethod
    def of(cls, location: "FileLocation") -> "StoredFile":
        """Return the file at a local path; a `StoredFile` as it is."""
        if isinstance(location, StoredFile):
            return location
        path = location.absolute()
        return cls(Root.open(path.parent), path.name)

    def __str__(self) -> str:
        return self.root.location_of(self.name)

    @property
    def folder(self) -> str:
        """The name of the folder around it, below the root."""
        return self.name.rpartition("/")[0]

    def with_suffix(self, suffix: str) -> "StoredFile":
        """Return the file beside it whose name ends with ``suffix``."""
        return StoredFile(self.root, self.name + suffix)

    def exists(self) -> bool:
        """Whether it is there."""
        return self.root.exists(self.name)

    def open(self) -> contextlib.AbstractContextManager[pa.NativeFile]:
        """Open it for a block; see `Root.reading`."""
        return self.root.reading(self.name)

    def read_bytes(self) -> bytes:
        """Return its content; see `Root.read_bytes`."""
        return self.root.read_bytes(self.name)

    def copy_to(self, target: "StoredFile") -> None:
        """Put its content under another name below the same root; see `Root.copy`."""
        self.root.copy(self.name, target.name)

    def delete(self) -> None:
        """Remove it; nothing happens where there is none."""
        self.root.delete(self.name)


FileLocation = Path | StoredFile
"""What callers may give as a file: a local path, or a file below a results root."""
