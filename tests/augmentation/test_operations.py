"""The operations and policies against torchvision's own AutoAugment, RandAugment and TrivialAugment."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2

from kd_sweep.augmentation.operations import GEOMETRIC, OPERATIONS, apply_operations
from kd_sweep.augmentation.policies import (
    CIFAR10_POLICY,
    COMMON_OPERATIONS,
    FACTORS,
    IMAGENET_POLICY,
    RETHINKKD,
    STANDARD,
    WIDE,
    operation_indices,
)

THEIR_NAMES = {
    **{name: name.title().replace("_", "") for name in OPERATIONS},
    "autocontrast": "AutoContrast",
}


def operated(images, choices, fill=None, ranges=STANDARD):
    """An operation and its level, which may have a sign, for each image."""
    operations = operation_indices([name for name, _ in choices])
    levels = torch.tensor([level for _, level in choices], dtype=torch.float64)
    return apply_operations(images, operations, ranges.magnitudes(operations, levels, images.shape[-1]), fill)


def theirs(image, name, magnitude):
    """Torchvision's operation, which has other magnitudes for factors and solarize."""
    magnitude = magnitude - 1 if name in FACTORS else magnitude / 255 if name == "solarize" else magnitude
    return v2.AutoAugment()._apply_image_or_video_transform(
        image, THEIR_NAMES[name], magnitude, InterpolationMode.NEAREST, {torch.Tensor: None}
    )


def pixels(count=3, channels=3, size=20):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("space", "ranges", "num_bins"),
    [
        (v2.RandAugment._AUGMENTATION_SPACE, STANDARD, 31),
        (v2.TrivialAugmentWide._AUGMENTATION_SPACE, WIDE, 31),
        (v2.AutoAugment._AUGMENTATION_SPACE, STANDARD, 10),
    ],
)
def test_magnitudes_are_torchvisions(space, ranges, num_bins):
    names = [name for name in COMMON_OPERATIONS if THEIR_NAMES[name] in space]
    assert {THEIR_NAMES[name] for name in names} == set(space) - {"Invert"}
    size = 40  # TrivialAugment shifts by up to 32 pixels, whatever the width: not more than it here.
    levels = torch.linspace(0, 1, num_bins, dtype=torch.float64)
    for name in names:
        magnitudes_of, signed = space[THEIR_NAMES[name]]
        operations = operation_indices([name] * num_bins)
        assert ranges.is_signed(operations).all() == signed
        expected = magnitudes_of(num_bins, size, size)
        if expected is None:
            continue
        expected = 1 + expected if name in FACTORS else 255 * expected if name == "solarize" else expected
        ours = ranges.magnitudes(operations, levels, size)
        ours = ours.round() if name == "posterize" else ours
        torch.testing.assert_close(ours, expected.double(), atol=1e-4, rtol=0)
        if signed:
            negative = ranges.magnitudes(operations, -levels, size)
            torch.testing.assert_close(ours + negative, torch.full_like(ours, 2.0 * (name in FACTORS)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*COMMON_OPERATIONS, "invert"])
def test_operations_are_torchvisions(channels, name):
    operations = operation_indices([name] * 61)
    for ranges in (STANDARD, WIDE):
        levels = torch.linspace(-1, 1, 61, dtype=torch.float64)
        levels = levels if ranges.is_signed(operations).all() else levels.abs()
        magnitudes = ranges.magnitudes(operations, levels, 20)
        images = pixels(61, channels)
        ours = apply_operations(images, operations, magnitudes)
        for index, magnitude in enumerate(magnitudes.tolist()):
            magnitude = round(magnitude) if name == "posterize" else magnitude
            difference = (ours[[index]].int() - theirs(images[[index]], name, magnitude).int()).abs()
            # Where a processor rounds products and sums apart, a level can move by one.
            assert difference.max() <= (name in FACTORS), magnitude
            assert (difference > 0).float().mean() < 0.02, magnitude


def test_each_image_has_its_own():
    images = pixels(2 * len(OPERATIONS))
    choices = [(name, level) for level in (0.3, -0.7) for name in OPERATIONS]
    together = operated(images, choices, [10.0, 20.0, 30.0])
    for index, choice in enumerate(choices):
        assert torch.equal(together[index], operated(images[[index]], [choice], [10.0, 20.0, 30.0])[0]), choice
    assert torch.equal(together[0], images[0])


def test_uncovered_pixels_take_the_fill():
    shifted = operated(pixels(1), [("translate_x", 1.0)], [10.0, 20.0, 30.0])
    assert shifted[0, :, 5, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("policy", "published"),
    [(CIFAR10_POLICY, AutoAugmentPolicy.CIFAR10), (IMAGENET_POLICY, AutoAugmentPolicy.IMAGENET)],
)
def test_policies_are_torchvisions(policy, published):
    ours = [[(THEIR_NAMES[name], *rest) for name, *rest in sub_policy] for sub_policy in policy]
    assert ours == [list(sub_policy) for sub_policy in v2.AutoAugment(published)._get_policies(published)]


TIMM_NAMES = {
    **{name: THEIR_NAMES[name] for name in RETHINKKD.drawn},
    **{"translate_x": "TranslateXRel", "translate_y": "TranslateYRel"},
}


def test_the_papers_operations_are_timms():
    """The paper's code has an early copy of timm's RandAugment."""
    timm = pytest.importorskip("timm.data.auto_augment")
    assert {TIMM_NAMES[name] for name in RETHINKKD.drawn} == set(timm._RAND_TRANSFORMS)
    size = 224
    for name in RETHINKKD.drawn:
        operation = operation_indices([name])
        for level in (0.0, 0.31, 0.949, 0.98, 1.0):
            arguments_of = timm.LEVEL_TO_ARG[TIMM_NAMES[name]]
            if arguments_of is None:
                continue
            (expected,) = arguments_of(10 * level, {})[:1]
            expected *= size if name.startswith("translate") else 1
            ours = RETHINKKD.magnitudes(operation, torch.tensor([level], dtype=torch.float64), size).item()
            # timm draws the sign here.
            assert ours == pytest.approx(abs(expected)), (name, level)
            assert RETHINKKD.is_signed(operation).item() == (name in GEOMETRIC)


def test_solarize_add_is_timms():
    timm = pytest.importorskip("timm.data.auto_augment")
    images = pixels(3)
    ours = apply_operations(images, operation_indices(["solarize_add"] * 3), torch.tensor([0.0, 40.0, 110.0]).double())
    for index, added in enumerate((0, 40, 110)):
        expected = timm.solarize_add(Image.fromarray(images[index].permute(1, 2, 0).numpy()), added)
        assert torch.equal(ours[index].permute(1, 2, 0), torch.from_numpy(np.array(expected)))
