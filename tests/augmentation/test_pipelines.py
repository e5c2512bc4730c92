"""The named pipelines: determinism, growth with the strength, and the published presets."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.catalogue.entries import entry_names
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.data.dataset import Dataset, ImageSet
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.study.recipe import Augmentation, Data
from kd_sweep.study.trial import StreamConfig
from tests.cifar_archive import ABSENT, ARCHIVE, first_jpegs

PIPELINES = tuple(entry_names(PIPELINE))
NAMES = ("cifar10", "image_folder")
OF_DATASET = ("weak_strong", "autoaugment")
"""Pipelines that have presets or policies for two kinds of dataset."""


def stream_of(dataset, pipeline, strength, name="cifar10", seed=0, batch_size=32):
    config = StreamConfig(
        data=Data(name=name, path="/nowhere", image_size=dataset.image_size),
        augmentation=Augmentation(pipeline=pipeline),
        augmentation_strength=strength,
        batch_size=batch_size,
        seed=seed,
    )
    return AugmentationStream(config, dataset)


def smooth_dataset(count=200, size=32, horizontal_flip=True):
    """Colour gradients in a frame of black: they have a background, and every operation shows."""
    generator = torch.Generator().manual_seed(2)
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    weights = torch.rand(count, 3, 2, 1, 1, generator=generator)
    images = ((weights[:, :, 0] * x + weights[:, :, 1] * y**2) * 110 + 20).to(torch.uint8)
    images[:, :, [0, -1], :] = 0
    images[:, :, :, [0, -1]] = 0
    labels = torch.arange(count) % 2
    return Dataset(ImageSet(images, labels), ImageSet(images[:50], labels[:50]), ("a", "b"), horizontal_flip)


def shown(stream, epoch=1):
    batches = list(stream.batches(epoch))
    order = torch.cat([batch.indices_B for batch in batches])
    return torch.cat([batch.images_BDHW for batch in batches])[order.argsort()]


def clean(dataset):
    stream = stream_of(dataset, "strength", 0.0)
    return torch.cat([batch.images_BDHW for batch in stream.clean_batches(dataset.train)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_stream_is_a_function_of_seed_epoch_and_batch(pipeline, name):
    dataset = smooth_dataset(70)
    stream = stream_of(dataset, pipeline, 0.7, name)
    torch.manual_seed(1)
    first = shown(stream)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    list(stream.augmented_val(1))
    assert torch.equal(first, shown(stream_of(dataset, pipeline, 0.7, name)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, shown(stream, epoch=2))
    assert not torch.equal(first, shown(stream_of(dataset, pipeline, 0.7, name, seed=1)))
    assert torch.isfinite(first).all()
    assert first.shape == (70, 3, 32, 32)


@pytest.mark.parametrize("pipeline", [name for name in PIPELINES if name != "weak_strong"])
def test_strength_0_is_no_augmentation(pipeline):
    dataset = smooth_dataset(40)
    assert torch.equal(shown(stream_of(dataset, pipeline, 0.0)), clean(dataset))


@pytest.fixture(scope="session")
def digits_32():
    return load_dataset(Data(image_size=32, max_train_images=500))


@pytest.fixture(scope="session")
def photographs():
    """The first images of CIFAR-10."""
    if not ARCHIVE.exists():
        pytest.skip(ABSENT)
    images = [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in first_jpegs(500)]
    images_NDHW = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    image_set = ImageSet(images_NDHW, torch.arange(500) % 2)
    return Dataset(image_set, image_set, ("a", "b"), horizontal_flip=True)


@pytest.mark.parametrize("images", ["digits_32", "photographs"])
@pytest.mark.parametrize(
    ("pipeline", "name"),
    [*((pipeline, "cifar10") for pipeline in PIPELINES), *((name, "image_folder") for name in OF_DATASET)],
)
def test_images_move_further_from_the_clean_one_with_strength(pipeline, name, images, request):
    dataset = request.getfixturevalue(images)
    clean_images = clean(dataset)
    moved = [
        (shown(stream_of(dataset, pipeline, strength, name, batch_size=256)) - clean_images).square().mean().item()
        for strength in (0.0, 0.001, 0.03, 0.1, 0.25, 0.4, 0.5, 0.6, 0.8, 1.0)
    ]
    assert all(weaker <= stronger for weaker, stronger in pairwise(moved)), moved
    assert all(weaker < stronger for weaker, stronger in pairwise(moved[2:])), moved
    # There is no step at 0, not even where an operation has no level.
    assert moved[1] - moved[0] < 0.02 * (moved[-1] - moved[0]), moved


@pytest.mark.parametrize("name", NAMES)
def test_weak_and_strong_differ_in_the_share_of_images_between_them(name):
    dataset = smooth_dataset(300)
    weak, strong, mixed = (shown(stream_of(dataset, "weak_strong", strength, name)) for strength in (0.0, 1.0, 0.3))
    is_weak, is_strong = ((mixed == other).flatten(1).all(1) for other in (weak, strong))
    assert (is_weak | is_strong).all()
    assert (is_strong & ~is_weak).float().mean().item() == pytest.approx(0.3, abs=0.1)


def test_each_operation_of_the_strong_imagenet_preset_is_applied_to_half_of_the_images():
    dataset = smooth_dataset(2000)
    weak, strong = (shown(stream_of(dataset, "weak_strong", strength, "image_folder")) for strength in (0.0, 1.0))
    # The strong view is the weak one, changed by two operations and rounded to 256 levels.
    std = torch.tensor(dataset.std)[:, None, None]
    same = ((weak - strong).abs() * std * 255 < 0.51).flatten(1).all(1).float().mean().item()
    # Neither is applied to a quarter of the images. Solarize leaves about half of its images, one in 15.
    unchanged = 0.5 + 0.5 * 0.5 / 15
    assert same == pytest.approx(unchanged**2, abs=0.03)


def test_cut_out_of_the_strong_preset_is_a_square_of_16_pixels():
    dataset = smooth_dataset(300)
    dataset.train.images_NDHW[:, :, 1:-1, 1:-1] = 200  # one colour: a policy leaves one colour
    cut = (shown(stream_of(dataset, "weak_strong", 1.0)) == 0).all(1)
    rows, columns = cut.any(2).sum(1), cut.any(1).sum(1)
    assert (rows.max(), columns.max()) == (16, 16)
    assert torch.equal(cut.sum((1, 2)), rows * columns)
    assert rows.min() >= 8, "half of it at least lies in the image"
    assert not (shown(stream_of(dataset, "weak_strong", 0.0)) == 0).all(1).any()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_mirror_images_only_where_they_keep_the_label(pipeline):
    """A bright left half stays left of its middle without flips; rotations and shifts do not turn it round."""
    for horizontal_flip in (True, False):
        dataset = smooth_dataset(200, horizontal_flip=horizontal_flip)
        dataset.train.images_NDHW[:] = 60
        dataset.train.images_NDHW[..., :16] = 180
        # Small strengths: few images are inverted, solarised or turned far. Presets and policies flip anyway.
        images = shown(stream_of(dataset, pipeline, 0.25)).mean(1)
        mirrored = images[..., 20:].mean((1, 2)) > images[..., :12].mean((1, 2)) + 0.3
        assert (mirrored.float().mean().item() > 0.12) == horizontal_flip


def test_crops_are_torchvisions():
    """Every weak CIFAR view without rotation is a crop that torchvision cuts and resizes."""
    from torchvision.transforms.v2 import functional

    from kd_sweep.augmentation.transforms import crop
    from kd_sweep.data.normalization import Normalization

    dataset = smooth_dataset(8)
    images = dataset.train.images_NDHW.float() / 255
    zero, half = torch.zeros(8), torch.full((8,), 0.5)
    draws = {"area": torch.full((8,), 0.0625), "aspect": half, "left": zero, "top": half * 2, "flip": zero + 0.9}
    normalization = Normalization.of(dataset, torch.device("cpu"))
    ours = crop(images, draws | {"rotation": half}, 0.2, torch.zeros(8), True, normalization)
    # Area 0.25: half of the width, at the left and at the bottom.
    theirs = functional.resized_crop(images, 16, 0, 16, 16, [32, 32], antialias=False)
    assert (ours - theirs)[:, :, 2:-2, 2:-2].abs().max() < 1e-5
    mirrored = crop(images, draws | {"rotation": half, "flip": zero}, 0.2, torch.zeros(8), True, normalization)
    torch.testing.assert_close(mirrored, ours.flip(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pipeline", ["strength", "mixup"])
def test_reading_ahead_changes_nothing(monkeypatch, pipeline):
    dataset = smooth_dataset(150)
    stream = stream_of(dataset, pipeline, 0.5, batch_size=16)
    expected = [list(stream.batches(1)), list(stream.augmented_val(2)), list(stream.clean_batches(dataset.val, 7))]
    monkeypatch.setattr("kd_sweep.augmentation.stream.RESIDENT_BYTES", 0)
    ahead = [list(stream.batches(1)), list(stream.augmented_val(2)), list(stream.clean_batches(dataset.val, 7))]
    for one, two in zip(expected, ahead, strict=True):
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a.images_BDHW, b.images_BDHW)
            assert torch.equal(a.indices_B, b.indices_B)
            assert torch.equal(a.labels_B, b.labels_B)
    # An epoch that is left early leaves no thread behind.
    next(stream.batches(1))
