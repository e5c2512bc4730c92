"""Networks by name: sizes, interface, determinism and refusals."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from kd_sweep.networks.classifier_interface import Classifier
from kd_sweep.networks.classifiers import build_for, build_model
from kd_sweep.networks.entries.cifar_resnet import DEPTHS
from kd_sweep.networks.entries.wrn import PUBLISHED
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.recipe import Learner
from tests.networks.refusals import message_of


def state_equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_built_in_names_are_6n_plus_2_without_the_well_known_50():
    assert all(name == f"resnet{depth}" for name, depth in DEPTHS.items())
    assert list(DEPTHS.values()) == [depth for depth in range(8, 111) if depth % 6 == 2 and depth != 50]


@pytest.mark.parametrize(("depth", "published"), [(20, 0.27e6), (32, 0.46e6), (56, 0.85e6), (110, 1.7e6)])
def test_sizes_are_those_of_the_paper(noise_dataset, depth, published):
    """He et al. 2015, table 6: parameters on CIFAR-10, rounded there to two digits."""
    dataset = noise_dataset(size=32)
    with torch.device("meta"):
        model = build_model(Learner(model=f"resnet{depth}"), dataset, 0)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(published, rel=0.03)


def test_depth_counts_the_convolutions_and_the_classifier(noise_dataset):
    for name in ("resnet8", "resnet26"):
        model = build_model(Learner(model=name), noise_dataset(), 0)
        layers = [
            layer
            for path, layer in model.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in path
        ]
        assert len(layers) == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 12, 17, 32])
def test_shapes_of_logits_features_and_weight(noise_dataset, channels, size):
    model = build_model(Learner(width=6), noise_dataset(channels=channels, size=size), 0)
    assert isinstance(model, Classifier)
    images = torch.randn(3, channels, size, size)
    logits, features = model.forward_with_features(images)
    quarter = -(-size // 4)
    assert logits.shape == (3, 5)
    assert features.shape == (3, 24, quarter, quarter)
    assert model.classifier_weight.shape == (5, 24)


def test_logits_are_the_classifier_of_the_pooled_features(noise_dataset):
    model = build_model(Learner(), noise_dataset(), 0).eval()
    images = torch.randn(4, 3, 12, 12)
    logits, features = model.forward_with_features(images)
    torch.testing.assert_close(logits, features.mean((2, 3)) @ model.classifier_weight.T + model.classifier.bias)
    assert torch.equal(logits, model(images))


def test_width_is_the_first_stages_channels(noise_dataset):
    for width, expected in ((None, 16), (8, 8), (40, 40)):
        model = build_model(Learner(width=width), noise_dataset(), 0)
        assert model.stem[0].out_channels == expected
        assert model.classifier.in_features == 4 * expected


@pytest.mark.parametrize("name", ["resnet8", "torchvision:shufflenet_v2_x0_5", "timm:resnet10t"])
def test_weights_are_a_function_of_the_seed_alone(noise_dataset, name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    dataset = noise_dataset(size=64)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_model(Learner(model=name), dataset, 5)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert state_equal(first, build_model(Learner(model=name), dataset, 5))
    assert not state_equal(first, build_model(Learner(model=name), dataset, 6))
    assert first.training


def test_built_in_names_load_no_model_library():
    program = (
        "import sys, torch\n"
        "from kd_sweep.study.recipe import Data, Learner\n"
        "from kd_sweep.networks.classifiers import build_model\n"
        "from kd_sweep.networks.network_checks import check_model\n"
        "from kd_sweep.data.dataset import Dataset, ImageSet\n"
        "images = ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))\n"
        "check_model(Learner(), 'teacher.model', 8, 1)\n"
        "build_model(Learner(), Dataset(images, images, ('a', 'b'), False), 0)\n"
        "print({'torchvision', 'timm', 'kornia'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "model: resnet18, width: 8",
            "width: 8 has no effect with model 'resnet18'; possible: with resnet8 … resnet110",
        ),
        (
            "model: wrn-16-2, width: 8",
            "width: 8 has no effect with model 'wrn-16-2'; possible: with resnet8 … resnet110",
        ),
        (
            "stem: small",
            "stem: 'small' has no effect with model 'resnet8'; possible: with a network of torchvision or timm, such "
            "as resnet18",
        ),
    ],
)
def test_parameters_of_other_networks(section, message):
    text = f"name: a\nteacher: {{{section}}}"
    assert message_of(parse_spec, text, "a.yaml") == f"teacher.{message} (a.yaml, line 2)"


def test_parameters_of_other_networks_may_stand_at_their_defaults():
    """As they do in frozen studies of when every network had them."""
    spec = parse_spec("name: a\nteacher: {model: wrn-16-2, width: 16, stem: full}\nstudent: {width: null}", "a.yaml")
    assert spec.teacher == Learner(model="wrn-16-2")
    assert spec.student == Learner()


@pytest.mark.parametrize("name", [*DEPTHS, *PUBLISHED])
def test_built_in_networks_take_images_of_every_size(name):
    with torch.device("meta"):
        model = build_for(Learner(model=name), 5, 3, 8)
        logits, features = model.forward_with_features(torch.zeros(2, 3, 8, 8))
    assert logits.shape == (2, 5)
    assert min(features.shape[2:]) >= 2


def test_learns_a_little_in_a_few_steps(digits):
    model = build_model(Learner(width=8), digits, 0)
    images = digits.train.images_NDHW[:256].float() / 255
    labels = digits.train.labels_N[:256]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
