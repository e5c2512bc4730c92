"""The pixels of an image file: how a file of any format and mode becomes RGB.

docs/study-files.md has the rules for users; tests/data/decoding/test_pixels.py checks files of every kind.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from kd_sweep.data.image_formats import FORMATS

MAX_PIXELS = 2**28
"""Most pixels of an image: a square of 16,384. Decoding it takes up to 3 GB, so no small file fills the memory."""
LARGE_PIXELS = 2**25
"""Images above this are in memory one at a time, however many threads there are."""

# Pillow's own limit is lower, and its error has no remedy; `read_rgb` has the same check with one.
Image.MAX_IMAGE_PIXELS = None
Image.init()
_FORMATS = tuple(name for name in FORMATS if name in Image.OPEN)  # an older Pillow has no AVIF
# Pillow warns of damaged metadata, which do not concern the pixels, among the lines of a sweep.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
_ONE_LARGE_IMAGE = threading.Lock()

_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258  # tags of TIFF
_WHITE_IS_ZERO = 0


class UnsuitableImageError(ValueError):
    """A whole file with pixels that cannot become RGB. The message ends a sentence that names the file."""


@contextmanager
def read_rgb(source: str | Path | bytes) -> Iterator[Image.Image]:
    """Give the block the first frame of an image file as RGB, upright, over white, with 8 bits per channel.

    Args:
        source: the file, or its content.

    Raises:
        UnsuitableImageError: it has more than `MAX_PIXELS`, or levels without a fixed range.
        Exception: it is damaged or no image; Pillow's decoders raise almost anything.
    """
    opened = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS)
    with opened as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UnsuitableImageError(
                f"has {width:,} x {height:,} pixels, and more than {MAX_PIXELS:,} (16,384 x 16,384) are not read; "
                f"make it smaller"
            )
        with _ONE_LARGE_IMAGE if width * height > LARGE_PIXELS else nullcontext():
            yield _decoded(image)


def rgb_of(image: Image.Image) -> Image.Image:
    """Return an image that somebody opened or made as `read_rgb` gives it from its file; the image itself stays.

    Raises:
        UnsuitableImageError: as `read_rgb`; or a grey PNG was loaded, which makes its transparent level ambiguous.
        Exception: its file is damaged; Pillow's decoders raise almost anything.
    """
    content = _unread_file(image)
    if content is not None:
        with suppress(UnidentifiedImageError), read_rgb(content) as decoded:
            return decoded
    if isinstance(image, PngImageFile) and image.mode == "L" and "transparency" in image.info and not image.tile:
        raise UnsuitableImageError(
            "is a PNG with a transparent grey that was loaded before, so that its bits are unknown; give its path"
        )
    return _rgb(image.copy(), _samples(image))


def _unread_file(image: Image.Image) -> bytes | None:
    """Return the file of an image that is opened and not loaded; None of others, whose pixels may have been changed."""
    file = getattr(image, "fp", None)
    if not getattr(image, "tile", None) or file is None or image.tell() != 0:
        return None
    position = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(position)
    return content


def _decoded(image: Image.Image) -> Image.Image:
    samples = _samples(image)
    image.load()
    return _rgb(image, samples)


def _rgb(image: Image.Image, samples: "_Samples") -> Image.Image:
    with suppress(Exception):  # an orientation that cannot be read turns nothing
        ImageOps.exif_transpose(image, in_place=True)
    if samples.levels_are_numbers:
        return _grey_of_numbers(image, samples)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        return _over_white(image, samples)
    return image.convert("RGB")


@dataclass(frozen=True)
class _Samples:
    """The meaning of the numbers in a file, which Pillow's mode does not tell.

    Attributes:
        bits: of a stored sample.
        white_is_zero: whether the lowest grey is white, and Pillow leaves it so.
        levels_are_numbers: greys of more than 8 bits, which Pillow does not scale.
    """

    bits: int
    white_is_zero: bool = False
    levels_are_numbers: bool = False


def _samples(image: Image.Image) -> _Samples:
    """Return the meaning of the samples of an image that is not loaded yet.

    Raises:
        UnsuitableImageError: nothing says which numbers are black and white.
    """
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})
        return _Samples(tags.get(_BITS_PER_SAMPLE, (16,))[0], tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, True)
    if image.mode == "I" and image.format == "PPM":  # scaled by Pillow from the file's own maximum
        return _Samples(16, levels_are_numbers=True)
    if image.mode in ("I", "F"):
        what = "32-bit floating-point numbers" if image.mode == "F" else "32-bit or signed whole numbers"
        raise UnsuitableImageError(
            f"has mode {image.mode!r}: {what}, of which nothing says what black and white are; "
            f"save it with 8 or 16 bits per channel"
        )
    if isinstance(image, PngImageFile) and image.tile:
        _, _, bits = str(image.tile[0][3]).partition(";")  # RGB;16B, L;4, or L where it is 8
        return _Samples(int(bits.rstrip("B") or 8))
    return _Samples(8)


def _grey_of_numbers(image: Image.Image, samples: _Samples) -> Image.Image:
    """Keep the upper eight bits, as Pillow does where each channel has 16."""
    levels_HW = np.asarray(image)
    grey_HW = (levels_HW >> (samples.bits - 8)).astype(np.uint8)
    if samples.white_is_zero:
        grey_HW = 255 - grey_HW
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey_HW[levels_HW == transparent] = 255
    return Image.fromarray(grey_HW).convert("RGB")


def _over_white(image: Image.Image, samples: _Samples) -> Image.Image:
    """Return colour * alpha + white * (1 - alpha), rounded to whole levels.

    Raises:
        UnsuitableImageError: one colour of 16 bits per channel is transparent, of which Pillow keeps eight.
    """
    transparent = image.info.get("transparency")
    if transparent is not None and image.mode in ("L", "RGB") and image.format == "PNG":
        if samples.bits == 16:
            raise UnsuitableImageError(
                "has 16 bits per channel and a transparent colour; save it with an alpha channel"
            )
        scale = 255 // (2**samples.bits - 1)
        colour = transparent if isinstance(transparent, tuple) else (transparent,)
        levels = tuple((level & (2**samples.bits - 1)) * scale for level in colour)
        image.info["transparency"] = levels if isinstance(transparent, tuple) else levels[0]
    straight = image.convert("LA") if image.mode == "La" else image
    rgba = straight.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)
    return white


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
