"""Networks of plug-ins: what is built of them, and with which message one is refused."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from kd_sweep.attention.maps import attention_maps
from kd_sweep.catalogue import entries
from kd_sweep.catalogue.kinds import NETWORK
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.errors import TrialError
from kd_sweep.networks.backbones import NEEDED
from kd_sweep.networks.classifiers import build_model, initial_model
from kd_sweep.networks.network_checks import check_model
from kd_sweep.study.recipe import Learner, Metrics
from tests.catalogue.modules import error_of, output_of, write_modules
from tests.catalogue_entries import own_entries
from tests.networks.refusals import message_of


class TinyParameters(Parameters):
    depth: int = 1


class Tiny(nn.Module):
    def __init__(self, num_classes, channels, depth):
        super().__init__()
        layers = [nn.Conv2d(6 if index else channels, 6, 3, padding=1) for index in range(depth)]
        self.blocks = nn.Sequential(*layers, nn.ReLU())
        self.head = nn.Linear(6, num_classes)

    def forward(self, images):
        return self.head(self.blocks(images).mean((2, 3)))


class Own(Tiny):
    """Of a classifier that is no `nn.Linear`, with the attributes that say where its map is."""

    features_channels_last = False

    def __init__(self, num_classes, channels, depth):
        super().__init__(num_classes, channels, depth)
        self.weight = nn.Parameter(torch.randn(num_classes, 6))

    @property
    def features(self):
        return self.blocks

    @property
    def classifier_weight(self):
        return self.weight

    def forward(self, images):
        return self.blocks(images).mean((2, 3)) @ self.weight.T

    def forward_with_features(self, images):
        return self(images=images), self.blocks(images)


def tiny(num_classes, channels, _image_size, parameters):
    return Tiny(num_classes, channels, parameters.depth)


def own(num_classes, channels, _image_size, parameters):
    return Own(num_classes, channels, parameters.depth)


def later(num_classes, channels, _image_size, parameters):
    return Later(num_classes, channels, parameters.depth)


class Flattened(nn.Sequential):
    def __init__(self, num_classes, channels, image_size):
        super().__init__(nn.Flatten(), nn.Linear(channels * image_size**2, num_classes))


class Later(Tiny):
    """Raises while it trains, with a batch that the checks do not have."""

    def forward(self, images):
        if len(images) == 3:
            raise ValueError("three\nimages")
        return super().forward(images)


class TwoOutputs(Tiny):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


class Foreign(Own):
    """Whose logits are not those of its map."""

    def forward_with_features(self, images):
        logits, features = super().forward_with_features(images)
        return logits + images[:, 0, 0, :1], features


MISTAKES = {
    "raising": (lambda *_: 1 / 0, "raised ZeroDivisionError: division by zero (test_plugin_networks.py, line "),
    "nothing": (lambda *_: None, "returned a NoneType, not an nn.Module"),
    "empty": (lambda *_: nn.Flatten(), "returned a network without parameters"),
    "fixed": (
        lambda _, channels, *__: Tiny(10, channels, 1),
        "returned logits of shape (2, 10), not (images, classes) ",
    ),
    "grey": (
        lambda classes, *_: Tiny(classes, 1, 1),
        "raised RuntimeError: Given groups=1, weight of size [6, 1, 3, 3]",
    ),
    "nan": (
        lambda *sizes: nn.init.constant_((network := Tiny(*sizes[:2], 1)).head.bias, float("nan")) is None or network,
        "returned logits that are not finite",
    ),
    "two": (lambda *sizes: TwoOutputs(*sizes[:2], 1), "returned a tuple for images, not logits"),
    "flat": (
        lambda *sizes: Flattened(*sizes[:3]),
        f"has no feature map that its classifier reads, so it has no attention map; {NEEDED}",
    ),
    "constant": (
        lambda *sizes: Tiny(*sizes[:2], 1).requires_grad_(False),
        "returned logits that depend on none of its",
    ),
    "foreign": (lambda *sizes: Foreign(*sizes[:2], 1), "has a classifier_weight of another feature map: "),
}


@pytest.fixture(autouse=True)
def registered():
    """Register them as a package `tests` would, for this module alone."""
    mistakes = {name: build for name, (build, _) in MISTAKES.items()}
    with own_entries():
        for name, build in {"tiny": tiny, "own": own, "later": later, "drawing": drawing, **mistakes}.items():
            entries.register(NETWORK, name, parameters=TinyParameters)(build)
        yield


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_with_field_and_entry(name):
    message = message_of(check_model, Learner(model=f"tests:{name}"), "student.model", 8, 3)
    assert message.startswith(f"student.model: 'tests:{name}' {MISTAKES[name][1]}")


@pytest.mark.parametrize("name", ["tests:tiny", "tests:own"])
def test_networks_have_attention_maps_and_their_own_parameters(noise_dataset, name):
    learner = Learner(model=name, depth=2)
    check_model(learner, "student.model", 12, 3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    model = build_model(learner, noise_dataset(), 5).eval()
    assert torch.equal(state, torch.get_rng_state())
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 2
    images = torch.randn(4, 3, 12, 12)
    for kind in ("cam", "grad_cam"):
        logits, maps = attention_maps(model, images, Metrics(attention=kind))
        assert logits.shape == (4, 5)
        assert maps.shape == (4, 12, 12)
        assert maps.amax((1, 2)).tolist() == [1.0] * 4
        torch.testing.assert_close(logits, model.network(images).detach())
    again = build_model(learner, noise_dataset(), 5)
    other = build_model(learner, noise_dataset(), 6)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(model.parameters()), next(other.parameters()))


def drawing(num_classes, channels, _image_size, parameters):
    """Weights from NumPy and from Python's own generator."""
    network = Tiny(num_classes, channels, parameters.depth)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(np.random.standard_normal((num_classes, 6))))
        network.head.bias.fill_(random.random())
    return network


