"""Tensor files: safetensors with a JSON value and their own checksums, replaced in one step.

A tensor file is an ordinary safetensors file. Its metadata holds two SHA-256 sums: of the tensor bytes
(``data_sha256``), and of the header itself with the bytes of that sum itself filled with zeros (``header_sha256``).
So a header, and the history in it, can be trusted without reading the tensors, and without torch.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.stored_file import FileLocation, StoredFile

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
LENGTH_BYTES = 8
_ZEROS = "0" * 64
_HEADER_KEY = "header_sha256"
CORRUPT = ".corrupt"
"""The suffix of a damaged file that was set aside."""


def write_atomic(location: FileLocation, *chunks: bytes | memoryview, durable: bool = True) -> None:
    """Replace a file in one step: a reader sees the old one or the new one. A missing folder is made.

    ``durable`` waits for the disk, so that the file is whole after a power cut too; a cache need not.

    Raises:
        StorageError: it cannot be written; the message has its path and the reason.
    """
    file = StoredFile.of(location)
    with file.root.replace(file.name, durable=durable) as sink:
        for chunk in chunks:
            sink.write(chunk)


def set_aside(location: FileLocation) -> StoredFile | None:
    """Rename a damaged file to ``<name>.corrupt`` and return it under its new name; None where it is gone already."""
    file = StoredFile.of(location)
    if not file.exists():
        return None
    aside = file.with_suffix(CORRUPT)
    file.root.move(file.name, aside.name)
    return aside


def write_tensors(
    location: FileLocation, tensors: "Mapping[str, Tensor]", content: Any, *, kind: str, durable: bool = True
) -> str:
    """Write tensors and a JSON value as one checksummed safetensors file and return the SHA-256 of the whole file."""
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"kind": kind, "format_version": str(FORMAT_VERSION), "content": json.dumps(content, allow_nan=False)}
    blob = save(contiguous, metadata=metadata)
    header_end = LENGTH_BYTES + int.from_bytes(blob[:LENGTH_BYTES], "little")
    header = json.loads(blob[LENGTH_BYTES:header_end])
    data = memoryview(blob)[header_end:]
    header["__metadata__"] |= {"data_sha256": hashlib.sha256(data).hexdigest(), _HEADER_KEY: _ZEROS}
    encoded = _encode_header(header)
    header["__metadata__"][_HEADER_KEY] = hashlib.sha256(encoded).hexdigest()
    encoded = _encode_header(header)
    whole = hashlib.sha256(encoded)
    whole.update(data)
    write_atomic(location, encoded, data, durable=durable)
    return whole.hexdigest()


def read_tensors(location: FileLocation, *, kind: str, sha256: str | None = None) -> "tuple[dict[str, Tensor], Any]":
    """Return the tensors (on the CPU) and the JSON value of a file that `write_tensors` wrote.

    Args:
        location: the file.
        kind: the expected kind.
        sha256: the expected checksum of the whole file, if it was recorded elsewhere.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: a byte of it is not what was written.
    """
    from safetensors.torch import load

    path = StoredFile.of(location)
    blob = path.read_bytes()
    if sha256 is not None and hashlib.sha256(blob).hexdigest() != sha256:
        raise CorruptFileError(f"{path}: does not match the checksum {sha256[:12]}… that was recorded for it")
    header_end = LENGTH_BYTES + int.from_bytes(blob[:LENGTH_BYTES], "little")
    metadata = _checked_metadata(path, blob[:header_end], kind)
    if hashlib.sha256(memoryview(blob)[header_end:]).hexdigest() != metadata["data_sha256"]:
        raise CorruptFileError(f"{path}: the tensors do not match their checksum")
    return load(blob), json.loads(metadata["content"])


def read_content(location: FileLocation, *, kind: str) -> Any:
    """Return the JSON value of a file that `write_tensors` wrote; neither torch nor the tensors are read.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: the header is not what was written, or the file is shorter or longer than it says.
    """
    path = StoredFile.of(location)
    with path.open() as file:
        num_bytes = file.size()
        prefix = file.read(LENGTH_BYTES)
        length = int.from_bytes(prefix, "little")
        if length > num_bytes:
            raise CorruptFileError(f"{path}: cut off in the header, at {num_bytes} bytes")
        header = file.read(length)
    metadata = _checked_metadata(path, prefix + header, kind)
    ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
    if num_bytes != LENGTH_BYTES + length + max(ends, default=0):
        raise CorruptFileError(f"{path}: {num_bytes} bytes is not the length that its header gives")
    return json.loads(metadata["content"])


def check_data(location: FileLocation) -> None:
    """Return if a file that `write_tensors` wrote is whole, header and tensors; torch is not needed.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: a byte of it is not what was written.
    """
    path = StoredFile.of(location)
    blob = path.read_bytes()
    header_end = LENGTH_BYTES + int.from_bytes(blob[:LENGTH_BYTES], "little")
    metadata = _checked_metadata(path, blob[:header_end], None)
    if hashlib.sha256(memoryview(blob)[header_end:]).hexdigest() != metadata["data_sha256"]:
        raise CorruptFileError(f"{path}: the tensors do not match their checksum")


@contextlib.contextmanager
def damage_as_corrupt(file: FileLocation) -> Iterator[None]:
    """Turn what parsers raise on damaged bytes into a CorruptFileError that names the file."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFileError(f"{file}: damaged ({type(error).__name__}: {error})") from error


def _checked_metadata(path: StoredFile, encoded: bytes, kind: str | None) -> dict[str, str]:
    with damage_as_corrupt(path):
        header = json.loads(encoded[LENGTH_BYTES:])
        metadata: dict[str, str] = header["__metadata__"]
        stated = metadata[_HEADER_KEY]
        zeroed = encoded.replace(stated.encode(), _ZEROS.encode(), 1)
        if len(stated) != len(_ZEROS) or hashlib.sha256(zeroed).hexdigest() != stated:
            raise CorruptFileError(f"{path}: the header does not match its checksum")
        if metadata["kind"] != (kind or metadata["kind"]) or metadata["format_version"] != str(FORMAT_VERSION):
            actual = f"{metadata['kind']!r} version {metadata['format_version']}"
            raise CorruptFileError(f"{path}: holds {actual}, not {kind!r} version {FORMAT_VERSION}")
        return metadata


def _encode_header(header: dict[str, Any]) -> bytes:
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # safetensors wants the tensors to start at a multiple of 8
    return len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded
