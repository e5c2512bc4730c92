"""Class activation maps against the paper's sum over classes, written as loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from kd_sweep.attention.class_activation import class_activation_maps
from kd_sweep.attention.maps import enlarged_to_unit_range
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Learner


def maps_over_images(features, weight, size):
    return enlarged_to_unit_range(class_activation_maps(features, weight), size)


def slow_map(features, weight, size):
    """One class at a time, as Zhou et al. write it, and then the sum over the classes."""
    total = torch.zeros(features.shape[1:], dtype=torch.float64)
    for class_weights in weight.double():
        for channel, class_weight in enumerate(class_weights):
            total += class_weight * features[channel].double()
    enlarged = F.interpolate(total[None, None], size=(size, size), mode="bilinear", align_corners=False)[0, 0]
    return (enlarged - enlarged.min()) / (enlarged.max() - enlarged.min())


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 7), st.integers(2, 9), st.integers(8, 20))
def test_maps_are_the_sum_of_the_class_maps(seed, side, num_classes, num_channels, size):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(3, num_channels, side, side, generator=generator)
    weight = torch.randn(num_classes, num_channels, generator=generator)
    maps = maps_over_images(features, weight, size)
    assert maps.shape == (3, size, size)
    for image in range(3):
        expected = slow_map(features[image], weight, size).float()
        torch.testing.assert_close(maps[image], expected, atol=1e-3, rtol=0)


def test_each_map_reaches_0_and_1():
    maps = maps_over_images(torch.randn(10, 8, 4, 4), torch.randn(5, 8), 16)
    assert maps.amin((1, 2)).tolist() == [0] * 10
    assert maps.amax((1, 2)).tolist() == [1] * 10


@pytest.mark.parametrize("features", [torch.zeros(2, 4, 3, 3), torch.ones(2, 4, 3, 3), torch.full((2, 4, 3, 3), -2.5)])
def test_a_constant_map_is_0_everywhere(features):
    maps = maps_over_images(features, torch.full((3, 4), 0.1), 12)
    assert torch.equal(maps, torch.zeros(2, 12, 12))


@pytest.mark.parametrize("size", [9, 16, 30, 224])
def test_rounding_does_not_make_a_constant_map_a_region(size):
    values_D11 = torch.randn(10, 1, 1, generator=torch.Generator().manual_seed(size))
    maps = maps_over_images(values_D11.expand(50, 10, 4, 4), torch.rand(3, 10), size)
    assert not maps.any()
    almost = values_D11.expand(1, 10, 4, 4).clone()
    almost[..., 0, 0] *= 1.001
    assert maps_over_images(almost, torch.rand(3, 10), size).max() == 1


def test_extreme_features_give_no_nan():
    features = torch.randn(2, 4, 3, 3) * 1e30
    maps = maps_over_images(features, torch.randn(3, 4), 12)
    assert maps.isfinite().all()


def test_no_gradient_is_kept():
    features = torch.randn(2, 4, 3, 3, requires_grad=True)
    weight = torch.randn(3, 4, requires_grad=True)
    assert not class_activation_maps(features, weight).requires_grad


def test_maps_of_a_network_move_with_the_object(noise_dataset):
    model = build_model(Learner(width=8), noise_dataset(channels=1, size=32), 0).eval()
    images = torch.zeros(2, 1, 32, 32)
    images[0, :, 4:12, 4:12] = 3.0
    images[1, :, 20:28, 20:28] = 3.0
    _, features = model.forward_with_features(images)
    # The object may be brighter or darker than the ground in an untrained network's map.
    maps = maps_over_images(features, model.classifier_weight, 32)
    unusual = (maps - maps.flatten(1).median(1).values[:, None, None]).abs()
    for image, rows in enumerate((slice(2, 14), slice(18, 30))):
        assert unusual[image, rows, rows].mean() > 2 * unusual[image].mean()
