"""Fixtures of small datasets with known pixels, and of folders of real image files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd_sweep.data.dataset import Dataset, ImageSet
from kd_sweep.study.recipe import Augmentation, Data
from kd_sweep.study.trial import StreamConfig


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from more, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits():
    from kd_sweep.data.dataset_loading import load_dataset

    return load_dataset(Data(image_size=16))


@pytest.fixture
def stream_config():
    def make(strength=0.5, seed=0, batch_size=64, transforms=("geometry", "color", "erasing")):
        return StreamConfig(
            data=Data(image_size=16),
            augmentation=Augmentation(transforms=transforms),
            augmentation_strength=strength,
            batch_size=batch_size,
            seed=seed,
        )

    return make


@pytest.fixture
def noise_dataset():
    """Random colour images: every border pixel differs, so there is no background colour."""

    def make(num_train=50, num_val=20, channels=3, size=12, horizontal_flip=True):
        generator = torch.Generator().manual_seed(1)

        def image_set(count):
            shape = (count, channels, size, size)
            return ImageSet(
                torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator), torch.arange(count) % 5
            )

        return Dataset(image_set(num_train), image_set(num_val), tuple("abcde"), horizontal_flip)

    return make


@pytest.fixture
def write_images(tmp_path):
    """Write ``count`` noise images per class below a folder and return it."""

    def write(folder: str, classes=("cat", "dog"), count=5, size=(20, 16), suffix=".png") -> Path:
        root = tmp_path / folder
        random = np.random.default_rng(len(folder))
        for name in classes:
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / f"{number}{suffix}")
        return root

    return write
