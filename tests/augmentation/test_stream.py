"""The stream: the same pixels for a seed, epoch and batch, in every order, process and thread."""

import itertools
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from kd_sweep.augmentation.stream import AugmentationStream, resident_bytes
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Data, Learner
from tests.cifar_archive import extract_every_tenth, needs_archive
from tests.warm_python import run_warm


def streams_equal(one, two):
    return all(
        torch.equal(a.images_BDHW, b.images_BDHW)
        and torch.equal(a.labels_B, b.labels_B)
        and torch.equal(a.indices_B, b.indices_B)
        for a, b in zip(one, two, strict=True)
    )


def test_an_epoch_shows_every_image_once_with_its_label(digits, stream_config):
    stream = AugmentationStream(stream_config(), digits)
    batches = list(stream.batches(1))
    indices = torch.cat([batch.indices_B for batch in batches])
    assert sorted(indices.tolist()) == list(range(len(digits.train)))
    assert indices.tolist() != sorted(indices.tolist())
    labels = torch.cat([batch.labels_B for batch in batches])
    assert torch.equal(labels, digits.train.labels_N[indices])
    assert batches[0].images_BDHW.shape == (64, 1, 16, 16)
    assert batches[0].images_BDHW.dtype == torch.float32
    assert len(batches) == stream.num_batches == 23
    assert len(batches[-1]) == 1438 % 64


def test_a_last_batch_of_one_image_is_dropped(noise_dataset, stream_config):
    for num_train, sizes in ((9, [4, 4]), (10, [4, 4, 2]), (8, [4, 4]), (3, [3])):
        stream = AugmentationStream(stream_config(batch_size=4), noise_dataset(num_train=num_train))
        assert [len(batch) for batch in stream.batches(1)] == sizes
        assert stream.num_batches == len(sizes)


def test_strength_0_shows_the_clean_images_in_the_same_order(digits, stream_config):
    clean = AugmentationStream(stream_config(strength=0.0), digits)
    strong = AugmentationStream(stream_config(strength=1.0), digits)
    by_index = torch.cat([batch.images_BDHW for batch in clean.clean_batches(digits.train)])
    for one, two in zip(clean.batches(3), strong.batches(3), strict=True):
        assert torch.equal(one.images_BDHW, by_index[one.indices_B])
        assert torch.equal(one.indices_B, two.indices_B)
        assert not torch.equal(one.images_BDHW, two.images_BDHW)


def test_epochs_and_seeds_differ_and_no_call_changes_the_stream(digits, stream_config):
    stream = AugmentationStream(stream_config(), digits)
    second = list(stream.batches(2))
    first = list(stream.batches(1))
    assert not streams_equal(first, second)
    assert streams_equal(second, stream.batches(2))
    assert streams_equal(second, AugmentationStream(stream_config(), digits).batches(2))
    assert not streams_equal(first, AugmentationStream(stream_config(seed=1), digits).batches(1))


def test_batches_taken_at_the_same_time_are_independent(digits, stream_config):
    stream = AugmentationStream(stream_config(), digits)
    expected = list(stream.batches(1)), list(stream.augmented_val(1))
    together = list(itertools.zip_longest(stream.batches(1), stream.augmented_val(1)))
    assert streams_equal(expected[0], [train for train, _ in together])
    assert streams_equal(expected[1], [val for _, val in together if val is not None])


def test_global_random_state_is_neither_read_nor_changed(digits, stream_config):
    stream = AugmentationStream(stream_config(), digits)
    torch.manual_seed(1)
    first = next(stream.batches(1)).images_BDHW
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, next(stream.batches(1)).images_BDHW)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_validation_is_complete_and_in_order(noise_dataset, stream_config):
    dataset = noise_dataset(num_val=257)
    stream = AugmentationStream(stream_config(strength=0.8), dataset)
    for batches in (list(stream.augmented_val(1)), list(stream.clean_batches(dataset.val))):
        assert torch.cat([batch.indices_B for batch in batches]).tolist() == list(range(257))
        assert torch.equal(torch.cat([batch.labels_B for batch in batches]), dataset.val.labels_N)
    assert not streams_equal(stream.augmented_val(1), stream.augmented_val(2))
    assert streams_equal(stream.augmented_val(1), stream.augmented_val(1))
    clean = torch.cat([batch.images_BDHW for batch in stream.clean_batches(dataset.val, batch_size=100)])
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    torch.testing.assert_close(clean, (dataset.val.images_NDHW / 255 - mean) / std, atol=1e-5, rtol=0)


