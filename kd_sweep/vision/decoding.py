"""Image files to one uint8 array, in parallel threads, once.

A cache is an ordinary .npy file with a trailer: the SHA-256 of every `BLOCK_BYTES` of it. One that does not match is
never used; it is decoded again.

Shapes: N images, D = 3 channels (RGB), H x W pixels.
"""

import errno
import fcntl
import hashlib
import io
import logging
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from kd_sweep.errors import DataError
from kd_sweep.vision.pictures import Pictures, Pixels, Source

DECODED = "datasets"
"""The folder of all caches in a results root."""
BLOCK_BYTES = 2**26
_DIGEST_BYTES = hashlib.sha256().digest_size
_LOG = logging.getLogger(__name__)


def decode_images(pictures: Pictures, image_size: int, cache_file: Path | None) -> Pixels:
    """Return ``pictures`` as uint8 (N, 3, H, W), H = W = ``image_size``.

    Each image is cropped to its central square and resized bilinearly with antialiasing.

    Args:
        pictures: what to decode; pixels that have the size already are returned as they are.
        image_size: in pixels.
        cache_file: where the array is kept as .npy and mapped from; in memory when None. Of several processes that ask
            for it, one decodes and the others wait.

    Raises:
        DataError: an image is damaged; the message names it. Or the disk has no room for the array.
    """
    if isinstance(pictures.sources, np.ndarray) and pictures.sources.shape[-1] == image_size:
        return pictures.sources
    shape = (len(pictures.sources), 3, image_size, image_size)
    if cache_file is None:
        images_NDHW = np.empty(shape, dtype=np.uint8)
        _decode_into(images_NDHW, pictures)
        return images_NDHW
    if not is_whole(cache_file):
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(cache_file.with_suffix(".lock")):
            if not is_whole(cache_file):  # else another process has written it meanwhile
                if cache_file.exists():
                    _LOG.warning("%s is damaged: it does not match its checksums; decoded again", cache_file)
                _write_cache(cache_file, pictures, shape)
    # Copy-on-write, because torch warns of arrays that cannot be written.
    mapped: Pixels = np.load(cache_file, mmap_mode="c")
    return mapped


def is_whole(cache_file: Path) -> bool:
    """Whether a cache is there and every byte of it is what was written."""
    try:
        content = np.memmap(cache_file, np.uint8, mode="r")
    except (FileNotFoundError, ValueError):  # the latter: an empty file
        return False
    size = len(content) - _DIGEST_BYTES * -(-len(content) // (BLOCK_BYTES + _DIGEST_BYTES))
    return size > 0 and _digests(content[:size]) == content[size:].tobytes()


def _digests(content: Pixels) -> bytes:
    blocks = [content[start : start + BLOCK_BYTES] for start in range(0, len(content), BLOCK_BYTES)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return b"".join(pool.map(lambda block: hashlib.sha256(block).digest(), blocks))


def _write_cache(cache_file: Path, pictures: Pictures, shape: tuple[int, ...]) -> None:
    temporary = cache_file.with_name(f".{cache_file.name}.{uuid.uuid4().hex}.tmp")
    try:
        images_NDHW = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        size = temporary.stat().st_size
        _reserve(temporary, size + _DIGEST_BYTES * -(-size // BLOCK_BYTES))
        _decode_into(images_NDHW, pictures)
        images_NDHW.flush()
        del images_NDHW
        with temporary.open("r+b") as written:
            written.seek(size)
            written.write(_digests(np.memmap(temporary, np.uint8, mode="r", shape=(size,))))
            written.flush()
            os.fsync(written.fileno())
        temporary.replace(cache_file)
    finally:
        temporary.unlink(missing_ok=True)


def _reserve(file: Path, size: int) -> None:
    """Have the disk set the room aside: writing to a mapped file for which there is none would kill the process."""
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


def _decode_into(images_NDHW: Pixels, pictures: Pictures) -> None:
    def decode(place: int) -> None:
        source = pictures.sources[place]
        what = str(source) if isinstance(source, Path) else pictures.names[place]
        images_NDHW[place] = decode_image(source, images_NDHW.shape[-1], what)

    # PIL decodes and resizes without the interpreter lock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for _ in pool.map(decode, range(len(pictures.sources))):
                pass
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise


def decode_image(source: Source, image_size: int, what: str) -> Pixels:
    """Return one image as uint8 (3, H, W).

    Raises:
        DataError: ``source`` cannot be read as an image; the message calls it ``what``.
    """
    try:
        with _opened(source) as image:
            width, height = image.size
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            square = image.convert("RGB").resize(
                (image_size, image_size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
            )
    # Damaged files make PIL's decoders raise almost anything: OSError, SyntaxError, ValueError, struct.error, …
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"data.path: image {what} cannot be decoded ({reason}); repair or remove it") from error
    return np.asarray(square, dtype=np.uint8).transpose(2, 0, 1)


def _opened(source: Source) -> Image.Image:
    if isinstance(source, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(source.transpose(1, 2, 0)))
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
