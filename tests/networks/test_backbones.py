"""Networks of torchvision and timm: which are taken, with what feature map, and which are refused."""

import importlib
import importlib.util
import itertools
import sys

import pytest
import torch

from kd_sweep.attention.maps import attention_maps
from kd_sweep.errors import SpecError
from kd_sweep.networks.class_token_transformer import ClassTokenTransformer
from kd_sweep.networks.classifier_interface import Classifier
from kd_sweep.networks.classifiers import build_model
from kd_sweep.networks.network_checks import check_model
from kd_sweep.study.recipe import Learner, Metrics
from tests.networks.refusals import message_of

QUICK = ["resnet18", "shufflenet_v2_x0_5", "timm:test_convnext", "timm:test_resnet", "timm:test_efficientnet"]
SLOW = [
    *("densenet121", "mobilenet_v2", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf", "googlenet", "convnext_tiny"),
    *("swin_t", "timm:swin_tiny_patch4_window7_224", "timm:regnety_002", "timm:efficientnet_lite0"),
]
REFUSED = {
    "vgg11": "has no feature map that its classifier reads",
    "alexnet": "has no feature map that its classifier reads",
    "mobilenet_v3_small": "has no feature map that its classifier reads",
    "squeezenet1_1": "has no linear classifier",
    "timm:mobilenetv3_small_050": "has no feature map that its classifier reads",
    "timm:pit_ti_224": "has no feature map that its classifier reads",
    "timm:vit_base_patch16_siglip_224": "has no feature map that its classifier reads",
}


def need_timm(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        *itertools.product(QUICK, (1, 3)),
        *(pytest.param(name, 3, marks=pytest.mark.slow) for name in SLOW),
        *(pytest.param(name, 1, marks=pytest.mark.long) for name in SLOW),
    ],
)
def test_taken(noise_dataset, name, channels):
    need_timm(name)
    learner = Learner(model=name)
    check_model(learner, "teacher.model", 64, channels)
    model = build_model(learner, noise_dataset(channels=channels, size=64), 0)
    assert isinstance(model, Classifier)
    images = torch.randn(2, channels, 64, 64)
    logits, features = model.eval().forward_with_features(images)
    assert logits.shape == (2, 5)
    assert torch.equal(logits, model(images))
    assert features.shape[:2] == (2, model.classifier_weight.shape[1])
    assert min(features.shape[2:]) >= 2
    assert model.classifier_weight.shape[0] == 5
    # Between two images the logits differ as the means of their features do, by the whole classifier; else biases do.
    expected = (features.mean((2, 3)) @ model.classifier_weight.T).diff(dim=0)
    torch.testing.assert_close(logits.diff(dim=0), expected, atol=1e-4, rtol=1e-3)
    model.train()
    assert isinstance(model(images), torch.Tensor), "no auxiliary outputs while training"


@pytest.mark.parametrize("name", ["timm:swiftformer_xs", "timm:efficientformerv2_s0", "timm:levit_128s"])
def test_two_classifiers_whose_logits_are_averaged_are_refused(name):
    need_timm(name)
    size = 64 if "swift" in name else 224
    message = message_of(check_model, Learner(model=name), "student.model", size, 3)
    assert message.startswith(f"student.model: {name!r} has")


def test_layer_norm_behind_the_pooling_is_a_part_of_the_map(noise_dataset):
    """Whatever its scale and shift are, which training moves."""
    need_timm("timm:")
    model = build_model(Learner(model="timm:test_convnext"), noise_dataset(size=64), 0).eval()
    norm = model.network.head.norm
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    logits, features = model.forward_with_features(torch.randn(2, 3, 64, 64))
    expected = (features.mean((2, 3)) @ model.classifier_weight.T).diff(dim=0)
    torch.testing.assert_close(logits.diff(dim=0), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenet_v2", "timm:test_resnet"),
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("swin_t", marks=pytest.mark.slow),
        pytest.param("timm:swin_tiny_patch4_window7_224", marks=pytest.mark.slow),
    ],
)
def test_features_are_what_the_classifier_pools(noise_dataset, name):
    """In these networks nothing lies between the map, its mean over the pixels, and the linear layer (but dropout)."""
    need_timm(name)
    model = build_model(Learner(model=name), noise_dataset(size=64), 0).eval()
    logits, features = model.forward_with_features(torch.randn(2, 3, 64, 64))
    bias = model.network.get_submodule(model._classifier).bias
    expected = features.mean((2, 3)) @ model.classifier_weight.T + bias
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["timm:test_vit", "timm:vit_tiny_patch16_224", pytest.param("vit_b_16", marks=pytest.mark.slow)]
)
def test_transformers_that_read_a_class_token_are_taken(noise_dataset, name):
    need_timm(name)
    check_model(Learner(model=name), "teacher.model", 64, 1)
    model = build_model(Learner(model=name), noise_dataset(channels=1, size=64), 0).eval()
    assert isinstance(model, ClassTokenTransformer)
    images = torch.randn(2, 1, 64, 64)
    logits, maps = attention_maps(model, images, Metrics(attention="cam"))
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits, model(images).detach())
    assert maps.shape == (2, 64, 64)
    assert maps.amax((1, 2)).tolist() == [1.0, 1.0]


def test_a_transformer_with_one_patch_is_refused():
    need_timm("timm:")
    message = message_of(check_model, Learner(model="timm:vit_tiny_patch16_224"), "teacher.model", 16, 3)
    assert message.startswith("teacher.model: 'timm:vit_tiny_patch16_224' has 1 x 1 patches at data.image_size 16, ")