def test_training_images_are_normalised(noise_dataset, stream_config):
    dataset = noise_dataset(num_train=200)
    stream = AugmentationStream(stream_config(strength=0.0), dataset)
    images = torch.cat([batch.images_BDHW for batch in stream.batches(1)])
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_flipped_share_of_a_lopsided_image(noise_dataset, stream_config):
    dataset = noise_dataset(num_train=4000)
    dataset.train.images_NDHW[:] = 0
    dataset.train.images_NDHW[..., :6] = 255

    def share_flipped(strength, transforms, flips=True):
        changed = noise_dataset(num_train=4000, horizontal_flip=flips)
        changed.train.images_NDHW[:] = dataset.train.images_NDHW
        stream = AugmentationStream(stream_config(strength=strength, transforms=transforms), changed)
        images = torch.cat([batch.images_BDHW for batch in stream.batches(1)]).mean((1, 2))
        return (images[:, 6:].mean(1) > images[:, :6].mean(1)).float().mean().item()

    assert share_flipped(0.25, ("geometry",)) == pytest.approx(0.25, abs=0.03)
    assert share_flipped(0.5, ("geometry",)) == pytest.approx(0.5, abs=0.03)
    assert share_flipped(0.25, ("geometry",), flips=False) == 0
    assert share_flipped(0.5, ("color", "erasing")) == 0


FRESH = """
import hashlib, torch
from kd_sweep.study.recipe import Augmentation, Data, Learner
from kd_sweep.study.trial import StreamConfig
from kd_sweep.attention.class_activation import class_activation_maps
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.networks.classifiers import build_model
data = Data(image_size=16)
dataset = load_dataset(data)
config = StreamConfig(data=data, augmentation=Augmentation(), augmentation_strength=0.6, batch_size=64, seed=5)
for threads in (1, 2):
    torch.set_num_threads(threads)
    stream = AugmentationStream(config, dataset)
    model = build_model(Learner(width=8), dataset, 11)
    parameters = list(model.parameters())
    digest = hashlib.sha256()
    for batch in [*list(stream.batches(1))[:3], *list(stream.augmented_val(2))[-1:]]:
        logits_BC, features_BDhw = model.forward_with_features(batch.images_BDHW)
        loss = torch.nn.functional.cross_entropy(logits_BC, batch.labels_B)
        with torch.no_grad():  # an optimizer of torch would load its compiler, for a second
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
                parameter -= 0.1 * gradient
        maps_Bhw = class_activation_maps(features_BDhw, model.classifier_weight)
        for tensor in (batch.images_BDHW, logits_BC, maps_Bhw):
            digest.update(tensor.detach().contiguous().numpy().tobytes())
    print(threads, digest.hexdigest())
"""


def test_two_processes_agree_bit_for_bit():
    """Pixels, logits while training, and attention maps, on one thread and on two."""
    variables = {**os.environ, "OMP_WAIT_POLICY": "passive"}  # threads would spin
    cold = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, env=variables, timeout=200)
    warm = run_warm(FRESH, Path.cwd(), variables, timeout_s=200)  # forked: its strings have other hashes
    assert [cold.returncode, warm.returncode] == [0, 0], cold.stderr + warm.stderr
    first, second = cold.stdout.splitlines(), warm.stdout.splitlines()
    assert first == second
    assert [line.split()[0] for line in first] == ["1", "2"]


def test_pixels_of_a_stream_are_those_of_the_first_release(digits, stream_config):
    """Cached teacher logits and resumed trials rely on a seed meaning the same pixels in every version."""
    order = torch.cat([batch.indices_B for batch in AugmentationStream(stream_config(seed=7), digits).batches(1)])
    assert order[:8].tolist() == [1282, 1146, 682, 1238, 345, 711, 669, 1054]
    batch = next(AugmentationStream(stream_config(seed=7), digits).batches(1))
    assert batch.images_BDHW.double().mean().item() == pytest.approx(-0.0502154, abs=1e-5)
    assert batch.images_BDHW.double().square().mean().item() == pytest.approx(0.9301, abs=1e-4)


