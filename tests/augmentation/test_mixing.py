"""The oracles are pixels that show the share of the partner in an image, and torchvision's transforms."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from kd_sweep.augmentation.mixing import Partners, cutmix, mixup, partner_indices
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.dataset import Dataset, ImageSet
from kd_sweep.distill.distillation_loss import label_loss
from kd_sweep.study.recipe import Augmentation, Data
from kd_sweep.study.trial import StreamConfig

STRENGTHS = (0.0, 0.05, 0.3, 0.5, 0.8, 1.0)
MIXINGS = {"mixup": mixup, "cutmix": cutmix}
both = pytest.mark.parametrize("name", MIXINGS)


def black_and_white(draws_B3, strength, name, size=(9, 14)):
    """Return the share of white in a black image with a white one mixed in, and the share that is reported."""
    black, white = torch.zeros(len(draws_B3), 3, *size), torch.ones(len(draws_B3), 3, *size)
    return MIXINGS[name](black, white, draws_B3, strength)


def numbered_dataset(num_train=40, num_val=300, size=8, horizontal_flip=False):
    """Image i is of the colour i / count all over: its pixels say which images, and how much of each, are in it."""

    def image_set(count):
        levels = (torch.arange(count) * 255 // count).to(torch.uint8)
        images = levels[:, None, None, None].expand(count, 1, size, size).contiguous()
        return ImageSet(images, torch.arange(count) * 5 // count)  # class by class

    return Dataset(image_set(num_train), image_set(num_val), tuple("abcde"), horizontal_flip)


def stream_of(dataset, name, strength, batch_size=8, device="cpu"):
    config = StreamConfig(
        data=Data(image_size=dataset.image_size),
        augmentation=Augmentation(pipeline=name),
        augmentation_strength=strength,
        batch_size=batch_size,
        seed=3,
    )
    return AugmentationStream(config, dataset, device)


def levels_of(dataset, images_BDHW):
    return images_BDHW * torch.tensor(dataset.std) + torch.tensor(dataset.mean)


@both
@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_share_is_that_of_the_pixels(name, strength):
    draws = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    mixed, share = black_and_white(draws, strength, name)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), share, atol=1e-6, rtol=0)
    assert share.min() >= 0
    assert share.max() <= strength / 2 if name == "mixup" else share.max() <= 0.5
    assert bool(share.any()) == (strength > 0)
    if name == "cutmix":
        assert mixed.unique().tolist() in ([0.0], [0.0, 1.0])


@both
def test_more_strength_is_more_of_the_partner_in_every_image(name):
    draws = torch.rand(300, 3, generator=torch.Generator().manual_seed(1))
    mixed = [black_and_white(draws, strength, name)[0] for strength in np.linspace(0, 1, 21)]
    for weaker, stronger in itertools.pairwise(mixed):
        assert (weaker <= stronger).all()  # pixel by pixel, so a pixel once taken stays taken
    assert (mixed[10].sum((1, 2, 3)) < mixed[20].sum((1, 2, 3))).float().mean() > 0.9


def test_a_partner_in_a_cutmix_is_inside_or_outside_of_one_rectangle():
    mixed, share = black_and_white(torch.rand(400, 3, generator=torch.Generator().manual_seed(2)), 1.0, "cutmix")
    inside = 0
    for image_HW, part in zip(mixed[:, 0].bool(), share, strict=True):
        if part == 0:
            continue
        is_rectangle = [
            int(region.sum()) == int(region.any(0).sum()) * int(region.any(1).sum()) for region in (image_HW, ~image_HW)
        ]
        assert any(is_rectangle)
        inside += is_rectangle[0]
    assert 0.5 < inside / 400 < 0.95


@pytest.mark.parametrize("published", [v2.MixUp, v2.CutMix])
def test_at_strength_1_shares_are_distributed_as_published(published):
    """A black and a white image, each the other's partner: the smaller share of either label."""
    images, labels = torch.zeros(2, 1, 16, 16), torch.tensor([0, 1])
    transform = published(num_classes=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = np.array([transform(images, labels)[1].min().item() for _ in range(2000)])
    draws = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0))
    ours = black_and_white(draws, 1.0, published.__name__.lower(), (16, 16))[1].numpy()
    at = np.linspace(0, 0.5, 26)
    distance = np.abs(np.mean(ours[:, None] <= at + 1e-6, axis=0) - np.mean(theirs[:, None] <= at + 1e-6, axis=0))
    assert distance.max() < 0.05  # Kolmogorov and Smirnov: 0.0515 at 1 % for equal distributions


