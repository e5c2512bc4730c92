"""The operations and policies against torchvision's own AutoAugment, RandAugment and TrivialAugment."""

import pytest
import torch
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode, v2

from kd_sweep.vision.operations import OPERATIONS, SIGNED, STANDARD, WIDE, apply_operations
from kd_sweep.vision.policies import CIFAR10_POLICY, IMAGENET_POLICY

THEIR_NAMES = {
    **{name: name.title().replace("_", "") for name in (*OPERATIONS, "invert")},
    "autocontrast": "AutoContrast",
}


def theirs(transform, images, name, level):
    """Torchvision's operation, at the bin that is ``level`` of its range."""
    space, bins = transform._AUGMENTATION_SPACE, 31
    if isinstance(transform, v2.AutoAugment):
        bins = 10
    magnitudes, signed = space[THEIR_NAMES[name]]
    values = magnitudes(bins, *images.shape[-2:])
    magnitude = 0.0 if values is None else float(values[round(abs(level) * (bins - 1))])
    if signed and level < 0:
        magnitude = -magnitude
    return transform._apply_image_or_video_transform(
        images, THEIR_NAMES[name], magnitude, InterpolationMode.NEAREST, {torch.Tensor: None}
    )


def pixels(count=3, channels=3, size=20):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


def test_the_list_is_torchvisions():
    assert {THEIR_NAMES[name] for name in OPERATIONS} == set(v2.RandAugment._AUGMENTATION_SPACE)
    assert {THEIR_NAMES[name] for name in OPERATIONS} == set(v2.TrivialAugmentWide._AUGMENTATION_SPACE)
    assert {THEIR_NAMES[name] for name in SIGNED} == {
        name for name, (_, signed) in v2.RandAugment._AUGMENTATION_SPACE.items() if signed
    }


@pytest.mark.parametrize(
    ("transform", "ranges", "bins"),
    [
        (v2.RandAugment(), STANDARD, 30),
        (v2.TrivialAugmentWide(), WIDE, 30),
        (v2.AutoAugment(), STANDARD, 9),
    ],
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_torchvisions(transform, ranges, bins, name):
    # TrivialAugment shifts by up to 32 pixels, whatever the width: not more than it here.
    images = pixels(size=40 if ranges is WIDE else 20)
    if THEIR_NAMES[name] not in transform._AUGMENTATION_SPACE:
        pytest.skip("AutoAugment does not have it")
    for bin_ in (0, bins // 3, bins):
        for sign in (1, -1) if name in SIGNED else (1,):
            level = sign * bin_ / bins
            ours = apply_operations(images, [(name, level)] * len(images), None, ranges)
            difference = (ours.int() - theirs(transform, images, name, level).int()).abs()
            # Their factors are rounded to single precision, which can move a level by one.
            assert difference.max() <= (name in ("brightness", "color", "contrast", "sharpness")), (name, level)
            assert (difference > 0).float().mean() < 0.1, (name, level)


def test_invert_is_torchvisions():
    ours = apply_operations(pixels(), [("invert", 0.0)] * 3, None)
    assert torch.equal(ours, 255 - pixels())


def test_each_image_has_its_own():
    images = pixels(5)
    choices = [("rotate", 0.5), ("identity", 0.3), ("rotate", -0.5), ("invert", 0.0), ("rotate", 0.5)]
    together = apply_operations(images, choices, [10.0, 20.0, 30.0])
    for place, choice in enumerate(choices):
        assert torch.equal(together[place], apply_operations(images[[place]], [choice], [10.0, 20.0, 30.0])[0])
    assert torch.equal(together[1], images[1])


def test_uncovered_pixels_take_the_fill():
    shifted = apply_operations(pixels(1), [("translate_x", 1.0)], [10.0, 20.0, 30.0])
    assert shifted[0, :, 5, 0].tolist() == [10, 20, 30]


def test_grey_images():
    for name in (*OPERATIONS, "invert"):
        assert apply_operations(pixels(channels=1), [(name, 0.7)] * 3, [0.0]).shape == (3, 1, 20, 20)


@pytest.mark.parametrize(
    ("policy", "published"),
    [(CIFAR10_POLICY, AutoAugmentPolicy.CIFAR10), (IMAGENET_POLICY, AutoAugmentPolicy.IMAGENET)],
)
def test_policies_are_torchvisions(policy, published):
    ours = [[(THEIR_NAMES[name], *rest) for name, *rest in sub_policy] for sub_policy in policy]
    assert ours == [list(sub_policy) for sub_policy in v2.AutoAugment(published)._get_policies(published)]
