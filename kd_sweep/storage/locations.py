"""Locations of results roots: local paths and URIs, what is refused in them, and the filesystem behind each."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from kd_sweep.errors import StorageError
from kd_sweep.storage.object_store import open_s3

_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role of the machine give credentials"


def open_location(text: str) -> tuple[pafs.FileSystem, str, str]:
    """Return the filesystem of a local path or a URI, the path in it, and the location as messages name it.

    Raises:
        StorageError: it is empty, has options or a key in it, names no folder, or pyarrow cannot open it.
    """
    if "://" not in text:
        path = str(expanded(text).absolute())
        return pafs.LocalFileSystem(), path, path
    check_uri(text)
    try:
        filesystem, base = open_s3(text) if text.startswith("s3://") else pafs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError) as error:
        scheme = urlsplit(text).scheme
        reason = str(error).splitlines()[0]
        raise StorageError(f"root: {text} cannot be opened: {reason} (scheme {scheme!r})") from None
    if not base.strip("/"):
        raise StorageError(f"root: {text} names no bucket or folder; possible: s3://bucket/prefix, gs://bucket/prefix")
    is_local = isinstance(filesystem, pafs.LocalFileSystem)
    return filesystem, base, base if is_local else text.rstrip("/")


def check_uri(text: str) -> None:
    """Raise `StorageError` for a URI that holds more than a location: options, or a key, which would end up in logs."""
    if urlsplit(text).query:
        raise StorageError(f"root: {text} has options after its path; AWS_ENDPOINT_URL, AWS_REGION, … take them")
    if "@" in urlsplit(text).netloc or re.match(r"\w+://[^/]*:[^@]*@", text):
        raise StorageError(f"root: {text} has a key in it; {_CREDENTIALS}")


def expanded(path: str) -> Path:
    """Return a local path with ``~`` replaced; `StorageError` where it is empty or names an unknown user."""
    if not path.strip():
        raise StorageError("root: is empty; possible: a folder, or s3://bucket/prefix")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise StorageError(f"root: {path} names the home folder of a user that this machine does not know") from None
