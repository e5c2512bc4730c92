"""A trial's networks, asked about the original image files through its preprocessing, answer as its row says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torchvision.models import _api, vision_transformer

from kd_sweep import open_results
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.selection import selected_indices
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.handles.trial_results import Epoch
from tests.cifar_archive import needs_archive
from tests.data.readers.cifar_copies import noise_images, write_batches
from tests.handles.image_files import write_cifar_files, write_odd_files
from tests.trained_studies import train_study

BATCH = 256
Labelled = list[tuple[Image.Image, int]]
RESNET = "{model: resnet8, width: 4, epochs: 2}"
VIT = "{model: 'timm:test_vit', epochs: 2, learning_rate: 0.01}"


def study(data: str, network: str = RESNET) -> str:
    learners = f"teacher: {network}\nstudent: {network}\n"
    return f"name: s\ndata: {data}\n{learners}search: {{ensemble_size: {{grid: [2]}}}}\n"


def of_folder(folder: Path) -> Labelled:
    """The validation images of a folder, by class and name, not loaded yet."""
    names = sorted(path.name for path in (folder / "val").iterdir())
    files = [(path, names.index(path.parent.name)) for path in sorted((folder / "val").glob("*/*"))]
    return [(Image.open(path), label) for path, label in files]


def check(root: Path, images: Labelled, epoch: Epoch = "last") -> None:
    """Compare inputs with what the trial saw, and accuracies with its row's, all to the last bit."""
    trial = open_results(root)["s"].best_trial()
    labels_N = torch.tensor([label for _, label in images])
    inputs_NDHW = trial.preprocess(image for image, _ in images)
    config = trial.config
    seen = AugmentationStream(config.stream, resident_dataset(config.data, root))
    assert torch.equal(inputs_NDHW, torch.cat([batch.images_BDHW for batch in seen.clean_batches(seen.dataset.val)]))

    def accuracy(network: nn.Module) -> float:
        with torch.no_grad():
            logits_NC = torch.cat([network(inputs_BDHW) for inputs_BDHW in inputs_NDHW.split(BATCH)])
        return int((logits_NC.argmax(1) == labels_N).sum()) / len(labels_N)

    number = trial.row[f"{epoch}_epoch"]
    (row,) = [row for row in trial.epochs().to_pylist() if row["epoch"] == number]
    assert accuracy(trial.student(epoch)) == row["val_accuracy"]
    accuracies = [accuracy(teacher) for teacher in trial.teachers(epoch)]
    assert row["teacher_accuracy"] == sum(accuracies) / len(accuracies)


def digits(data_of: Callable[[str], object]) -> Labelled:
    """The validation images of scikit-learn's set."""
    whole = load_digits()
    _, val_N = selected_indices(data_of("data"), whole.target, None)
    levels = np.rint(whole.images * 255 / 16).astype(np.uint8)
    return [(Image.fromarray(levels[index]), int(whole.target[index])) for index in val_N]


@pytest.mark.parametrize("image_size", [8, 12])
def test_digits(tmp_path: Path, image_size: int) -> None:
    data = f"{{name: digits, image_size: {image_size}, max_train_images: 200, max_val_images: 300}}"
    spec = train_study(tmp_path, study(data))
    images = digits(lambda section: getattr(spec, section))
    assert len(images) == 300, "two batches"
    check(tmp_path, images)


def test_an_image_folder_of_odd_sizes_and_modes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_odd_files(folder)
    train_study(tmp_path / "root", study(f"{{name: image_folder, path: '{folder}', image_size: 16}}"))
    images = of_folder(folder)
    assert len({image.mode for image, _ in images}) >= 7
    assert len({image.size for image, _ in images}) > 20
    check(tmp_path / "root", images)
    check(tmp_path / "root", images)  # the same images once more: they have been left as they were


@needs_archive
def test_photographs_of_cifar_as_jpeg_files(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_cifar_files(folder)
    train_study(tmp_path / "root", study(f"{{name: image_folder, path: '{folder}', image_size: 32}}"))
    check(tmp_path / "root", of_folder(folder), epoch="best")


def test_images_of_cifars_own_files(tmp_path: Path) -> None:
    _, _, test_NDHW, labels = write_batches(tmp_path / "cifar", "cifar10")
    assert np.array_equal(test_NDHW, noise_images(10))
    train_study(tmp_path / "root", study(f"{{name: cifar10, path: '{tmp_path / 'cifar'}', image_size: 20}}"))
    check(
        tmp_path / "root",
        [(Image.fromarray(pixels.transpose(1, 2, 0)), label) for pixels, label in zip(test_NDHW, labels, strict=True)],
    )


def test_a_vision_transformer(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    folder = tmp_path / "images"
    write_odd_files(folder)
    train_study(tmp_path / "root", study(f"{{name: image_folder, path: '{folder}', image_size: 32}}", VIT))
    check(tmp_path / "root", of_folder(folder))


@pytest.fixture
def small_vit() -> Iterator[str]:
    """The name of a small network of torchvision's class: the smallest that it names has 86 million weights."""

    def vit_of_tests(*, weights: None, **options: Any) -> nn.Module:
        sizes = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
        return vision_transformer.VisionTransformer(**sizes, **options)

    vit_of_tests.__module__ = vision_transformer.__name__
    _api.register_model()(vit_of_tests)
    yield "torchvision:vit_of_tests"
    del _api.BUILTIN_MODELS["vit_of_tests"]


def test_a_vision_transformer_of_torchvision(tmp_path: Path, small_vit: str) -> None:
    folder = tmp_path / "images"
    write_odd_files(folder)
    network = f"{{model: '{small_vit}', epochs: 2, learning_rate: 0.01}}"
    train_study(tmp_path / "root", study(f"{{name: image_folder, path: '{folder}', image_size: 32}}", network))
    check(tmp_path / "root", of_folder(folder))
    trial = open_results(tmp_path / "root")["s"].best_trial()
    assert any(isinstance(module, vision_transformer.VisionTransformer) for module in trial.student().modules())
