"""Loaded datasets: the digits of scikit-learn, statistics, and what a launch loads of torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data


def test_digits_are_scikit_learns(digits):
    assert (len(digits.train), len(digits.val)) == (1438, 359)
    assert digits.train.images_NDHW.shape == (1438, 1, 16, 16)
    assert digits.train.images_NDHW.dtype == torch.uint8
    assert (digits.num_classes, digits.channels, digits.image_size) == (10, 1, 16)
    assert digits.class_names == tuple("0123456789")
    assert not digits.horizontal_flip
    counts = torch.bincount(torch.cat([digits.train.labels_N, digits.val.labels_N]))
    assert counts.tolist() == np.bincount(load_digits().target).tolist()


def test_digits_at_their_own_size_are_unchanged():
    dataset = load_dataset(Data(image_size=8))
    images = {image.tobytes() for image in load_digits().images.astype(np.uint8)}
    shown = torch.cat([dataset.train.images_NDHW, dataset.val.images_NDHW]).double() * 16 / 255
    assert torch.allclose(shown, shown.round(), atol=0.04)
    assert {image.numpy().tobytes() for image in shown.round().to(torch.uint8)[:, 0]} == images


def test_enlarged_digits_agree_with_pil():
    dataset, original = (load_dataset(Data(image_size=size)) for size in (32, 8))
    for index in range(5):
        digit = Image.fromarray(original.train.images_NDHW[index, 0].numpy())
        expected = np.asarray(digit.resize((32, 32), Image.Resampling.BILINEAR), dtype=int)
        assert np.abs(dataset.train.images_NDHW[index, 0].numpy().astype(int) - expected).max() <= 2


def test_training_and_validation_share_no_digit():
    dataset = load_dataset(Data(image_size=8, validation_fraction=0.5, split_seed=3))
    all_images = torch.cat([dataset.train.images_NDHW, dataset.val.images_NDHW]).flatten(1)
    assert len(all_images) == 1797
    assert len(torch.unique(all_images, dim=0)) == len(np.unique(load_digits().data, axis=0))


def test_limits_keep_part_of_the_same_split():
    whole, part = (load_dataset(Data(image_size=8, max_train_images=limit, max_val_images=20)) for limit in (None, 100))
    assert (len(part.train), len(part.val)) == (100, 20)
    assert set(part.train.labels_N.tolist()) == set(range(10))
    rows = {row.numpy().tobytes() for row in whole.train.images_NDHW}
    assert all(row.numpy().tobytes() in rows for row in part.train.images_NDHW)


def test_mean_and_std_are_those_of_the_pixels(noise_dataset):
    dataset = noise_dataset()
    pixels = dataset.train.images_NDHW.double().numpy() / 255
    assert dataset.mean == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-12)
    assert dataset.std == pytest.approx(pixels.std((0, 2, 3)), abs=1e-12)


def test_std_of_a_constant_channel_can_be_divided_by(noise_dataset):
    dataset = noise_dataset()
    dataset.train.images_NDHW[:, 1] = 7
    assert dataset.std[1] == pytest.approx(1 / 255)


def test_background_is_the_colour_most_borders_have(digits, noise_dataset):
    assert digits.background == (0.0,)
    dataset = noise_dataset()
    assert dataset.background is None
    dataset.train.images_NDHW[:30, :, [0, -1], :] = 255
    dataset.train.images_NDHW[:30, :, :, [0, -1]] = 255
    assert dataset.background is None, "read once"
    changed = noise_dataset()
    changed.train.images_NDHW[:] = dataset.train.images_NDHW
    assert changed.background == (1.0, 1.0, 1.0)


def test_the_study_decides_whether_to_flip():
    assert load_dataset(Data(image_size=8, horizontal_flip=True)).horizontal_flip
    assert not load_dataset(Data(image_size=8)).horizontal_flip


def test_too_few_training_images_for_the_classes():
    message = "data.max_train_images: 9 is fewer than the 10 classes of digits; possible: 10 to 1797, or null for all"
    for call in (check_data, load_dataset):
        with pytest.raises(DataError) as caught:
            call(Data(max_train_images=9))
        assert str(caught.value) == message


def test_launch_checks_of_built_in_names_do_not_load_torch():
    program = (
        "import sys\n"
        "from kd_sweep.study.recipe import Data, Learner\n"
        "from kd_sweep.data.contents import check_data\n"
        "from kd_sweep.networks.network_checks import check_model\n"
        "check_data(Data()); check_model(Learner(), 'teacher.model', 16, 1)\n"
        "print({'torch', 'torchvision', 'timm', 'sklearn', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
