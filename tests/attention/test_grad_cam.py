"""The oracle is captum's LayerGradCam; where pooling and a linear layer follow the features, also a closed form."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn
from torch.nn import functional as F

from kd_sweep.attention.gradient_activation import gradient_activation_maps
from kd_sweep.attention.maps import attention_maps, enlarged_to_unit_range
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Learner, Metrics


class WithHead(nn.Module):
    """A network whose head is not linear, so that its gradients differ from position to position."""

    def __init__(self, channels_last):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.Tanh())
        self.channels_last = channels_last
        if channels_last:
            self.features.append(Permuted())
        self.head = nn.Sequential(
            nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * 49, 16), nn.ReLU(), nn.Linear(16, 5)
        )

    def forward(self, images):
        return self.head(self.features(images))


class Permuted(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


def captums(model, layer, images):
    """Captum's map, enlarged and scaled as ours."""
    target = model(images).argmax(1)
    maps = LayerGradCam(model, layer).attribute(images, target=target, relu_attributions=True)
    maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0].detach()
    lowest, highest = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(highest > lowest, (maps - lowest) / (highest - lowest), 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_of_a_head_that_is_not_linear_is_captums(seed):
    torch.manual_seed(seed)
    model, images = WithHead(channels_last=False).eval(), torch.randn(4, 3, 30, 30)
    logits, maps = gradient_activation_maps(model, model.features, False, images)
    maps = enlarged_to_unit_range(maps, 30)
    torch.testing.assert_close(maps, captums(model, model.features, images), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, model(images).detach())
    assert maps.amax((1, 2)).tolist() == [1.0] * 4


@pytest.mark.parametrize("seed", range(3))
def test_of_a_residual_network_is_captums(seed, noise_dataset):
    model = build_model(Learner(width=8), noise_dataset(channels=1, size=32), seed).eval()
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    _, maps = attention_maps(model, images, Metrics(attention="grad_cam"))
    torch.testing.assert_close(maps, captums(model, model.blocks, images), atol=1e-5, rtol=0)


def test_with_pooling_and_a_linear_layer_is_the_predicted_classs_activation_map(noise_dataset):
    """The gradient is then the classifier's own weight, divided by the pixels."""
    model = build_model(Learner(width=8), noise_dataset(channels=1, size=32), 0).eval()
    images = torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    logits, features = model.forward_with_features(images)
    weight = model.classifier_weight[logits.argmax(1)]
    expected = (features * weight[:, :, None, None]).sum(1).relu().detach()
    expected = F.interpolate(expected[:, None], (32, 32), mode="bilinear", align_corners=False)[:, 0]
    expected = (expected - expected.amin((1, 2), True)) / (expected.amax((1, 2), True) - expected.amin((1, 2), True))
    torch.testing.assert_close(
        attention_maps(model, images, Metrics(attention="grad_cam"))[1], expected, atol=1e-5, rtol=0
    )


def test_channels_last_is_the_same_network_in_another_layout():
    first, last = WithHead(channels_last=False).eval(), WithHead(channels_last=True).eval()
    last.load_state_dict(first.state_dict())
    weight = first.head[2].weight.detach()
    last.head[2].weight.data = weight.unflatten(1, (6, 7, 7)).permute(0, 2, 3, 1).flatten(1)
    images = torch.randn(3, 3, 30, 30)
    torch.testing.assert_close(
        gradient_activation_maps(last, last.features, True, images),
        gradient_activation_maps(first, first.features, False, images),
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_leaves_nothing_behind(frozen):
    model = WithHead(channels_last=False).eval().requires_grad_(not frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        logits, maps = gradient_activation_maps(model, model.features, False, torch.randn(3, 3, 30, 30))
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert not logits.requires_grad
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.features._forward_hooks


def test_a_map_without_support_for_the_class_is_0():
    model = WithHead(channels_last=False).eval()
    nn.init.zeros_(model.head[-1].weight)
    _, maps = gradient_activation_maps(model, model.features, False, torch.randn(2, 3, 30, 30))
    assert torch.equal(maps, torch.zeros(2, 7, 7))


def test_an_error_in_the_network_leaves_the_gradient_mode_as_it_was():
    model = WithHead(channels_last=False).eval()
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            gradient_activation_maps(model, model.features, False, torch.randn(2, 3, 10, 10))
        assert not torch.is_grad_enabled()
    assert not model.features._forward_hooks