def test_what_is_drawn_from_numpy_and_python_is_a_function_of_the_seed_too(noise_dataset):
    learner = Learner(model="tests:drawing")
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    first = build_model(learner, noise_dataset(), 2**40 + 5).state_dict()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    np.random.seed(2)
    random.seed(2)
    again = build_model(learner, noise_dataset(), 2**40 + 5).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = build_model(learner, noise_dataset(), 6).state_dict()
    assert not torch.equal(other["network.head.weight"], first["network.head.weight"])
    assert not torch.equal(other["network.head.bias"], first["network.head.bias"])


@pytest.mark.parametrize(("name", "head"), [("tests:tiny", "head.weight"), ("tests:own", "weight")])
def test_weights_are_read_by_the_names_that_the_network_has(noise_dataset, tmp_path, name, head):
    file = tmp_path / "w.pth"
    network = build_model(Learner(model=name), noise_dataset(), 9).network
    tensors = network.state_dict()
    torch.save({**tensors, head: torch.zeros(11, 6)} | ({"head.bias": torch.zeros(11)} if "." in head else {}), file)
    learner = Learner(model=name, weights=str(file))
    loaded = initial_model(learner, noise_dataset(), 1).network.state_dict()
    assert torch.equal(loaded["blocks.0.weight"], tensors["blocks.0.weight"])
    assert loaded[head].shape == (5, 6), "a classifier of other classes is left out"
    published = Learner(model=name, weights="pretrained")
    assert "no weights of " in message_of(check_model, published, "teacher.model", 8, 3)


def test_a_pass_that_raises_in_a_trial_is_one_line(noise_dataset):
    model = build_model(Learner(model="tests:later"), noise_dataset(), 0)
    with pytest.raises(TrialError) as caught:
        model(torch.zeros(3, 3, 12, 12))
    message = str(caught.value)
    assert message.startswith("model: 'tests:later' raised ValueError: three images (test_plugin_networks.py, line ")


def test_names_of_plug_ins_that_are_not_loaded(tmp_path):
    program = (
        "from kd_sweep.study.file.load import parse_spec\nparse_spec('name: a\\nteacher: {model: \"hub:x\"}', 'a')"
    )
    assert error_of(program, tmp_path).endswith(
        "teacher.model: 'hub:x' is not an option: no plug-in 'hub' that has a network is loaded; possible: "
        "torchvision:NAME, timm:NAME, or name its module in `plugins`, such as plugins: [hub] (a, line 2)"
    )


PLUGIN = """
from torch import nn
from kd_sweep.catalogue.decorators import network
@network("small")
def small(num_classes, channels, image_size, parameters):
    layers = [nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)]
    return nn.Sequential(*layers)
"""
IDS = """
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.trial import TrialConfig
spec = parse_spec("name: a\\nplugins: [mynets]\\nteacher: {model: 'mynets:small'}", "a.yaml")
one = TrialConfig(teacher=spec.teacher)
two = TrialConfig(student=spec.teacher)
print(one.trial_id, one.teachers[0].teacher_id, two.trial_id, two.teachers[0].teacher_id, TrialConfig().trial_id)
"""


def test_the_source_of_a_network_is_in_the_ids_of_its_teachers_and_trials(tmp_path):
    write_modules(tmp_path, mynets=PLUGIN)
    first, again = (output_of(IDS, tmp_path).split() for _ in range(2))
    assert len(first) == 5, "no error"
    assert first == again
    write_modules(tmp_path, mynets=PLUGIN.replace("nn.ReLU", "nn.GELU"))
    edited = output_of(IDS, tmp_path).split()
    differs = [one != two for one, two in zip(first, edited, strict=True)]
    assert differs == [True, True, True, False, False]
    assert edited[4] == "5c126bca2ff80ab7", "of what is built in, as ever"
