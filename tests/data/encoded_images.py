"""Image files made by Pillow or by hand, and pixels for them."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.uint8]
SIDE = 12
RANDOM = np.random.default_rng(7)
RGB_HWD = RANDOM.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY_HW = RANDOM.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
ALPHA_HW = RANDOM.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
GREY16_HW = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
RGB16_HWD = RANDOM.integers(0, 65536, (SIDE, SIDE, 3), dtype=np.uint16)
ALPHA16_HW = RANDOM.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)


@dataclass(frozen=True)
class Case:
    """One file: its content, what it shows (H, W, 3), and by how many levels a reader may differ."""

    content: bytes
    shows: Array
    within: int = 0


def grey(levels_HW: NDArray) -> Array:
    return np.repeat(np.asarray(levels_HW, dtype=np.uint8)[..., None], 3, axis=2)


def upper(levels: NDArray) -> Array:
    return (levels // 256).astype(np.uint8)


def over_white(colour_HWD: Array, alpha_HW: Array) -> Array:
    alpha = alpha_HW[..., None] / 255
    return np.floor(colour_HWD * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(samples: NDArray, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand: samples (H, W) or (H, W, channels), and further chunks before the pixels."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        per_sample = ((row[:, None] >> np.arange(bits)[::-1]) & 1 for row in rows)
        packed = [np.packbits(bits_of_row.reshape(-1).astype(np.uint8)).tobytes() for bits_of_row in per_sample]
    pixels = zlib.compress(b"".join(b"\0" + row for row in packed))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


def tiff(pixels: bytes, side: int, tags: dict[int, int | tuple[int, ...]]) -> bytes:
    """A little-endian TIFF of one strip by hand; values are SHORTs."""
    entries = {256: side, 257: side, 259: 1, 277: 1, 278: side, **tags}
    count = len(entries) + 2
    after = 8 + 2 + 12 * count + 4
    extra, lines = b"", {}
    for tag, value in entries.items():
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            field, extra = struct.pack("<I", after + len(extra)), extra + packed
        else:
            field = packed.ljust(4, b"\0")
        lines[tag] = struct.pack("<HHI", tag, 3, len(values)) + field
    lines[273] = struct.pack("<HHII", 273, 4, 1, after + len(extra))
    lines[279] = struct.pack("<HHII", 279, 4, 1, len(pixels))
    return (
        b"II*\0"
        + struct.pack("<IH", 8, count)
        + b"".join(lines[tag] for tag in sorted(lines))
        + bytes(4)
        + extra
        + pixels
    )


def twelve_bits(levels_HW: NDArray) -> bytes:
    pairs = levels_HW.reshape(-1, 2).astype(int)
    first, second = pairs[:, 0], pairs[:, 1]
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()


def turned(orientation: int, stored_HWD: Array | None = None) -> Array:
    """What a viewer shows of pixels stored under an EXIF orientation (TIFF 6.0, page 36)."""
    rgb_HWD = RGB_HWD if stored_HWD is None else stored_HWD
    return {
        1: rgb_HWD,
        2: rgb_HWD[:, ::-1],
        3: rgb_HWD[::-1, ::-1],
        4: rgb_HWD[::-1],
        5: rgb_HWD.transpose(1, 0, 2),
        6: np.rot90(rgb_HWD, -1),
        7: rgb_HWD[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(rgb_HWD),
    }[orientation]


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def palette_image(colours: Array, indices_HW: NDArray) -> Image.Image:
    image = Image.frombytes("P", (SIDE, SIDE), indices_HW.astype(np.uint8).tobytes())
    image.putpalette(colours.tobytes())
    return image


BLOCKS_HWD = np.kron(RANDOM.integers(0, 256, (2, 2, 3)), np.ones((8, 8, 1))).astype(np.uint8)
"""Flat in each of JPEG's blocks, so that nothing is lost."""
COLOURS = RANDOM.integers(0, 256, (16, 3), dtype=np.uint8)
INDICES_HW = RANDOM.integers(0, 16, (SIDE, SIDE))
COLOUR_ALPHAS = np.array([0, 40, 128, 255] * 4, dtype=np.uint8)
TWO_BITS_HW = RANDOM.integers(0, 4, (SIDE, SIDE))
CMYK_HWD = RANDOM.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
RGBA_HWD = np.dstack([RGB_HWD, ALPHA_HW])
LEVELS_10_BITS_HW = RANDOM.integers(0, 1024, (SIDE, SIDE))
LEVELS_12_BITS_HW = RANDOM.integers(0, 4096, (SIDE, SIDE))
PREMULTIPLIED_HWD = np.dstack([(RGB_HWD.astype(int) * ALPHA_HW[..., None] // 255).astype(np.uint8), ALPHA_HW])
