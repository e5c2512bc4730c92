"""Optimisers, and learning rates as a pure function of the step: there is no schedule state to save or lose."""

import inspect
import math
from typing import TypeVar, assert_never, cast

import torch
from torch import nn

from kd_sweep.study.recipe import Learner

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def _uncompiled(kind: type[_Optimizer]) -> type[_Optimizer]:
    """Return the optimiser without what guards its methods against `torch.compile`.

    The guards load torch's compiler, a second of CPU in every worker, and do nothing where nothing is compiled.
    """
    guarded = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in guarded}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return cast(type[_Optimizer], type(kind.__name__, (kind,), methods | {"step": step}))


_Sgd, _AdamW = _uncompiled(torch.optim.SGD), _uncompiled(torch.optim.AdamW)


def build_optimizer(model: nn.Module, learner: Learner) -> torch.optim.Optimizer:
    """Return the optimiser of ``learner`` over the parameters of ``model``.

    Weight decay applies to weight matrices and kernels only: biases and the scales of normalisation layers, which are
    one-dimensional, are left out (He et al., arXiv 1812.01187, section 3.1).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": learner.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match learner.optimizer:
        case "adamw":
            return _AdamW(groups, lr=learner.learning_rate)
        case "sgd":
            nesterov = learner.nesterov and learner.momentum > 0
            return _Sgd(groups, lr=learner.learning_rate, momentum=learner.momentum, nesterov=nesterov)
        case _:
            assert_never(learner.optimizer)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Use ``learning_rate`` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def learning_rate_at(step: int, steps_per_epoch: int, learner: Learner) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training.

    A step stands for its middle, so that a warm-up from zero starts above zero and a cosine to zero ends above it.
    """
    position_epochs = (step + 0.5) / steps_per_epoch
    if position_epochs < learner.warmup_epochs:
        return learner.learning_rate * position_epochs / learner.warmup_epochs
    match learner.schedule:
        case "cosine":
            share = (position_epochs - learner.warmup_epochs) / (learner.epochs - learner.warmup_epochs)
            return learner.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))
        case "step":
            passed = sum(milestone <= position_epochs for milestone in learner.milestones)
            return learner.learning_rate * learner.gamma**passed
        case "constant":
            return learner.learning_rate
        case _:
            assert_never(learner.schedule)
