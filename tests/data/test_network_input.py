"""Images that are opened with Pillow become what a study's networks take: bit for bit what its validation images do."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from sklearn.datasets import load_digits

from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.decoding.decoder import decode_image, opened_image
from kd_sweep.data.network_input import NetworkInput
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data
from tests.data.decoding.image_cases import cases, refused
from tests.data.encoded_images import RANDOM, RGB_HWD, SIDE, exif, saved

CASES, REFUSED = cases(), refused()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def has_ambiguous_grey(image: Image.Image) -> bool:
    return isinstance(image, PngImageFile) and image.mode == "L" and "transparency" in image.info


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_image_gives_the_pixels_of_its_file_before_and_after_it_is_loaded(name: str) -> None:
    content = CASES[name].content
    expected = decode_image(content, SIDE, name)
    image = opened(content)
    kept = {name: image.info.get(name) for name in ("transparency", "exif")}
    for _ in range(2):
        assert np.array_equal(opened_image(image, SIDE), expected)
    assert {name: image.info.get(name) for name in kept} == kept
    image.load()
    size, loaded = image.size, image.tobytes()
    if has_ambiguous_grey(image):
        with pytest.raises(DataError, match="transparent grey that was loaded before, so that its bits are unknown"):
            opened_image(image, SIDE)
    else:
        assert np.array_equal(opened_image(image, SIDE), expected)
    assert (image.size, image.tobytes()) == (size, loaded), "it is left as it was"


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_study_reads_is_refused_in_one_line(name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(DataError) as caught:
        opened_image(opened(content), SIDE)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_drawn_on_an_opened_image_counts() -> None:
    image = opened(saved(Image.fromarray(RGB_HWD), "PNG", exif=exif(1)))
    image.paste((1, 2, 3), (0, 0, SIDE, SIDE))
    assert np.unique(opened_image(image, SIDE).reshape(3, -1), axis=1).tolist() == [[1], [2], [3]]


@pytest.mark.parametrize("image_size", [8, 16, 11])
def test_digits_of_scikit_learn_are_the_studys(image_size: int) -> None:
    data = Data(image_size=image_size)
    dataset = load_dataset(data)
    of = NetworkInput(data, dataset).of
    expected = {image.numpy().tobytes() for image in dataset.val.images_NDHW}
    mean, std = dataset.mean[0], dataset.std[0]
    made = set()
    for levels in load_digits().images:
        input_1DHW = of(Image.fromarray(np.rint(levels * 255 / 16).astype(np.uint8)))
        assert input_1DHW.shape == (1, 1, image_size, image_size)
        assert input_1DHW.dtype == torch.float32
        made.add(((input_1DHW * std + mean) * 255).round().to(torch.uint8).numpy().tobytes())
    assert expected - made == set(), "each of them, to the last level"


def test_a_digit_as_the_study_keeps_it_and_one_of_another_size_or_colour(tmp_path: Path) -> None:
    data = Data(image_size=16)
    dataset = load_dataset(data)
    of = NetworkInput(data, dataset).of
    pixels_HW = dataset.val.images_NDHW[3, 0].numpy()
    expected = (pixels_HW / 255 - dataset.mean[0]) / dataset.std[0]
    grey = Image.fromarray(pixels_HW)
    grey.save(tmp_path / "digit.png")
    for same in (grey, grey.convert("RGB"), tmp_path / "digit.png", str(tmp_path / "digit.png")):
        assert of(same)[0, 0].numpy() == pytest.approx(expected, abs=1e-5)
    orange = of(Image.new("RGB", (30, 20), (200, 100, 50)))
    assert orange.numpy() == pytest.approx(
        np.full((1, 1, 16, 16), (124 / 255 - dataset.mean[0]) / dataset.std[0]), abs=1e-5
    )
    odd = Image.fromarray(RANDOM.integers(0, 256, (8, 8), dtype=np.uint8))
    assert torch.isfinite(of(odd)).all(), "8 x 8 pixels of other levels"


def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path) -> None:
    data = Data(image_size=8)
    of = NetworkInput(data, load_dataset(data)).of
    for wrong, reason in (
        (np.zeros((8, 8)), "image: ndarray is no image; possible: an image of Pillow, or a path"),
        (tmp_path / "none.png", r"none.png cannot be decoded \(.*No such file"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            of(wrong)
        assert "\n" not in str(caught.value)