def train_on_clean_images(dataset, config, epochs, width):
    model = build_model(Learner(width=width), dataset, 0)
    stream = AugmentationStream(config, dataset)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * stream.num_batches)
    for epoch in range(1, epochs + 1):
        for batch in stream.batches(epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch.images_BDHW), batch.labels_B).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy_on(model, batches):
    return torch.cat([model(batch.images_BDHW).argmax(1) == batch.labels_B for batch in batches]).float().mean().item()


def affinities(model, dataset, stream_config, strengths):
    """Accuracy on augmented images over accuracy on clean ones, of a model that saw clean ones (arXiv 2002.08973)."""
    streams = [AugmentationStream(stream_config(strength=strength), dataset) for strength in strengths]
    clean = accuracy_on(model, streams[0].clean_batches(dataset.val))
    return clean, [
        statistics.mean(accuracy_on(model, stream.augmented_val(epoch)) for epoch in (1, 2, 3)) / clean
        for stream in streams
    ]


def test_affinity_falls_with_strength(digits, stream_config):
    model = train_on_clean_images(digits, stream_config(strength=0.0), epochs=6, width=8)
    clean, values = affinities(model, digits, stream_config, (0.0, 0.25, 0.5, 0.75, 1.0))
    assert clean > 0.9
    assert values[0] == 1
    assert all(weaker > stronger + 0.05 for weaker, stronger in pairwise(values[1:]))
    assert values[1] > 0.8
    assert 0.1 < values[-1] < 0.5


@pytest.mark.long
@needs_archive
def test_affinity_falls_with_strength_on_photographs(tmp_path, stream_config):
    extract_every_tenth(tmp_path / "cifar10")
    data = Data(
        name="image_folder",
        path=str(tmp_path / "cifar10"),
        image_size=32,
        max_train_images=3000,
        max_val_images=600,
    )
    dataset = load_dataset(data, tmp_path / "cache")
    assert dataset.background is None
    assert dataset.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.01), "the published means of CIFAR-10"
    model = train_on_clean_images(dataset, stream_config(strength=0.0), epochs=5, width=10)
    clean, values = affinities(model, dataset, stream_config, (0.0, 0.5, 1.0))
    assert clean > 0.35
    assert all(weaker > stronger for weaker, stronger in pairwise(values))
    assert values[-1] < 0.65


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_cuda_show_the_same_images(digits, noise_dataset, stream_config):
    for dataset in (digits, noise_dataset(num_train=200)):
        on_cpu, on_cuda = (
            AugmentationStream(stream_config(strength=0.9), dataset, device) for device in ("cpu", "cuda")
        )
        for one, two in zip(on_cpu.batches(2), on_cuda.batches(2), strict=True):
            assert two.images_BDHW.device.type == "cuda"
            assert torch.equal(one.indices_B, two.indices_B)
            assert torch.equal(one.labels_B, two.labels_B.cpu())
            # A pixel on a rectangle's or a nearest neighbour's edge may fall on the other side of it.
            far = (one.images_BDHW - two.images_BDHW.cpu()).abs() > 1e-3
            assert far.float().mean() < 1e-3


@pytest.mark.parametrize(("free_gib", "most_gib"), [(80, 2), (8, 2), (6, 1.5), (1, 0.25)])
def test_a_set_on_the_gpu_leaves_room_for_the_networks(monkeypatch, free_gib, most_gib):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_gib * 2**30, 80 * 2**30))
    assert resident_bytes(torch.device("cuda")) == most_gib * 2**30
    assert resident_bytes(torch.device("cpu")) == 2 * 2**30


def test_validation_indices_are_those_of_its_batches(noise_dataset, stream_config):
    stream = AugmentationStream(stream_config(), noise_dataset(num_val=600))
    for batches in (stream.augmented_val(1), stream.clean_batches(stream.dataset.val)):
        shown = [batch.indices_B.tolist() for batch in batches]
        assert shown == [indices_B.tolist() for indices_B in stream.val_indices]
        assert [len(indices) for indices in shown] == [256, 256, 88]
