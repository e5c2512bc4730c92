"""Image files to one uint8 array, in parallel threads, once.

Shapes: N images, D = 3 channels (RGB), H x W pixels.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_sweep.errors import DataError

Pixels = NDArray[np.uint8]


def decode_images(paths: Sequence[Path], image_size: int, cache_file: Path | None) -> Pixels:
    """Return the images at ``paths`` as uint8 (N, 3, H, W), H = W = ``image_size``.

    Each image is cropped to its central square and resized bilinearly with antialiasing.

    Args:
        paths: the image files.
        image_size: in pixels.
        cache_file: where the array is kept as .npy and mapped from; in memory when None. Of several processes that ask
            for it, one decodes and the others wait.

    Raises:
        DataError: an image is damaged; the message names it.
    """
    shape = (len(paths), 3, image_size, image_size)
    if cache_file is None:
        images_NDHW = np.empty(shape, dtype=np.uint8)
        _decode_into(images_NDHW, paths)
        return images_NDHW
    if not cache_file.exists():
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(cache_file.with_suffix(".lock")):
            if not cache_file.exists():
                _write_cache(cache_file, paths, shape)
    # Copy-on-write, because torch warns of arrays that cannot be written.
    mapped: Pixels = np.load(cache_file, mmap_mode="c")
    return mapped


def _write_cache(cache_file: Path, paths: Sequence[Path], shape: tuple[int, ...]) -> None:
    temporary = cache_file.with_name(f".{cache_file.name}.{uuid.uuid4().hex}.tmp")
    try:
        images_NDHW = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _decode_into(images_NDHW, paths)
        images_NDHW.flush()
        del images_NDHW
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(cache_file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _exclusive(lock_file: Path) -> Iterator[None]:
    """Hold an advisory lock that ends with the process; without it where the filesystem has none."""
    with lock_file.open("w") as handle:
        # Without the lock several processes may decode at once; each renames a whole file into place.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _decode_into(images_NDHW: Pixels, paths: Sequence[Path]) -> None:
    def decode(place: int) -> None:
        images_NDHW[place] = decode_image(paths[place], images_NDHW.shape[-1])

    # PIL decodes and resizes without the interpreter lock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for _ in pool.map(decode, range(len(paths))):
                pass
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise


def decode_image(path: Path, image_size: int) -> Pixels:
    """Return one image as uint8 (3, H, W).

    Raises:
        DataError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            square = image.convert("RGB").resize(
                (image_size, image_size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
            )
    # Damaged files make PIL's decoders raise almost anything: OSError, SyntaxError, ValueError, struct.error, …
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"data.path: image {path} cannot be decoded ({reason}); repair or remove it") from error
    return np.asarray(square, dtype=np.uint8).transpose(2, 0, 1)