def test_gradients_reach_all_weights_through_the_features(noise_dataset):
    model = build_model(Learner(model="resnet18"), noise_dataset(size=64), 0)
    logits, _ = model.forward_with_features(torch.randn(2, 3, 64, 64))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *REFUSED.items(),
        *(
            pytest.param(name, "has no feature map that its classifier reads", marks=pytest.mark.slow)
            for name in ("timm:volo_d1_224", "timm:tnt_s_patch16_224")
        ),
    ],
)
def test_refused(name, reason):
    need_timm(name)
    message = message_of(check_model, Learner(model=name), "student.model", 224, 3)
    assert message.startswith(f"student.model: {name!r} {reason}")
    assert "possible: resnet8 … resnet110, " in message


def test_refused_when_built_too(noise_dataset):
    message = message_of(build_model, Learner(model="mobilenet_v3_small"), noise_dataset(size=64), 0)
    assert message.startswith("model: 'mobilenet_v3_small' has no feature map")


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "timm:convnext_atto", "timm:densenet121"])
def test_refused_where_the_map_is_one_point(name):
    need_timm(name)
    message = message_of(check_model, Learner(model=name), "teacher.model", 32, 3)
    assert message.startswith(f"teacher.model: {name!r} leaves a feature map of 1 x 1 at data.image_size 32")


def test_images_too_small_for_the_network():
    message = message_of(check_model, Learner(model="inception_v3"), "teacher.model", 64, 3)
    assert message.startswith(
        "teacher.model: 'inception_v3' does not take images of data.image_size 64 with 3 channels ("
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-18", "teacher.model: 'resnet-18' is not a model; did you mean 'resnet18'?"),
        ("rasnet8", "teacher.model: 'rasnet8' is not a model; did you mean 'resnet8'?"),
        (
            "torchvision:resnt50",
            "teacher.model: 'resnt50' is not a model; did you mean 'resnet50'?",
        ),
        ("timm:swin_tiny", "teacher.model: 'swin_tiny' is not a classifier of timm; did you mean 'sw"),
        (
            "torchvision:resnet8",
            "teacher.model: 'resnet8' is not a classifier of torchvision; did you mean 'resnet18'?",
        ),
        ("fasterrcnn_resnet50_fpn", "teacher.model: 'fasterrcnn_resnet50_fpn' is not a model; "),
        ("qqqq", "teacher.model: 'qqqq' is not a model; possible: resnet8 … resnet110, resnet18, "),
        ("", "teacher.model: '' is not a model; possible: "),
    ],
)
def test_unknown_names(name, message):
    need_timm("timm:")
    assert message_of(check_model, Learner(model=name), "teacher.model", 64, 3).startswith(message)


def test_plain_names_are_built_in_first_then_of_torchvision(noise_dataset):
    need_timm("timm:")
    dataset = noise_dataset(size=64)
    modules = {
        name: type(getattr(build_model(Learner(model=name), dataset, 0), "network", None)).__module__.partition(".")[0]
        for name in ("resnet18", "timm:resnet18", "resnet10t", "timm:resnet26")
    }
    assert modules == {"resnet18": "torchvision", "timm:resnet18": "timm", "resnet10t": "timm", "timm:resnet26": "timm"}
    assert not hasattr(build_model(Learner(model="resnet26"), dataset, 0), "network")


def test_without_timm_the_message_has_its_installation(monkeypatch):
    """Where timm is neither found nor can be imported."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "timm" else find(name, *rest))
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.setitem(sys.modules, name, None)
    explicit, plain = (
        message_of(check_model, Learner(model=name), "teacher.model", 64, 3) for name in ("timm:resnet10t", "resnet10t")
    )
    install = "pip install -e '.[timm]' in the checkout"
    assert explicit == f"teacher.model: 'timm:resnet10t' needs timm, which is not installed; {install}"
    assert plain.startswith("teacher.model: 'resnet10t' is neither built in nor a classifier of torchvision; ")
    assert plain.endswith(f"those of timm after {install}")
    check_model(Learner(model="resnet18"), "teacher.model", 64, 3)


def num_parameters(name):
    """Counted without allocating them; infinite where a constructor needs real tensors."""
    try:
        with torch.device("meta"):
            network = importlib.import_module("timm").create_model(name)
    except NotImplementedError:
        return float("inf")
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("part", [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)])
def test_no_small_timm_network_is_taken_wrongly(noise_dataset, part):
    """Of every family of timm one small network: refused in one line at launch, or built and of one piece.

    Part 0 is every fifth family, part 1 are the others.
    """
    timm = pytest.importorskip("timm")
    entrypoint = importlib.import_module("timm.models").model_entrypoint
    families = {}
    for name in timm.list_models(exclude_filters="test_*"):
        small = any(part in name for part in ("nano", "atto", "femto", "pico", "tiny", "small", "xxs", "_s0", "_050"))
        families.setdefault(entrypoint(name).__module__, []).append((not small, len(name), name))
    dataset = noise_dataset(size=224)
    taken = []
    for number, family in enumerate(sorted(families)):
        if (number % 5 == 0) != (part == 0):
            continue
        name = min(families[family])[2]
        if num_parameters(name) > 12e6:
            continue
        learner = Learner(model=f"timm:{name}")
        try:
            check_model(learner, "teacher.model", 224, 3)
        except SpecError:
            continue
        assert isinstance(build_model(learner, dataset, 0), Classifier | ClassTokenTransformer)
        taken.append(name)
    assert len(taken) >= (3, 10)[part], taken
