"""Files for the decoding tests: each with the pixels that an independent reading gives, or refused."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.data.encoded_images import (
    ALPHA16_HW,
    ALPHA_HW,
    BLOCKS_HWD,
    CMYK_HWD,
    COLOUR_ALPHAS,
    COLOURS,
    GREY16_HW,
    GREY_HW,
    INDICES_HW,
    LEVELS_10_BITS_HW,
    LEVELS_12_BITS_HW,
    PREMULTIPLIED_HWD,
    RANDOM,
    RGB16_HWD,
    RGB_HWD,
    RGBA_HWD,
    SIDE,
    TWO_BITS_HW,
    Array,
    Case,
    exif,
    grey,
    over_white,
    palette_image,
    png,
    saved,
    tiff,
    turned,
    twelve_bits,
    upper,
)


def of_cmyk(cmyk_HWD: Array) -> Array:
    inks = cmyk_HWD.astype(float) / 255
    return np.floor(255 * (1 - inks[..., :3]) * (1 - inks[..., 3:]) + 0.5).astype(np.uint8)


def of_ycbcr(ycbcr_HWD: Array) -> Array:
    """JFIF 1.02, page 3."""
    y, cb, cr = (ycbcr_HWD[..., channel].astype(float) - (0, 128, 128)[channel] for channel in range(3))
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 2)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def of_lab(lab_HWD: NDArray) -> Array:
    """CIE L*a*b* (D50) to sRGB, by the Bradford-adapted matrix of the ICC's sRGB profile."""
    light, a, b = lab_HWD[..., 0] * 100 / 255, lab_HWD[..., 1], lab_HWD[..., 2]
    f_y = (light + 16) / 116
    f = np.stack([f_y + a / 500, f_y, f_y - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    to_rgb = np.linalg.inv([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
    linear = np.clip(xyz @ to_rgb.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(srgb * 255).astype(np.uint8)


A_HW, B_HW = np.meshgrid(np.arange(-12, 12, 2), np.arange(-12, 12, 2))
LAB_HWD = np.dstack([np.full((SIDE, SIDE), 150), A_HW, B_HW])
"""a* and b* are signed in a TIFF."""


def _frames() -> tuple[bytes, bytes]:
    pages = [Image.fromarray(RGB_HWD), Image.fromarray(255 - RGB_HWD)]
    return tuple(saved(pages[0], form, save_all=True, append_images=pages[1:]) for form in ("TIFF", "PNG"))


def _formats() -> dict[str, Case]:
    """Colours of 8 bits in every format without loss, with and without alpha."""
    rgb, rgba = Image.fromarray(RGB_HWD), Image.fromarray(RGBA_HWD, "RGBA")
    cases = {
        f"rgb {form}": Case(saved(rgb, form, **options), RGB_HWD)
        for form, options in {
            "PNG": {},
            "BMP": {},
            "DIB": {},
            "TIFF": {},
            "PPM": {},
            "TGA": {},
            "SGI": {},
            "PCX": {},
            "QOI": {},
            "WEBP": {"lossless": True},
            "JPEG2000": {"irreversible": False},
            "AVIF": {"quality": 100, "subsampling": "4:4:4"},
            "ICO": {"sizes": [(SIDE, SIDE)]},
        }.items()
    }
    cases["rgb AVIF"] = Case(cases["rgb AVIF"].content, RGB_HWD, within=3)
    cases |= {
        f"rgba {form}": Case(saved(rgba, form, **options), over_white(RGB_HWD, ALPHA_HW))
        for form, options in {
            "PNG": {},
            "TIFF": {},
            "TGA": {},
            "QOI": {},
            "SGI": {},
            "WEBP": {"lossless": True, "exact": True},
        }.items()
    }
    return cases


def _orientations() -> dict[str, Case]:
    """Pixels stored under each EXIF orientation, and under one of XMP."""
    rgb = Image.fromarray(RGB_HWD)
    cases = {
        f"orientation {turn} {form}": Case(saved(rgb, form, exif=exif(turn), **options), turned(turn))
        for turn in range(1, 9)
        for form, options in (("PNG", {}), ("WEBP", {"lossless": True}))
    }
    cases |= {
        f"orientation {turn} TIFF": Case(
            tiff(RGB_HWD.tobytes(), SIDE, {258: (8, 8, 8), 262: 2, 277: 3, 274: turn}), turned(turn)
        )
        for turn in range(1, 9)
    }
    cases |= {
        f"orientation {turn} JPEG": Case(
            saved(Image.fromarray(BLOCKS_HWD), "JPEG", quality=100, subsampling=0, exif=exif(turn)),
            turned(turn, BLOCKS_HWD),
            within=2,
        )
        for turn in range(1, 9)
    }
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp)
    cases["orientation 6 in XMP, PNG"] = Case(saved(rgb, "PNG", pnginfo=texts), turned(6))
    cases["orientation 6 in XMP, JPEG"] = Case(
        saved(Image.fromarray(BLOCKS_HWD), "JPEG", quality=100, subsampling=0, xmp=xmp.encode()),
        turned(6, BLOCKS_HWD),
        within=2,
    )
    return cases


def _flat_jpegs() -> dict[str, Case]:
    """JPEG of one colour."""
    flat = Image.fromarray(np.full((SIDE, SIDE, 3), (200, 120, 40), np.uint8))
    return {
        "flat JPEG": Case(saved(flat, "JPEG", quality=100, subsampling=0), np.asarray(flat), within=2),
        "flat JPEG, orientation 6": Case(saved(flat, "JPEG", quality=100, exif=exif(6)), np.asarray(flat), within=2),
    }


def _greys() -> dict[str, Case]:
    """Greys of 1 to 16 bits."""
    grey_image, bits_HW = Image.fromarray(GREY_HW), GREY_HW > 127
    return {
        "grey GIF with a transparent level": Case(
            saved(Image.fromarray(GREY_HW), "GIF", transparency=int(GREY_HW[1, 1])),
            grey(np.where(GREY_HW[1, 1] == GREY_HW, 255, GREY_HW)),
        ),
        "grey JPEG": Case(
            saved(Image.new("L", (SIDE, SIDE), 77), "JPEG", quality=100),
            np.full((SIDE, SIDE, 3), 77, np.uint8),
            within=1,
        ),
        "grey PNG": Case(saved(grey_image, "PNG"), grey(GREY_HW)),
        "grey of 2 bits PNG": Case(png(TWO_BITS_HW, 2, 0), grey(TWO_BITS_HW * 85)),
        "grey of 4 bits PNG": Case(png(INDICES_HW, 4, 0), grey(INDICES_HW * 17)),
        "one bit PNG": Case(saved(Image.fromarray(bits_HW), "PNG"), grey(bits_HW * 255)),
        "one bit PBM": Case(saved(Image.fromarray(bits_HW), "PPM"), grey(bits_HW * 255)),
        "one bit TIFF, group 4": Case(
            saved(Image.fromarray(bits_HW), "TIFF", compression="group4"), grey(bits_HW * 255)
        ),
        "grey of 16 bits PNG": Case(png(GREY16_HW, 16, 0), grey(upper(GREY16_HW))),
        "grey of 16 bits TIFF": Case(saved(Image.fromarray(GREY16_HW), "TIFF"), grey(upper(GREY16_HW))),
        "grey of 16 bits TIFF, big-endian": Case(
            saved(Image.fromarray(GREY16_HW.astype(">u2")), "TIFF"), grey(upper(GREY16_HW))
        ),
        "grey of 16 bits TIFF, white is 0": Case(
            tiff(GREY16_HW.tobytes(), SIDE, {258: 16, 262: 0}), grey(255 - upper(GREY16_HW))
        ),
        "grey of 12 bits TIFF": Case(
            tiff(twelve_bits(LEVELS_12_BITS_HW), SIDE, {258: 12, 262: 1}), grey(LEVELS_12_BITS_HW // 16)
        ),
        "grey of 8 bits TIFF, white is 0": Case(tiff(GREY_HW.tobytes(), SIDE, {258: 8, 262: 0}), grey(255 - GREY_HW)),
        "grey of 16 bits PGM": Case(b"P5 12 12 65535\n" + GREY16_HW.astype(">u2").tobytes(), grey(upper(GREY16_HW))),
        "grey of 10 bits PGM": Case(
            b"P5 12 12 1023\n" + LEVELS_10_BITS_HW.astype(">u2").tobytes(),
            grey(LEVELS_10_BITS_HW * 255 / 1023),
            within=1,
        ),
    }


def _deep_and_alpha() -> dict[str, Case]:
    """Colours of 16 bits, and alpha channels."""
    la = Image.merge("LA", [Image.fromarray(GREY_HW), Image.fromarray(ALPHA_HW)])
    return {
        "rgb of 16 bits PNG": Case(png(RGB16_HWD, 16, 2), upper(RGB16_HWD)),
        "rgb of 16 bits TIFF": Case(
            tiff(RGB16_HWD.tobytes(), SIDE, {258: (16, 16, 16), 262: 2, 277: 3}), upper(RGB16_HWD)
        ),
        "rgb of 16 bits PPM": Case(b"P6 12 12 65535\n" + RGB16_HWD.astype(">u2").tobytes(), upper(RGB16_HWD), within=1),
        "rgba of 16 bits PNG": Case(
            png(np.dstack([RGB16_HWD, ALPHA16_HW]), 16, 6), over_white(upper(RGB16_HWD), upper(ALPHA16_HW))
        ),
        "grey and alpha PNG": Case(saved(la, "PNG"), over_white(grey(GREY_HW), ALPHA_HW)),
        "grey and alpha TIFF": Case(saved(la, "TIFF"), over_white(grey(GREY_HW), ALPHA_HW)),
        "grey and alpha of 16 bits PNG": Case(
            png(np.dstack([GREY16_HW, ALPHA16_HW]), 16, 4), over_white(grey(upper(GREY16_HW)), upper(ALPHA16_HW))
        ),
        "premultiplied rgba TIFF": Case(
            tiff(PREMULTIPLIED_HWD.tobytes(), SIDE, {258: (8,) * 4, 262: 2, 277: 4, 338: 1}),
            (PREMULTIPLIED_HWD[..., :3] + (255 - ALPHA_HW)[..., None]),
            within=1,
        ),
        "premultiplied grey TIFF": Case(
            tiff(PREMULTIPLIED_HWD[..., 2:].tobytes(), SIDE, {258: (8, 8), 262: 1, 277: 2, 338: 1}),
            grey(PREMULTIPLIED_HWD[..., 2] + (255 - ALPHA_HW)),
            within=1,
        ),
        "a fourth channel without meaning TIFF": Case(
            tiff(RGBA_HWD.tobytes(), SIDE, {258: (8,) * 4, 262: 2, 277: 4, 338: 0}), RGB_HWD
        ),
    }


def _palettes() -> dict[str, Case]:
    """Palettes, some with transparent colours."""
    return {
        "palette PNG": Case(saved(palette_image(COLOURS, INDICES_HW), "PNG"), COLOURS[INDICES_HW]),
        "palette GIF": Case(saved(palette_image(COLOURS, INDICES_HW), "GIF"), COLOURS[INDICES_HW]),
        "palette BMP": Case(saved(palette_image(COLOURS, INDICES_HW), "BMP"), COLOURS[INDICES_HW]),
        "palette TIFF": Case(saved(palette_image(COLOURS, INDICES_HW), "TIFF"), COLOURS[INDICES_HW]),
        "palette with alphas PNG": Case(
            png(INDICES_HW, 4, 3, (b"PLTE", COLOURS.tobytes()), (b"tRNS", COLOUR_ALPHAS.tobytes())),
            over_white(COLOURS[INDICES_HW], COLOUR_ALPHAS[INDICES_HW]),
        ),
        "palette with one transparent colour PNG": Case(
            png(INDICES_HW, 8, 3, (b"PLTE", COLOURS.tobytes()), (b"tRNS", b"\xff\xff\0")),
            np.where(INDICES_HW[..., None] == 2, 255, COLOURS[INDICES_HW]).astype(np.uint8),
        ),
        "palette with one transparent colour GIF": Case(
            saved(palette_image(COLOURS, INDICES_HW), "GIF", transparency=3),
            np.where(INDICES_HW[..., None] == 3, 255, COLOURS[INDICES_HW]).astype(np.uint8),
        ),
        "palette and alpha TIFF": Case(
            tiff(
                np.dstack([INDICES_HW, ALPHA_HW]).astype(np.uint8).tobytes(),
                SIDE,
                {
                    258: (8, 8),
                    262: 3,
                    277: 2,
                    338: 2,
                    320: tuple((np.vstack([COLOURS, np.zeros((240, 3))]).astype(int) * 257).T.reshape(-1)),
                },
            ),
            over_white(COLOURS[INDICES_HW], ALPHA_HW),
        ),
    }


def _transparent() -> dict[str, Case]:
    """One level or colour that is transparent."""
    bits_HW = GREY_HW > 127
    return {
        "a transparent grey PNG": Case(
            png(GREY_HW // 16, 8, 0, (b"tRNS", struct.pack(">H", 5))),
            grey(np.where(GREY_HW // 16 == 5, 255, GREY_HW // 16)),
        ),
        "a transparent grey of 2 bits PNG": Case(
            png(TWO_BITS_HW, 2, 0, (b"tRNS", struct.pack(">H", 1))),
            grey(np.where(TWO_BITS_HW == 1, 255, TWO_BITS_HW * 85)),
        ),
        "a transparent grey of 4 bits PNG": Case(
            png(INDICES_HW, 4, 0, (b"tRNS", struct.pack(">H", 6))),
            grey(np.where(INDICES_HW == 6, 255, INDICES_HW * 17)),
        ),
        "black is transparent, one bit PNG": Case(
            png(bits_HW.astype(int), 1, 0, (b"tRNS", struct.pack(">H", 0))), grey(np.full((SIDE, SIDE), 255))
        ),
        "a transparent grey of 16 bits PNG": Case(
            png(GREY16_HW, 16, 0, (b"tRNS", struct.pack(">H", int(GREY16_HW[3, 4])))),
            grey(np.where(GREY16_HW[3, 4] == GREY16_HW, 255, upper(GREY16_HW))),
        ),
        "a transparent colour PNG": Case(
            png(RGB_HWD, 8, 2, (b"tRNS", struct.pack(">3H", *RGB_HWD[2, 2].tolist()))),
            np.where((RGB_HWD[2, 2] == RGB_HWD).all(2, keepdims=True), 255, RGB_HWD).astype(np.uint8),
        ),
    }


def _colour_spaces() -> dict[str, Case]:
    """Other colour spaces, and files of several frames."""
    rgb = Image.fromarray(RGB_HWD)
    return {
        "cmyk TIFF": Case(
            saved(Image.frombytes("CMYK", (SIDE, SIDE), CMYK_HWD.tobytes()), "TIFF"), of_cmyk(CMYK_HWD), within=1
        ),
        "cmyk JPEG, inverted as Adobe's": Case(
            saved(Image.new("CMYK", (SIDE, SIDE), (10, 60, 120, 30)), "JPEG", quality=100),
            of_cmyk(np.full((SIDE, SIDE, 4), (10, 60, 120, 30), np.uint8)),
            within=3,
        ),
        "ycbcr TIFF": Case(
            saved(Image.frombytes("YCbCr", (SIDE, SIDE), RGB_HWD.tobytes()), "TIFF"), of_ycbcr(RGB_HWD), within=1
        ),
        "lab TIFF": Case(
            tiff(LAB_HWD.astype(np.int8).tobytes(), SIDE, {258: (8, 8, 8), 262: 8, 277: 3}), of_lab(LAB_HWD), within=3
        ),
        "the first of two pages TIFF": Case(_frames()[0], RGB_HWD),
        "the first of two frames PNG": Case(_frames()[1], RGB_HWD),
        "a colour profile is not applied PNG": Case(saved(rgb, "PNG", icc_profile=b"no profile"), RGB_HWD),
    }


def cases() -> dict[str, Case]:
    """Return every file that is read, by its particular trait."""
    parts = (
        _formats,
        _orientations,
        _flat_jpegs,
        _greys,
        _deep_and_alpha,
        _palettes,
        _transparent,
        _colour_spaces,
    )
    return {name: case for part in parts for name, case in part().items()}


def refused() -> dict[str, tuple[bytes, str]]:
    """Files without one right reading, and what the message says of them."""
    whole = RANDOM.integers(0, 70000, (SIDE, SIDE)).astype(np.int32)
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    bomb = png(np.zeros((1, 1, 3), int), 8, 2).replace(struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), header)
    bomb = bomb[:29] + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + bomb[33:]
    return {
        "float TIFF": (saved(Image.fromarray(GREY_HW.astype(np.float32)), "TIFF"), "has mode 'F': 32-bit floating"),
        "float PFM": (saved(Image.fromarray(GREY_HW.astype(np.float32)), "PPM"), "has mode 'F': 32-bit floating"),
        "32-bit TIFF": (saved(Image.fromarray(whole), "TIFF"), "has mode 'I': 32-bit or signed whole numbers"),
        "signed 16-bit TIFF": (tiff(GREY16_HW.tobytes(), SIDE, {258: 16, 262: 1, 339: 2}), "has mode 'I'"),
        "16 bits with a transparent colour PNG": (
            png(RGB16_HWD, 16, 2, (b"tRNS", struct.pack(">3H", 1, 2, 3))),
            "has 16 bits per channel and a transparent colour",
        ),
        "more pixels than are read": (
            bomb,
            "has 20,000 x 20,000 pixels, and more than 268,435,456 (16,384 x 16,384) are",
        ),
        "PostScript, which others would run": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "cannot be decoded (",
        ),
    }
