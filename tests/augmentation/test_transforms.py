"""The batched transforms against torchvision's, which work on one image and were written by others."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional as tv

from kd_sweep.augmentation import transforms
from kd_sweep.augmentation.transforms import DRAWS, augment
from kd_sweep.data.normalization import Normalization

IDENTITY = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1), torch.zeros(3, 1, 1))
REFLECTING = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1), None)
ALL = frozenset({"geometry", "flip", "color", "erasing"})


def draws_of(count=1, **values):
    """One row of random numbers per image: 0.5, which is the middle of every range, but for ``values``."""
    draws_BP = torch.full((count, len(DRAWS)), 0.5)
    for name, value in values.items():
        draws_BP[:, DRAWS.index(name)] = value
    return draws_BP


def unit(value, bound):
    """The random number that is mapped to ``value`` in [-bound, bound)."""
    return (value / bound + 1) / 2


def random_pixels(count=4, channels=3, size=16, low=0, high=256):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(low, high, (count, channels, size, size), dtype=torch.uint8, generator=generator)


def smooth_pixels(size=32):
    y, x = torch.meshgrid(torch.linspace(0, 3, size), torch.linspace(0, 3, size), indexing="ij")
    waves = torch.stack([torch.sin(x + y), torch.cos(2 * x - y), torch.sin(y * x)])
    return ((waves + 1) * 127.5).to(torch.uint8)[None]


def test_strength_0_is_the_clean_normalised_image_exactly():
    pixels = random_pixels()
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.2, 0.3, 0.1])[:, None, None]
    shown = augment(pixels, torch.rand(4, len(DRAWS)), 0.0, ALL, Normalization(mean, std, None))
    assert torch.equal(shown, Normalization(mean, std, None).of_pixels(pixels))
    expected = torch.stack([tv.normalize(image.float() / 255, mean.flatten(), std.flatten()) for image in pixels])
    torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)


def test_tiny_strength_is_near_the_clean_image():
    pixels = smooth_pixels().expand(200, -1, -1, -1)
    draws = torch.rand(200, len(DRAWS), generator=torch.Generator().manual_seed(0))
    without_flip = ALL - {"flip"}
    shown = augment(pixels, draws, 1e-4, without_flip, REFLECTING)
    assert (shown - pixels / 255).abs().max() < 0.01


@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, -2), (-5, 4)])
def test_shift_by_whole_pixels_uncovers_background(x, y):
    size, background = 16, 0.25
    pixels = random_pixels(size=size)
    bound = size * transforms.MAX_SHIFT
    draws = draws_of(4, geometry=0.0, shift_x=unit(x, bound), shift_y=unit(y, bound))
    normalization = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1), torch.full((3, 1, 1), background))
    shown = augment(pixels, draws, 1.0, frozenset({"geometry"}), normalization)
    expected = torch.full_like(shown, background)
    rows = slice(max(y, 0), size + min(y, 0)), slice(max(-y, 0), size + min(-y, 0))
    columns = slice(max(x, 0), size + min(x, 0)), slice(max(-x, 0), size + min(-x, 0))
    expected[:, :, rows[0], columns[0]] = pixels[:, :, rows[1], columns[1]] / 255
    torch.testing.assert_close(shown, expected, atol=2e-4, rtol=0)


def test_shift_reflects_where_there_is_no_background():
    pixels = random_pixels(size=16)
    draws = draws_of(4, geometry=0.0, shift_x=unit(3, 16 * transforms.MAX_SHIFT))
    shown = augment(pixels, draws, 1.0, frozenset({"geometry"}), REFLECTING)
    expected = torch.cat([pixels[..., :3].flip(-1), pixels[..., :-3]], dim=-1) / 255
    torch.testing.assert_close(shown, expected, atol=2e-4, rtol=0)


def test_flip_mirrors_left_and_right():
    pixels = random_pixels()
    shown = augment(pixels, draws_of(4, flip=0.0, geometry=0.9), 0.4, frozenset({"geometry", "flip"}), IDENTITY)
    torch.testing.assert_close(shown, pixels.flip(-1) / 255, atol=1e-4, rtol=0)
    unflipped = augment(pixels, draws_of(4, flip=0.0, geometry=0.9), 0.4, frozenset({"geometry"}), IDENTITY)
    torch.testing.assert_close(unflipped, pixels / 255, atol=1e-4, rtol=0)


@settings(max_examples=40)
@given(
    angle=st.floats(-29, 29),
    shear=st.floats(-0.29, 0.29),
    size=st.floats(0.7, 1.45),
    shift=st.tuples(st.integers(-6, 6), st.integers(-6, 6)),
)
def test_geometry_is_torchvisions_affine(angle, shear, size, shift):
    pixels = smooth_pixels()
    draws = draws_of(
        geometry=0.0,
        rotation=unit(angle, transforms.MAX_ROTATION_DEGREES),
        shear=unit(shear, transforms.MAX_SHEAR),
        size=unit(math.log(size), math.log1p(transforms.MAX_SIZE_CHANGE)),
        shift_x=unit(shift[0], 32 * transforms.MAX_SHIFT),
        shift_y=unit(shift[1], 32 * transforms.MAX_SHIFT),
    )
    shown = augment(pixels, draws, 1.0, frozenset({"geometry"}), IDENTITY)
    # torchvision's shear has the other sign, and is an angle.
    shear_degrees = [-math.degrees(math.atan(shear)), 0.0]
    expected = tv.affine(
        pixels.float() / 255, angle, list(shift), size, shear_degrees, tv.InterpolationMode.BILINEAR, fill=0.0
    )
    # At the image's rim torchvision mixes the fill in by another rule.
    inside = tv.affine(
        torch.ones_like(shown), angle, list(shift), size * 0.93, shear_degrees, tv.InterpolationMode.NEAREST, fill=0.0
    )
    assert inside.mean() > 0.2
    assert ((shown - expected).abs() * inside).max() < 0.01


@settings(max_examples=40)
@given(st.floats(0.85, 1.15), st.floats(0.7, 1.3), st.floats(0.3, 1.7))
def test_color_is_torchvisions_three_steps(brightness, contrast, saturation):
    # Middle levels: nothing is clipped on the way, where we clip once and torchvision after each step.
    pixels = random_pixels(low=90, high=160)
    change = transforms.MAX_COLOR_CHANGE
    draws = draws_of(
        4,
        color=0.0,
        brightness=unit(brightness - 1, change),
        contrast=unit(contrast - 1, change),
        saturation=unit(saturation - 1, change),
    )
    shown = augment(pixels, draws, 1.0, frozenset({"color"}), IDENTITY)
    expected = tv.adjust_brightness(pixels.float() / 255, brightness)
    expected = tv.adjust_saturation(tv.adjust_contrast(expected, contrast), saturation)
    torch.testing.assert_close(shown, expected, atol=1e-3, rtol=0)


def test_saturation_has_no_meaning_for_grey_images():
    pixels = random_pixels(channels=1, low=90, high=160)
    grey = Normalization(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), None)
    one, two = (
        augment(pixels, draws_of(4, color=0.0, contrast=0.7, saturation=value), 1.0, frozenset({"color"}), grey)
        for value in (0.1, 0.9)
    )
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    assert (one - pixels / 255).abs().max() > 0.03


def test_colors_stay_in_range():
    draws = torch.rand(500, len(DRAWS), generator=torch.Generator().manual_seed(0))
    shown = augment(random_pixels(500), draws, 1.0, frozenset({"color"}), IDENTITY)
    assert (shown.min(), shown.max()) == (0, 1)


def test_erasing_is_one_rectangle_of_the_mean_colour():
    pixels = random_pixels(2000, size=32, low=1)
    draws = torch.rand(2000, len(DRAWS), generator=torch.Generator().manual_seed(0))
    shown = augment(pixels, draws, 1.0, frozenset({"erasing"}), IDENTITY)
    erased = (shown == 0).all(1)
    unchanged = torch.isclose(shown, pixels / 255, atol=1e-6).all(1)
    assert (erased ^ unchanged).all()
    rectangles = erased.any(1)[:, None, :] & erased.any(2)[:, :, None]
    assert torch.equal(rectangles, erased)
    areas = erased.float().mean((1, 2))
    assert areas.max() < transforms.MAX_ERASED_AREA * 1.15
    # Uniform in [0, bound), with that probability.
    expected = transforms.MAX_ERASED_AREA / 2 * transforms.ERASING_PROBABILITY
    assert areas.mean().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("strength", [0.1, 0.25, 0.5, 1.0])
def test_how_often_each_transform_is_applied(strength):
    pixels = smooth_pixels(16).expand(4000, -1, -1, -1)
    draws = torch.rand(4000, len(DRAWS), generator=torch.Generator().manual_seed(1))

    def share_changed(name):
        shown = augment(pixels, draws, strength, frozenset({name}), IDENTITY)
        return ((shown - pixels / 255).abs().amax((1, 2, 3)) > 1e-3).float().mean().item()

    assert share_changed("geometry") == pytest.approx(min(1, 2 * strength), abs=0.03)
    assert share_changed("color") == pytest.approx(min(1, 2 * strength), abs=0.03)
    assert share_changed("flip") == pytest.approx(min(1, 2 * strength) / 2, abs=0.03)
    # The smallest rectangles hold the centre of no pixel.
    assert transforms.ERASING_PROBABILITY * strength * 0.8 < share_changed("erasing") + 0.03
    assert share_changed("erasing") < transforms.ERASING_PROBABILITY * strength + 0.03


def test_transforms_left_out_change_nothing_of_the_others():
    pixels = random_pixels(64)
    draws = torch.rand(64, len(DRAWS), generator=torch.Generator().manual_seed(2))
    everything = augment(pixels, draws, 0.7, ALL - {"erasing"}, IDENTITY)
    with_erasing = augment(pixels, draws, 0.7, ALL, IDENTITY)
    kept = (with_erasing != 0).any(1, keepdim=True)
    assert torch.equal(everything * kept, with_erasing)


def test_images_move_further_from_the_clean_one_with_strength():
    pixels = smooth_pixels(24).expand(1000, -1, -1, -1)
    draws = torch.rand(1000, len(DRAWS), generator=torch.Generator().manual_seed(4))
    for family in ({"geometry"}, {"color"}, {"erasing"}, ALL):
        distances = [
            (augment(pixels, draws, strength / 10, frozenset(family), REFLECTING) - pixels / 255).square().mean().item()
            for strength in range(11)
        ]
        assert distances[0] < 1e-10
        assert all(lower < higher for lower, higher in pairwise(distances)), family
        assert distances[-1] > 3 * distances[2]
