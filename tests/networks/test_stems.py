"""Networks made for 224 pixels at 32: what `stem: small` makes of them."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kd_sweep.attention.maps import attention_maps
from kd_sweep.errors import SpecError
from kd_sweep.networks.classifiers import build_model, initial_model
from kd_sweep.networks.network_checks import check_model
from kd_sweep.networks.recorded_pass import record_pass
from kd_sweep.networks.stems import first_halvings, leave_out
from kd_sweep.study.recipe import Learner, Metrics

QUICK = ["resnet18", "mobilenet_v2", "shufflenet_v2_x1_0", "timm:mobilenetv2_050", "timm:test_resnet"]
SLOW = ["densenet121", "efficientnet_b0", "regnet_y_400mf", "googlenet", "timm:resnet18d", "timm:tf_efficientnet_lite0"]


def small(name, **fields):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    return Learner(model=name, stem="small", **fields)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_32_pixels_end_in_a_map_of_4_x_4(noise_dataset, name):
    learner = small(name)
    check_model(learner, "student.model", 32, 3)
    model = build_model(learner, noise_dataset(size=32), 0)
    images = torch.randn(2, 3, 32, 32)
    logits, features = model.forward_with_features(images)
    assert logits.shape == (2, 5)
    assert features.shape[2:] == (4, 4)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for kind in ("cam", "grad_cam"):
        logits, maps = attention_maps(model.eval(), images, Metrics(attention=kind))
        assert maps.shape == (2, 32, 32)
        assert torch.isfinite(maps).all()
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["resnet18", "timm:mobilenetv2_050"])
def test_weights_of_the_full_network_fit(noise_dataset, tmp_path, name):
    dataset = noise_dataset(size=64)
    tensors = build_model(small(name).model_copy(update={"stem": "full"}), dataset, 9).network.state_dict()
    save_file(tensors, tmp_path / "w.safetensors")
    loaded = initial_model(small(name, weights=str(tmp_path / "w.safetensors")), dataset, 1).network.state_dict()
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in tensors.items())


def test_of_resnet_it_is_the_first_convolution_without_stride_and_no_pooling(noise_dataset):
    """As the same network looks where it is rewritten by hand."""
    from torchvision.models import resnet18

    model = build_model(small("resnet18"), noise_dataset(size=32), 0)
    by_hand = resnet18(num_classes=5)
    by_hand.conv1.stride, by_hand.maxpool = (1, 1), nn.Identity()
    by_hand.load_state_dict(model.network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(by_hand.eval()(images), model.eval()(images))


class TwoWays(nn.Module):
    """A residual block that halves on both of its ways, between two more halvings, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.way = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 8, 1))
        self.last = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.classifier = nn.Linear(8, 5)

    def forward(self, images):
        x = self.stem(images)
        return self.classifier(self.last(self.way(x) + self.shortcut(x)).mean((2, 3)))


def test_ways_beside_each_other_are_one_halving():
    network = TwoWays()
    halvings = first_halvings(record_pass(network, 3, 16, "it"))
    assert halvings == [network.stem, network.way, network.shortcut[0]]
    leave_out(network, halvings)
    assert next(step.output_shape for step in record_pass(network, 3, 16, "it") if step.module is network.last) == (
        2,
        8,
        8,
        8,
    )


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_convnext", "swin_t"])
def test_is_refused_where_there_is_none(name):
    with pytest.raises(SpecError) as caught:
        check_model(small(name), "student.model", 32, 3)
    assert str(caught.value) == (
        f"student.stem: 'small' has no meaning for model {name!r}, which does not begin with two halvings by "
        "convolution or pooling; possible: full, or a model such as resnet18 or mobilenet_v2"
    )


@pytest.mark.parametrize("name", QUICK)
def test_a_map_of_one_point_is_refused_with_a_remedy(name):
    small(name)
    with pytest.raises(SpecError, match=r"1 x 1 at data.image_size 32, .*; take stem: small, a larger image_si"):
        check_model(Learner(model=name), "student.model", 32, 3)


@pytest.mark.parametrize("learner", [Learner(model="swin_t"), small("resnet18")])
def test_the_small_stem_is_a_remedy_only_where_it_helps(learner):
    with pytest.raises(SpecError, match=r"1 x 1 at data.image_size 8, .*; take a larger image_size"):
        check_model(learner, "student.model", 8, 3)
