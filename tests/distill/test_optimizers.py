import math

import pytest
import torch
from torch import nn

from kd_sweep.distill.optimizers import build_optimizer, learning_rate_at
from kd_sweep.study.recipe import Learner

STEPS = 10


def rates(learner: Learner) -> list[float]:
    return [learning_rate_at(step, STEPS, learner) for step in range(STEPS * learner.epochs)]


def test_warm_up_is_linear_and_starts_above_zero():
    learner = Learner(epochs=4, learning_rate=0.2, warmup_epochs=1.5, schedule="constant")
    got = rates(learner)
    assert got[:15] == pytest.approx([0.2 * (step + 0.5) / 15 for step in range(15)])
    assert got[15:] == [0.2] * 25


def test_cosine_falls_from_the_peak_to_nearly_zero():
    learner = Learner(epochs=5, learning_rate=0.1, warmup_epochs=0.0, schedule="cosine")
    got = rates(learner)
    # The mean over all steps of a cosine from 1 to 0 is 1/2; the middle step's neighbours are symmetric about it.
    assert sum(got) / len(got) == pytest.approx(0.05)
    assert got == sorted(got, reverse=True)
    assert got[24] + got[25] == pytest.approx(0.1)
    assert 0 < got[-1] < 1e-4
    assert got[0] == pytest.approx(0.1 * (1 + math.cos(math.pi * 0.01)) / 2)


def test_step_schedule_drops_after_each_milestone():
    learner = Learner(epochs=6, learning_rate=1.0, warmup_epochs=0.0, schedule="step", milestones=(2, 4), gamma=0.5)
    got = rates(learner)
    assert got == [1.0] * 20 + [0.5] * 20 + [0.25] * 20


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.5, 3.0])
def test_warm_up_and_milestones_equal_torchs_own_schedulers(warmup_epochs):
    """Torch steps by half steps, so that its odd ones are the middles that our steps stand for."""
    learner = Learner(
        epochs=8, learning_rate=0.3, warmup_epochs=warmup_epochs, schedule="step", milestones=(4, 6), gamma=0.1
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=learner.learning_rate)
    multi_step = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * STEPS * m for m in learner.milestones], 0.1)
    schedulers = [multi_step]
    if warmup_epochs:
        total_iters = round(2 * STEPS * warmup_epochs)
        schedulers.append(torch.optim.lr_scheduler.LinearLR(optimizer, 1e-9, 1.0, total_iters=total_iters))
    chained = torch.optim.lr_scheduler.ChainedScheduler(schedulers)
    torchs = []
    for _ in range(2 * STEPS * learner.epochs):
        torchs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chained.step()
    assert rates(learner) == pytest.approx(torchs[1::2], rel=1e-6)


def test_a_single_epoch_may_be_all_warm_up():
    assert all(rate > 0 for rate in rates(Learner(epochs=1, warmup_epochs=1.0)))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_moves_weights_but_neither_biases_nor_norms(name):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    nn.init.ones_(model[0].bias)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = build_optimizer(model, Learner(optimizer=name, learning_rate=0.1, weight_decay=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"0.weight", "3.weight"}


@pytest.mark.parametrize(
    ("recipe", "torchs"),
    [
        ({}, lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9, nesterov=True)),
        ({"optimizer": "adamw"}, lambda weights: torch.optim.AdamW(weights, 0.1)),
    ],
    ids=["sgd", "adamw"],
)
def test_steps_and_state_are_those_of_torchs_optimisers_bit_for_bit(recipe, torchs):
    ours, theirs = (nn.Linear(3, 4, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    recipe = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, **recipe}
    mine, other = (
        build_optimizer(ours, Learner(**recipe)),
        torchs([{"params": theirs.parameters(), "weight_decay": 0.0}]),
    )
    for _ in range(3):
        images_BD = torch.randn(8, 3)
        for model, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            model(images_BD).square().sum().backward()
            optimizer.step()
        assert torch.equal(ours.weight, theirs.weight)
    assert ours.weight.requires_grad
    assert torch.is_grad_enabled()
    states = [optimizer.state_dict()["state"][0] for optimizer in (mine, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] if states[0][name] is not None)


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [  # Two steps with gradient 1: v1 = 1, v2 = m + 1. Nesterov's go by 1 + m v, plain ones by v.
        ({"momentum": 0.5}, (1 + 0.5 * 1, 1 + 0.5 * 1.5)),
        ({"momentum": 0.5, "nesterov": False}, (1, 1.5)),
        ({"momentum": 0.0}, (1, 1)),
        ({"momentum": 0.0, "nesterov": False}, (1, 1)),
    ],
)
def test_sgd_s_momentum_is_nesterovs_or_plain(recipe, steps):
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = build_optimizer(model, Learner(learning_rate=0.1, weight_decay=0.0, **recipe))
    for _ in range(2):
        model.weight.grad = torch.ones_like(model.weight)
        optimizer.step()
    assert float(model.weight.detach()) == pytest.approx(-0.1 * sum(steps))
