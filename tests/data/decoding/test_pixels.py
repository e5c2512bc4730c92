"""Files of every kind give the pixels of an independent reading, or one line."""

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data.decoding import pixels
from kd_sweep.data.decoding.decoder import decode_image
from kd_sweep.data.image_formats import FORMATS, SUFFIXES_OF
from kd_sweep.errors import DataError
from tests.data.decoding.image_cases import cases, refused
from tests.data.encoded_images import RANDOM, RGB_HWD, SIDE, exif, png, saved

CASES, REFUSED = cases(), refused()


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_those_of_an_independent_reading(name):
    case = CASES[name]
    shown = decode_image(case.content, len(case.shows), name).transpose(1, 2, 0)
    assert np.abs(shown.astype(int) - case.shows).max() <= case.within


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_one_reading_is_refused_in_one_line(name):
    content, reason = REFUSED[name]
    with pytest.raises(DataError) as caught:
        decode_image(content, SIDE, "scan.tif")
    message = str(caught.value)
    assert message.startswith(f"data.path: image scan.tif {reason}")
    assert "\n" not in message


@pytest.mark.parametrize(
    "form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "SGI", "PCX", "QOI", "WEBP", "JPEG2000", "AVIF", "ICO"]
)
def test_a_file_cut_off_is_damaged_in_every_format(form):
    content = CASES[f"rgb {form}"].content
    for length in (len(content) // 2, len(content) * 3 // 4):
        with pytest.raises(DataError, match=r"cannot be decoded \(.*\); repair or remove it"):
            decode_image(content[:length], SIDE, "cut")


def test_the_crop_is_of_the_upright_image():
    """A photo taken upright: the camera stores it lying, and the middle of the upright image is kept."""
    seen_HWD = np.zeros((30, 20, 3), np.uint8)
    seen_HWD[5:25] = RANDOM.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(seen_HWD)))
    assert lying.size == (30, 20)
    shown = decode_image(saved(lying, "PNG", exif=exif(6)), 20, "upright")
    assert np.array_equal(shown.transpose(1, 2, 0), seen_HWD[5:25])


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    content = saved(Image.fromarray(RGB_HWD), "PNG", exif=exif(orientation))
    assert np.array_equal(decode_image(content, SIDE, "turned").transpose(1, 2, 0), RGB_HWD)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_metadata_turn_nothing():
    content = saved(Image.fromarray(RGB_HWD), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff no metadata")
    assert np.array_equal(decode_image(content, SIDE, "metadata").transpose(1, 2, 0), RGB_HWD)


def test_an_image_of_196_million_pixels_is_read():
    content = png(np.zeros((14000, 14000), np.uint8), 1, 0)
    assert decode_image(content, 8, "scan.png").tolist() == np.zeros((3, 8, 8)).tolist()


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(pixels, "LARGE_PIXELS", SIDE * SIDE - 1)
    decoded = pixels._decoded
    held = []
    monkeypatch.setattr(
        pixels, "_decoded", lambda image: (held.append(pixels._ONE_LARGE_IMAGE.locked()), decoded(image))[1]
    )
    decode_image(CASES["rgb PNG"].content, SIDE, "large")
    monkeypatch.setattr(pixels, "LARGE_PIXELS", SIDE * SIDE)
    decode_image(CASES["rgb PNG"].content, SIDE, "small")
    assert held == [True, False]


def test_formats_of_pillow_are_read_under_all_their_suffixes():
    Image.init()
    others = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IM", "IPTC", "MPEG", "WMF"}
    known = {suffix: form for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    known[".mpo"] = "JPEG"  # which opens it
    assert set(known.values()) - others == set(FORMATS)
    ours = {suffix: form for form, suffixes in SUFFIXES_OF.items() for suffix in suffixes}
    assert ours == {suffix: form for suffix, form in known.items() if form not in others}
