"""Attention maps of a trained network: they lie on the digit, and move with it."""

import pytest
import torch
from torch.nn import functional as F

from kd_sweep.attention.maps import attention_maps
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Learner, Metrics

CANVAS, DIGIT = 24, 12


def placed(digits_N, positions_N2):
    """Digits of 12 x 12 pixels on a canvas of 24 x 24, with upper left corners at these positions (row, column)."""
    canvas = torch.zeros(len(digits_N), 1, CANVAS, CANVAS)
    for image, digit, (row, column) in zip(canvas, digits_N, positions_N2.tolist(), strict=True):
        image[:, row : row + DIGIT, column : column + DIGIT] = digit
    return canvas


@pytest.fixture(scope="module")
def small_digits(digits):
    def shrunk(images):
        return F.interpolate(images.float() / 255, (DIGIT, DIGIT), mode="bilinear", antialias=True)

    return shrunk(digits.train.images_NDHW), digits.train.labels_N, shrunk(digits.val.images_NDHW), digits.val.labels_N


@pytest.fixture(scope="module")
def trained(small_digits, digits):
    """A network that has seen digits at random positions, accuracy on held-out ones over 0.8."""
    train, labels, val, val_labels = small_digits
    model = build_model(Learner(width=8), digits, 0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=6 * 23)
    for _ in range(6):
        for batch in torch.randperm(len(train), generator=generator).split(64)[:23]:
            positions = torch.randint(0, CANVAS - DIGIT + 1, (len(batch), 2), generator=generator)
            loss = F.cross_entropy(model(placed(train[batch], positions)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    positions = torch.randint(0, CANVAS - DIGIT + 1, (len(val), 2), generator=generator)
    with torch.no_grad():
        assert (model(placed(val, positions)).argmax(1) == val_labels).float().mean() > 0.8
    return model


def centres_of_mass(maps_BHW):
    """Row and column, (B, 2)."""
    pixels = torch.arange(maps_BHW.shape[1], dtype=torch.float32)
    rows, columns = maps_BHW.sum(2) @ pixels, maps_BHW.sum(1) @ pixels
    return torch.stack([rows, columns], 1) / maps_BHW.sum((1, 2))[:, None].clamp(min=1e-6)


@pytest.mark.parametrize("kind", ["cam", "grad_cam"])
def test_the_maps_follow_the_digit(trained, small_digits, kind):
    digits = small_digits[2][:100]
    corners = [(0, 0), (0, 12), (12, 0), (12, 12)]
    centres = []
    for corner in corners:
        images = placed(digits, torch.tensor([corner]).expand(len(digits), 2))
        centres.append(centres_of_mass(attention_maps(trained, images, Metrics(attention=kind))[1]))
    shift = torch.stack(centres)
    # From left to right, and from top to bottom, by 12 pixels: the other direction stays.
    for start, end, moved in ((0, 1, 1), (2, 3, 1), (0, 2, 0), (1, 3, 0)):
        difference = shift[end] - shift[start]
        assert difference[:, moved].mean() > 3
        assert (difference[:, moved] > 0).float().mean() > 0.9
        assert difference[:, 1 - moved].mean().abs() < 2


@pytest.mark.parametrize("kind", ["cam", "grad_cam"])
def test_the_maps_change_when_the_digit_moves_a_little(trained, small_digits, kind):
    digits = small_digits[2][:100]
    here, there = (placed(digits, torch.tensor([corner]).expand(len(digits), 2)) for corner in ((6, 6), (6, 9)))
    maps_here, maps_there = (attention_maps(trained, images, Metrics(attention=kind))[1] for images in (here, there))
    moved = (centres_of_mass(maps_there) - centres_of_mass(maps_here))[:, 1]
    assert moved.mean() > 0.5
    assert not torch.equal(maps_here, maps_there)
