"""The file of decoded images, every byte of which is checked before it is used.

It is an ordinary .npy file with a trailer: the CRC-32 of each image (uint32, little-endian), then the SHA-256 of the
.npy header and these checksums. So it can be opened without reading the images, and each is checked when it is read.

Shapes: N images, B of them, D = 3 channels (RGB), H x W pixels.
"""

import hashlib
import logging
import math
import os
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import Pixels
from kd_sweep.errors import DataError

Checksums = NDArray[np.uint32]
Decode = Callable[[int], tuple[Pixels, str]]
"""Index of an image -> its pixels (D, H, W) and its name for messages."""

CHUNK_BYTES = 2**26
"""Bytes of a file that a thread checks at a time."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d+), (\d+), (\d+), (\d+)\), \} *\n",
    re.DOTALL,
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredImages:
    """Decoded images in a file.

    Attributes:
        file: an absolute path.
        offset: of the first image, in bytes.
        images_NDHW: uint8, mapped copy-on-write, because torch warns of arrays that cannot be written.
        checksums_N: of each image.
        decode: decodes an image again from its source.
    """

    file: Path
    offset: int
    images_NDHW: Pixels = field(repr=False)
    checksums_N: Checksums = field(repr=False)
    decode: Decode | None = None

    def are_whole(self) -> bool:
        """Whether every image matches its checksum. Reads the file to its end."""
        step = max(1, CHUNK_BYTES // math.prod(self.images_NDHW.shape[1:]))

        def is_whole(start: int) -> bool:
            images = self.images_NDHW[start : start + step]
            return np.array_equal(checksums_of(images), self.checksums_N[start : start + step])

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return all(pool.map(is_whole, range(0, len(self.images_NDHW), step)))

    def mend(self, images_BDHW: Pixels, indices_B: Indices) -> None:
        """Decode images again that do not match their checksums, and replace them in ``images_BDHW`` and in the file.

        Args:
            images_BDHW: as they were read; changed in place.
            indices_B: of the images in the file.

        Raises:
            DataError: an image is damaged, and its source has changed since it was decoded.
        """
        damaged = np.flatnonzero(checksums_of(images_BDHW) != self.checksums_N[indices_B])
        for row in damaged.tolist():
            images_BDHW[row] = self._decoded_again(int(indices_B[row]))

    def _decoded_again(self, index: int) -> Pixels:
        if self.decode is None:
            raise DataError(f"data: image {index} in {self.file} is damaged: it does not match its checksum")
        image_DHW, name = self.decode(index)
        if checksums_of(image_DHW[None])[0] != self.checksums_N[index]:
            raise DataError(
                f"data: {name} is damaged in {self.file}, and decodes to other pixels than when that was written; "
                f"delete that file while nothing runs, and launch again"
            )
        _LOG.warning("%s is damaged: %s does not match its checksum; decoded again", self.file, name)
        # On a disk that takes no writes, every process that comes across the image decodes it.
        with suppress(OSError), self.file.open("r+b") as file:
            file.seek(self.offset + index * image_DHW.nbytes)
            file.write(image_DHW.tobytes())
        return image_DHW


def open_stored(file: Path) -> StoredImages | None:
    """Return the images of a file with a whole header and whole checksums; None where it is absent or damaged.

    `StoredImages.are_whole` checks the images.
    """
    try:
        header, shape = _header(file)
        end = len(header) + math.prod(shape)
        if file.stat().st_size != end + trailer_bytes(shape[0]):
            return None
        with file.open("rb") as opened:
            opened.seek(end)
            checksums, sha256 = opened.read(4 * shape[0]), opened.read()
    except (FileNotFoundError, ValueError):
        return None
    if hashlib.sha256(header + checksums).digest() != sha256:
        return None
    images_NDHW = np.memmap(file, np.uint8, mode="c", offset=len(header), shape=shape)
    return StoredImages(file, len(header), images_NDHW, np.frombuffer(checksums, "<u4"))


def is_whole(file: Path) -> bool:
    """Whether a file is there and no byte of it is damaged. Reads it to its end."""
    stored = open_stored(file)
    return stored is not None and stored.are_whole()


def checksums_of(images_BDHW: Pixels) -> Checksums:
    """Return the CRC-32 of each image."""
    return np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in images_BDHW], dtype=np.uint32)


def trailer_bytes(num_images: int) -> int:
    """Return the size of the trailer of a file of this many images."""
    return 4 * num_images + _DIGEST_BYTES


def append_trailer(file: Path, checksums_N: Checksums) -> None:
    """Append the trailer to a .npy file of images, and return when all of the file is on the disk."""
    header, shape = _header(file)
    checksums = checksums_N.astype("<u4").tobytes()
    with file.open("r+b") as opened:
        opened.seek(len(header) + math.prod(shape))
        opened.write(checksums + hashlib.sha256(header + checksums).digest())
        opened.flush()
        os.fsync(opened.fileno())


def _header(file: Path) -> tuple[bytes, tuple[int, ...]]:
    """Return the .npy header and the shape in it.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it does not start as one of images.
    """
    with file.open("rb") as opened:
        start = opened.read(10)
        header = start + opened.read(int.from_bytes(start[8:], "little"))
    match = _HEADER.fullmatch(header)
    if match is None:
        raise ValueError(f"{file} does not start as a .npy file of images")
    return header, tuple(map(int, match.groups()))
