import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd_sweep.augmentation.stream import Batch
from kd_sweep.distill.optimizers import build_optimizer
from kd_sweep.distill.training import train_epoch
from kd_sweep.errors import NonFiniteError
from kd_sweep.study.recipe import Learner


def some_batches(sizes=(8, 8, 3)):
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(torch.arange(size), torch.randn(size, 1, 4, 4, generator=generator), torch.arange(size) % 3)
        for size in sizes
    ]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def cross_entropy(logits_BC, batch):
    return F.cross_entropy(logits_BC, batch.labels_B)


def test_equals_a_loop_written_out():
    learner = Learner(learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    model, reference = network(), network()
    rates = [0.1, 0.05, 0.2]
    seen = []

    def batch_loss(logits_BC, batch):
        seen.append(logits_BC.detach().clone())
        return cross_entropy(logits_BC, batch)

    trained = train_epoch(model, build_optimizer(model, learner), some_batches(), batch_loss, rates.__getitem__, 1)

    logits, losses = [], []
    for batch, rate in zip(some_batches(), rates, strict=True):
        logits_BC = reference(batch.images_BDHW)
        loss = F.cross_entropy(logits_BC, batch.labels_B)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter -= rate * gradient
        logits.append(logits_BC.detach())
        losses.append(loss.item())

    for got, expected in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(got, expected, atol=1e-7)
    assert torch.allclose(torch.cat(seen), torch.cat(logits), atol=1e-6)
    assert trained.num_images == 19
    assert trained.loss == pytest.approx((8 * losses[0] + 8 * losses[1] + 3 * losses[2]) / 19)
    assert trained.learning_rate == 0.2


def test_a_loss_that_is_not_finite_names_epoch_and_batch_and_stops_before_the_step():
    model = network()
    seen = []

    def loss_that_breaks(logits_BC, batch):
        seen.append({name: value.clone() for name, value in model.named_parameters()})
        return cross_entropy(logits_BC, batch) * (float("nan") if len(seen) == 2 else 1.0)

    with pytest.raises(NonFiniteError, match="the training loss is nan in epoch 7, batch 2"):
        train_epoch(model, build_optimizer(model, Learner()), some_batches(), loss_that_breaks, lambda step: 0.1, 7)
    assert len(seen) == 2
    assert all(torch.equal(value, seen[1][name]) for name, value in model.named_parameters())
