"""Files that appear whole or not at all, and that carry their own checksums.

A tensor file is an ordinary safetensors file. Its metadata holds two SHA-256 sums: of the tensor bytes
(``data_sha256``), and of the header itself with that sum's own place filled with zeros (``header_sha256``).
So a header, and the history in it, can be trusted without reading the tensors, and without torch.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import StoredFile

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
LENGTH_BYTES = 8
_ZEROS = "0" * 64
_HEADER_KEY = "header_sha256"
CORRUPT = ".corrupt"
"""What the name of a file that was set aside ends with."""


Place = Path | StoredFile
"""Of a file: a local path, or a name below a results root, wherever that is."""


def write_atomic(place: Place, *chunks: bytes | memoryview, durable: bool = True) -> None:
    """Replace a file in one step: a reader sees the old one or the new one. The folder is made where missing.

    ``durable`` waits for the disk, so that the file is whole after a power cut too; a cache need not.

    Raises:
        StorageError: it cannot be written; the message has its path and the reason.
    """
    file = StoredFile.of(place)
    with file.root.replace(file.name, durable=durable) as sink:
        for chunk in chunks:
            sink.write(chunk)


def set_aside(place: Place) -> StoredFile | None:
    """Rename a damaged file to ``<name>.corrupt`` and return its new place; None where it is gone already."""
    file = StoredFile.of(place)
    if not file.exists():
        return None
    aside = file.with_suffix(CORRUPT)
    file.root.move(file.name, aside.name)
    return aside


def write_tensors(
    place: Place, tensors: "Mapping[str, Tensor]", content: Any, *, kind: str, durable: bool = True
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
    write_atomic(place, encoded, data, durable=durable)
    return whole.hexdigest()


def read_tensors(place: Place, *, kind: str, sha256: str | None = None) -> "tuple[dict[str, Tensor], Any]":
    """Return the tensors (on the CPU) and the JSON value of a file that `write_tensors` wrote.

    Args:
        place: the file.
        kind: what it must hold.
        sha256: what the whole file must sum to, where that is known from elsewhere.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: a byte of it is not what was written.
    """
    from safetensors.torch import load

    path = StoredFile.of(place)
    blob = path.read_bytes()
    if sha256 is not None and hashlib.sha256(blob).hexdigest() != sha256:
        raise CorruptFileError(f"{path}: does not match the checksum {sha256[:12]}… that was recorded for it")
    header_end = LENGTH_BYTES + int.from_bytes(blob[:LENGTH_BYTES], "little")
    metadata = _checked_metadata(path, blob[:header_end], kind)
    if hashlib.sha256(memoryview(blob)[header_end:]).hexdigest() != metadata["data_sha256"]:
        raise CorruptFileError(f"{path}: the tensors do not match their checksum")
    return load(blob), json.loads(metadata["content"])


def read_content(place: Place, *, kind: str) -> Any:
    """Return the JSON value of a file that `write_tensors` wrote; neither torch nor the tensors are read.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: the header is not what was written, or the file is shorter or longer than it says.
    """
    path = StoredFile.of(place)
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


def check_data(place: Place) -> None:
    """Return if a file that `write_tensors` wrote is whole, header and tensors; torch is not needed.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: a byte of it is not what was written.
    """
    path = StoredFile.of(place)
    blob = path.read_bytes()
    header_end = LENGTH_BYTES + int.from_bytes(blob[:LENGTH_BYTES], "little")
    metadata = _checked_metadata(path, blob[:header_end], None)
    if hashlib.sha256(memoryview(blob)[header_end:]).hexdigest() != metadata["data_sha256"]:
        raise CorruptFileError(f"{path}: the tensors do not match their checksum")


@contextlib.contextmanager
def damage_as_corrupt(path: Place) -> Iterator[None]:
    """Turn what parsers raise on damaged bytes into a CorruptFileError that names the file."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFileError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _checked_metadata(path: StoredFile, encoded: bytes, kind: str | None) -> dict[str, str]:
    with damage_as_corrupt(path):
        header = json.loads(encoded[LENGTH_BYTES:])
        metadata: dict[str, str] = header["__metadata__"]
        stated = metadata[_HEADER_KEY]
        zeroed = encoded.replace(stated.encode(), _ZEROS.encode(), 1)
        if len(stated) != len(_ZEROS) or hashlib.sha256(zeroed).hexdigest() != stated:
            raise CorruptFileError(f"{path}: the header does not match its checksum")
        if metadata["kind"] != (kind or metadata["kind"]) or metadata["format_version"] != str(FORMAT_VERSION):
            found = f"{metadata['kind']!r} version {metadata['format_version']}"
            raise CorruptFileError(f"{path}: holds {found}, not {kind!r} version {FORMAT_VERSION}")
        return metadata


def _encode_header(header: dict[str, Any]) -> bytes:
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # safetensors wants the tensors to start at a multiple of 8
    return len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded
