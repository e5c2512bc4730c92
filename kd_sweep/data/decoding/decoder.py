"""The decoder: from image files to one uint8 array, in parallel threads, once.

A cache that is damaged is never used: it, or the damaged image of it, is decoded again.

Shapes: N images, D = 3 channels (RGB), H x W pixels.
"""

import dataclasses
import errno
import fcntl
import functools
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from kd_sweep.data.decoding.decoded_file import (
    Checksums,
    Decode,
    StoredImages,
    append_trailer,
    checksums_of,
    open_stored,
    trailer_bytes,
)
from kd_sweep.data.decoding.pixels import UnsuitableImageError, read_rgb, rgb_of
from kd_sweep.data.undecoded_images import Pixels, Source, UndecodedImages
from kd_sweep.errors import DataError

CHECKED_AT_ONCE_BYTES = 2**31
"""Caches up to this size are checked to their end by every process that opens them; of larger ones, each image whenever
it is read."""
SUBMITTED_IMAGES = 4096
"""Images that wait for a thread at a time: ImageNet's 1.28 million would take more memory than their pixels."""
_LOG = logging.getLogger(__name__)


def decode_images(
    undecoded: UndecodedImages,
    image_size: int,
    cache_file: Path | None,
    list_again: Callable[[], UndecodedImages] | None = None,
) -> tuple[Pixels, StoredImages | None]:
    """Return images as uint8 (N, 3, H, W), H = W = ``image_size``, and the checks of those that are read from a file.

    Each image is cropped to its central square and resized bilinearly with antialiasing. Nothing checks images that are
    in memory, or in a file so small that it was checked here.

    Args:
        undecoded: the images; pixels that have the size already are returned as they are.
        image_size: in pixels.
        cache_file: where the array is kept as .npy and mapped from; in memory when None. Of several processes that ask
            for it, one decodes and the others wait.
        list_again: lists the images again, to mend one of a large file: their list is too long to be kept.

    Raises:
        DataError: an image is damaged; the message names it. Or the disk has no room for the array.
    """
    if isinstance(undecoded.sources, np.ndarray) and undecoded.sources.shape[-1] == image_size:
        return undecoded.sources, None
    shape = (len(undecoded.sources), 3, image_size, image_size)
    if cache_file is None:
        images_NDHW = np.empty(shape, dtype=np.uint8)
        _decode_into(images_NDHW, undecoded)
        return images_NDHW, None
    stored = _stored(cache_file) or _stored_anew(cache_file, undecoded, shape)
    if stored.images_NDHW.nbytes <= CHECKED_AT_ONCE_BYTES:
        return stored.images_NDHW, None
    decode = None if list_again is None else _decoder(functools.cache(list_again), image_size)
    return stored.images_NDHW, dataclasses.replace(stored, decode=decode)


def _stored(cache_file: Path) -> StoredImages | None:
    stored = open_stored(cache_file)
    if stored is None or (stored.images_NDHW.nbytes <= CHECKED_AT_ONCE_BYTES and not stored.are_whole()):
        return None
    return stored


def _stored_anew(cache_file: Path, undecoded: UndecodedImages, shape: tuple[int, ...]) -> StoredImages:
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(cache_file.with_suffix(".lock")):
        stored = _stored(cache_file)  # another process may have written it meanwhile
        if stored is None:
            if cache_file.exists():
                _LOG.warning("%s is damaged: it does not match its checksums; decoded again", cache_file)
            cache_file.unlink(missing_ok=True)  # the disk may have no room for two
            _write_cache(cache_file, undecoded, shape)
            stored = open_stored(cache_file)
    if stored is None:
        raise DataError(f"data: {cache_file} was damaged while it was written; check the disk")
    return stored


def _decoder(list_images: Callable[[], UndecodedImages], image_size: int) -> Decode:
    def decode(index: int) -> tuple[Pixels, str]:
        undecoded = list_images()
        return _decoded(undecoded, index, image_size), f"image {undecoded.names[index]}"

    return decode


