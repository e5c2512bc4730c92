"""Initial weights from files and from libraries, and files that are refused."""

import argparse
import itertools
import re

import pytest
import torch
from safetensors.torch import save_file

from kd_sweep.networks.class_token_transformer import class_token_transformer
from kd_sweep.networks.classifiers import build_model, initial_model
from kd_sweep.networks.initial_weights import load_initial_weights
from kd_sweep.networks.network_checks import check_model, with_weights_digest
from kd_sweep.study.recipe import Data, Learner
from kd_sweep.study.trial import TrialConfig
from tests.networks.refusals import message_of

NAMES = ("resnet8", "wrn-10-1", "torchvision:shufflenet_v2_x0_5", "timm:test_vit", "timm:test_resnet")
SLOW = ("timm:swin_tiny_patch4_window7_224", ".safetensors")
LONG = ("swin_t", ".pth")
"""The same network, of the other library."""


def tensors_of(model):
    return getattr(model, "network", model).state_dict()


@pytest.fixture
def saved(tmp_path, noise_dataset):
    """Write the weights of a network of another number of classes and return them with the file."""

    def save(name, suffix, wrap=lambda tensors: tensors):
        dataset = noise_dataset(size=64)
        object.__setattr__(dataset, "class_names", tuple("abcdefghijk"))
        tensors = {
            key: tensor.clone() for key, tensor in tensors_of(build_model(Learner(model=name), dataset, 9)).items()
        }
        file = tmp_path / f"weights{suffix}"
        save_file(tensors, file) if suffix == ".safetensors" else torch.save(wrap(tensors), file)
        return tensors, file

    return save


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        *itertools.product(NAMES, (".safetensors", ".pth")),
        pytest.param(*SLOW, marks=pytest.mark.slow),
        pytest.param(*LONG, marks=pytest.mark.long),
    ],
)
def test_all_but_a_classifier_of_other_classes_is_loaded(saved, noise_dataset, name, suffix):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    tensors, file = saved(name, suffix)
    dataset = noise_dataset(size=64)
    learner = Learner(model=name, weights=str(file))
    check_model(learner, "teacher.model", 64, 3)
    random, loaded = build_model(learner, dataset, 1), initial_model(learner, dataset, 1)
    differing = {key for key, tensor in tensors_of(loaded).items() if tensor.shape != tensors[key].shape}
    assert {key.rpartition(".")[2] for key in differing} == {"weight", "bias"}
    for key, tensor in tensors_of(loaded).items():
        assert torch.equal(tensor, tensors_of(random)[key] if key in differing else tensors[key]), key


def small_vision_transformer(num_classes):
    from torchvision.models import VisionTransformer

    return VisionTransformer(24, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=num_classes)


@pytest.mark.parametrize(("num_classes", "left_out"), [(5, set()), (11, {"heads.head.weight", "heads.head.bias"})])
def test_a_vision_transformer_of_torchvision_keeps_its_classifier_of_other_classes(tmp_path, num_classes, left_out):
    tensors = small_vision_transformer(num_classes).state_dict()
    tensors["heads.head.weight"].normal_()
    save_file(tensors, tmp_path / "w.safetensors")
    network = small_vision_transformer(5)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    learner = Learner(model="vit_b_16", weights=str(tmp_path / "w.safetensors"))
    load_initial_weights(class_token_transformer(network), learner, "teacher.weights")
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[key] if key in left_out else tensors[key]), key


@pytest.mark.parametrize(
    "wrap", [lambda t: {"state_dict": {f"module.{k}": v for k, v in t.items()}, "epoch": 3}, lambda t: {"model": t}]
)
def test_the_usual_wrappings_are_taken_off(saved, noise_dataset, wrap):
    tensors, file = saved("resnet8", ".pth", wrap)
    model = initial_model(Learner(weights=str(file)), noise_dataset(), 1)
    assert torch.equal(model.stem[0].weight, tensors["stem.0.weight"])


def test_published_weights_are_torchvisions_download(saved, noise_dataset, tmp_path, monkeypatch):
    """The file that torchvision would download, put where it keeps downloads."""
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, shufflenet_v2_x0_5

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HUB", raising=False)
    torch.manual_seed(3)
    network = shufflenet_v2_x0_5(weights=None)
    file = tmp_path / "hub" / "checkpoints" / ShuffleNet_V2_X0_5_Weights.DEFAULT.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    learner = Learner(model="torchvision:shufflenet_v2_x0_5", weights="pretrained")
    check_model(learner, "teacher.model", 64, 3)
    assert with_weights_digest(learner, "teacher.weights") == learner
    loaded = initial_model(learner, noise_dataset(size=64), 1)
    assert torch.equal(loaded.network.conv1[0].weight, network.conv1[0].weight)
    assert loaded.network.fc.out_features == 5


class Shout:
    def __reduce__(self):
        return print, ("a pickle ran this",)