def test_mixup_is_torchvisions_and_so_is_the_loss():
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(6, 3, 8, 8, generator=generator)
    labels, logits = torch.arange(6) % 4, torch.randn(6, 4, generator=generator)
    for seed in range(10):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            theirs, soft_labels = v2.MixUp(num_classes=4)(images, labels)
        share = soft_labels[1, 0].item()  # image 1, of label 1, has the partner 0, of label 0
        if share > 0.5:
            continue
        ours, share_B = mixup(images, images.roll(1, 0), torch.full((6, 3), 2 * share), 1.0)
        torch.testing.assert_close(ours, theirs)
        loss = label_loss(logits, labels, 0.0, Partners(labels.roll(1), share_B))
        torch.testing.assert_close(loss, F.cross_entropy(logits, soft_labels))


@both
@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_a_stream_mixes_every_image_with_another_one_and_reports_which(name, batch_size):
    dataset = numbered_dataset(num_train=41, num_val=257)  # ends: one image alone, two with batch_size 3
    stream = stream_of(dataset, name, 0.9, batch_size)
    for batches, images in ((stream.batches(2), dataset.train), (stream.augmented_val(2), dataset.val)):
        batch = None
        for batch in batches:
            assert torch.equal(batch.labels_B, images.labels_N[batch.indices_B])
            share, levels = batch.partners.share_B, levels_of(dataset, batch.images_BDHW)
            own = images.images_NDHW[batch.indices_B, 0, 0, 0] / 255
            mixed = share > 0
            assert mixed.float().mean() >= 0.5
            partner = own + (levels.mean((1, 2, 3)) - own) / share
            # Which image has that colour, and so which label.
            nearest = (partner[:, None] * 255 - images.images_NDHW[:, 0, 0, 0]).abs().min(1)
            assert nearest.values[mixed].max() < 0.2
            assert not (nearest.indices == batch.indices_B)[mixed].any()
            assert torch.equal(images.labels_N[nearest.indices][mixed], batch.partners.labels_B[mixed])
        assert batch is not None


@both
def test_partners_of_validation_images_are_of_other_classes_too(name):
    """Validation images lie class by class: the neighbours of an image are of its own class."""
    stream = stream_of(numbered_dataset(num_val=600), name, 1.0)
    batches = list(stream.augmented_val(1))
    same = torch.cat([batch.labels_B == batch.partners.labels_B for batch in batches]).float().mean().item()
    assert same == pytest.approx(1 / 5, abs=0.07)
    partners = torch.cat([batch.partners.labels_B for batch in batches])
    assert torch.equal(partners.bincount(), torch.full((5,), 120)), "each image is the partner of one other"


@pytest.mark.parametrize("count", [2, 3, 50])
def test_partners_are_one_circle(count):
    partner = partner_indices(count, torch.Generator().manual_seed(count))
    index, seen = 0, []
    for _ in range(count):
        index = int(partner[index])
        seen.append(index)
    assert sorted(seen) == list(range(count))


@both
def test_strengths_share_their_partners_and_draws(name):
    dataset = numbered_dataset()
    one, two = (list(stream_of(dataset, name, strength).batches(1)) for strength in (0.5, 1.0))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.indices_B, b.indices_B)
        assert torch.equal(a.partners.labels_B, b.partners.labels_B)
        assert (a.partners.share_B <= b.partners.share_B).all()
        if name == "mixup":
            torch.testing.assert_close(2 * a.partners.share_B, b.partners.share_B)


@both
def test_without_strength_or_company_an_image_is_its_own(name):
    dataset = numbered_dataset(num_train=2, num_val=1)
    assert all(batch.partners is None for batch in stream_of(dataset, name, 0.0).batches(1))
    (val,) = stream_of(dataset, name, 1.0).augmented_val(1)
    (clean,) = stream_of(dataset, name, 1.0).clean_batches(dataset.val)
    assert torch.equal(val.images_BDHW, clean.images_BDHW)
    assert torch.equal(val.partners.labels_B, val.labels_B)


@both
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_cuda_mix_alike(name):
    dataset = numbered_dataset()
    on_cpu, on_cuda = (stream_of(dataset, name, 0.7, device=device) for device in ("cpu", "cuda"))
    for one, two in zip(on_cpu.batches(1), on_cuda.batches(1), strict=True):
        torch.testing.assert_close(one.images_BDHW, two.images_BDHW.cpu())
        assert torch.equal(one.partners.share_B, two.partners.share_B.cpu())
        assert torch.equal(one.partners.labels_B, two.partners.labels_B.cpu())


def test_cutmix_takes_the_pixels_of_the_same_position():
    generator = torch.Generator().manual_seed(5)
    images, partners = torch.rand(50, 3, 12, 12, generator=generator), torch.rand(50, 3, 12, 12, generator=generator)
    mixed, share = cutmix(images, partners, torch.rand(50, 3, generator=generator), 1.0)
    assert ((mixed == images) | (mixed == partners)).all()
    torch.testing.assert_close((mixed == partners).float().mean((1, 2, 3)), share)