def _write_cache(cache_file: Path, undecoded: UndecodedImages, shape: tuple[int, ...]) -> None:
    temporary = cache_file.with_name(f".{cache_file.name}.{uuid.uuid4().hex}.tmp")
    try:
        images_NDHW = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(temporary, temporary.stat().st_size + trailer_bytes(len(images_NDHW)))
        checksums_N = _decode_into(images_NDHW, undecoded)
        images_NDHW.flush()
        del images_NDHW
        append_trailer(temporary, checksums_N)
        temporary.replace(cache_file)
    finally:
        temporary.unlink(missing_ok=True)


def _reserve(file: Path, size: int) -> None:
    """Reserve room on the disk: writing to a mapped file without room would kill the process."""
    with file.open("r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                return  # a filesystem that cannot reserve
            raise DataError(
                f"data.image_size: the decoded images take {size / 1e9:.1f} GB in {file.parent}, which has no room for "
                f"them ({error.strerror}); make room, or take a smaller image_size or max_train_images"
            ) from error


@contextmanager
def _exclusive(lock_file: Path) -> Iterator[None]:
    """Hold an advisory lock that ends with the process; without it where the filesystem has none."""
    with lock_file.open("w") as handle:
        # Without the lock several processes may decode at once; each renames a whole file into place.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _decode_into(images_NDHW: Pixels, undecoded: UndecodedImages) -> Checksums:
    """Decode every image, and return the checksums of their pixels."""
    checksums_N = np.empty(len(images_NDHW), dtype=np.uint32)

    def decode(index: int) -> None:
        image_DHW = _decoded(undecoded, index, images_NDHW.shape[-1])
        images_NDHW[index] = image_DHW
        checksums_N[index] = checksums_of(image_DHW[None])[0]

    # PIL decodes and resizes without the interpreter lock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for start in range(0, len(images_NDHW), SUBMITTED_IMAGES):
                for _ in pool.map(decode, range(start, min(start + SUBMITTED_IMAGES, len(images_NDHW)))):
                    pass
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise
    return checksums_N


def _decoded(undecoded: UndecodedImages, index: int, image_size: int) -> Pixels:
    source = undecoded.sources[index]
    name = source if isinstance(source, str) else undecoded.names[index]
    return decode_image(source, image_size, name)


def decode_image(source: Source, image_size: int, name: str) -> Pixels:
    """Return one image as uint8 (3, H, W).

    Raises:
        DataError: ``source`` cannot be read as an image; the message calls it ``name``.
    """
    with _failures(f"data.path: image {name}", "repair or remove it"), _rgb(source) as image:
        return central_square(image, image_size)


def opened_image(image: Image.Image, image_size: int) -> Pixels:
    """Return an image that is opened, or was made, as `decode_image` returns its file; the image itself stays.

    Raises:
        DataError: it cannot be read as an image of 8 or 16 bits per channel.
    """
    with _failures(f"image: {image.mode} of {image.width} x {image.height} pixels", "give another"):
        return central_square(rgb_of(image), image_size)


def central_square(image: Image.Image, image_size: int) -> Pixels:
    """Return the central square of an RGB image, resized bilinearly with antialiasing: uint8 (3, H, W)."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(square, dtype=np.uint8).transpose(2, 0, 1)


@contextmanager
def _failures(name: str, remedy: str) -> Iterator[None]:
    """Raise whatever a decoder raises in the block as `DataError` of one line."""
    try:
        yield
    except UnsuitableImageError as error:
        raise DataError(f"{name} {error}") from None
    # Damaged files make PIL's decoders raise almost anything: OSError, SyntaxError, ValueError, struct.error, …
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} cannot be decoded ({reason}); {remedy}") from error


def _rgb(source: Source) -> AbstractContextManager[Image.Image]:
    if isinstance(source, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(source.transpose(1, 2, 0)))
    return read_rgb(source)