def test_mistakes_are_one_line(saved, tmp_path, capsys):
    _, file = saved("resnet8", ".pth")
    other = Learner(model="resnet14", weights=str(file))
    assert f"teacher.weights: '{file}' is not of model 'resnet14': it lacks 'blocks." in message_of(
        check_model, other, "teacher.model", 32, 3
    )
    wider = Learner(model="resnet8", width=8, weights=str(file))
    assert "'stem.0.weight' has shape (16, 3, 3, 3), not (8, 3, 3, 3)" in message_of(
        check_model, wider, "teacher.model", 32, 3
    )
    missing = Learner(weights=str(tmp_path / "none.pth"))
    assert "is no file; possible: pretrained, or a" in message_of(check_model, missing, "student.model", 32, 3)
    (tmp_path / "weights.bin").write_bytes(b"x")
    other_kind = Learner(weights=str(tmp_path / "weights.bin"))
    assert "is no file of weights; possible: .safetensors" in message_of(check_model, other_kind, "a.model", 32, 3)
    assert "teacher.weights: no weights of 'resnet8' are published" in message_of(
        check_model, Learner(weights="pretrained"), "teacher.model", 32, 3
    )
    for content in (b"", file.read_bytes()[:2000]):
        file.write_bytes(content)
        assert "cannot be read as weights (" in message_of(
            check_model, Learner(weights=str(file)), "teacher.model", 32, 3
        )
    torch.save({"a": Shout()}, file)
    assert "cannot be read as weights (" in message_of(check_model, Learner(weights=str(file)), "teacher.model", 32, 3)
    assert capsys.readouterr().out == ""
    torch.save([1, 2], file)
    assert "holds no tensors by name" in message_of(check_model, Learner(weights=str(file)), "teacher.model", 32, 3)


def test_a_teacher_is_named_by_the_content_of_its_weights(saved, tmp_path):
    _, file = saved("resnet8", ".pth")
    (tmp_path / "moved").mkdir()
    copy = tmp_path / "moved" / "w.pth"
    copy.write_bytes(file.read_bytes())
    ids = []
    for weights in (file, copy):
        learner = with_weights_digest(Learner(weights=str(weights)), "teacher.weights")
        ids.append(TrialConfig(data=Data(), teacher=learner).teachers[0].teacher_id)
    assert ids[0] == ids[1] != TrialConfig().teachers[0].teacher_id
    learner = with_weights_digest(Learner(weights=str(file)), "teacher.weights")
    file.write_bytes(file.read_bytes() + b"x")
    assert "is not the file that the study was launched with" in message_of(
        with_weights_digest, learner, "teacher.weights"
    )


def prefixed(prefix):
    return lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("model.module."),
        lambda t: {"model_state_dict": prefixed("module.")(t), "optimizer": {"lr": 0.1}},
        lambda t: {"n_averaged": torch.tensor(3)} | prefixed("module.")(t),
        lambda t: {"state_dict": {"model": t}},
        lambda t: {name: tensor for name, tensor in t.items() if "num_batches_tracked" not in name},
    ],
)
def test_names_and_wrappings_of_other_programs_are_read(saved, noise_dataset, wrap):
    tensors, file = saved("resnet8", ".pth", wrap)
    model = initial_model(Learner(weights=str(file)), noise_dataset(), 1)
    assert torch.equal(model.stem[0].weight, tensors["stem.0.weight"])
    assert torch.equal(model.blocks[2].norm2.running_var, tensors["blocks.2.norm2.running_var"])


def test_old_names_of_densenet_are_read(saved, noise_dataset):
    def old(tensors):
        return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): t for name, t in tensors.items()}

    tensors, file = saved("densenet121", ".pth", old)
    model = initial_model(Learner(model="densenet121", weights=str(file)), noise_dataset(size=64), 1)
    name = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(model.network.state_dict()[name], tensors[name])


@pytest.mark.parametrize(("name", "size"), [("inception_v3", 128), ("googlenet", 64)])
def test_auxiliary_classifiers_of_published_weights_are_left_out(tmp_path, monkeypatch, noise_dataset, name, size):
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HUB", raising=False)
    network = torchvision.models.get_model(name, weights=None, init_weights=False)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    learner = Learner(model=name, weights="pretrained")
    loaded = initial_model(learner, noise_dataset(size=size), 1)
    stem = next(key for key in network.state_dict() if key.endswith("conv.weight"))
    assert torch.equal(loaded.network.state_dict()[stem], network.state_dict()[stem])


def test_a_checkpoint_with_other_objects_is_one_line_of_ours(tmp_path):
    file = tmp_path / "w.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": argparse.Namespace(lr=0.1)}, file)
    message = message_of(check_model, Learner(weights=str(file)), "teacher.model", 32, 3)
    assert message == (
        f"teacher.weights: {file} cannot be read as weights (beside tensors it holds argparse.Namespace, which is not "
        "unpickled); save the model's state_dict() alone"
    )
    file.write_bytes(b"\x1b[31mred")
    assert "\x1b" not in message_of(check_model, Learner(weights=str(file)), "teacher.model", 32, 3)
