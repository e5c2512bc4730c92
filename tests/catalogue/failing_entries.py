"""Entries of every kind that do what they must not, as a plug-in of the package `tests` would have them."""

import sys

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import nn

import kd_sweep


class NoGradient(torch.autograd.Function):
    """Whose backward pass raises."""

    @staticmethod
    def forward(ctx, x):
        return x.sum()

    @staticmethod
    def backward(ctx, gradient):
        raise KeyError("no gradient")


class Odd(nn.Module):
    """A network that is what it must be, but with the batches of a training, of 16 images."""

    def __init__(self, num_classes, channels, answer):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(4, num_classes)
        self.answer = answer

    def forward(self, images_BDHW):
        logits_BC = self.classifier(self.features(images_BDHW).mean((2, 3)))
        return self.answer(logits_BC) if len(logits_BC) == 16 else logits_BC


class Checked(kd_sweep.Parameters):
    """With a check that raises what checks do not raise."""

    level: float = 0.5

    @field_validator("level")
    @classmethod
    def known(cls, level):
        return {0.5: level}[level]


def pixels(parameters):
    return {}["pixels"]


def exits(*_):
    sys.exit(3)


def of_torch(inputs, parameters):
    return F.cross_entropy(inputs.student_logits_BC, inputs.labels_B[:3])


LOSSES = {
    "exits": exits,
    "of_torch": of_torch,
    "backward": lambda inputs, _: NoGradient.apply(inputs.student_logits_BC),
    "nan": lambda inputs, _: inputs.student_logits_BC.sum() * float("nan"),
    "number": lambda *_: 0.5,
    "complex": lambda inputs, _: inputs.student_logits_BC.sum() * 1j,
    "negative": lambda inputs, _: -5 - inputs.student_logits_BC.square().mean(),
}
ANSWERS = {
    "exits": exits,
    "other_classes": lambda logits_BC: logits_BC[:, :3],
    "other_images": lambda logits_BC: logits_BC[:3],
    "list": lambda logits_BC: [logits_BC],
    "nan": lambda logits_BC: logits_BC * float("nan"),
    "raises": lambda logits_BC: logits_BC.missing,
}
MAPS = {
    "exits": exits,
    "other_classes": lambda model, images_BDHW, _: (model(images_BDHW)[:, :3], images_BDHW.mean(1)),
    "trains": lambda model, images_BDHW, _: (model.train()(images_BDHW), images_BDHW.mean(1)),
    "complex": lambda model, images_BDHW, _: (model(images_BDHW), images_BDHW.mean(1) * 1j),
    "raises": lambda model, images_BDHW, _: model.missing,
}
METRICS = {
    "exits": exits,
    "huge": lambda *_: 10**400,
    "infinite": lambda *_: float("inf"),
    "pair": lambda outputs, _: outputs.labels_V[:2],
    "raises": lambda outputs, _: outputs.missing,
}
DATASETS = {
    "exits": exits,
    "raises": pixels,
    "nothing": lambda _: None,
    "names": lambda _: kd_sweep.Arrays(torch.rand(20, 8, 8).numpy(), torch.arange(20).numpy() % 2, class_names="ab"),
}
PIPELINES = {
    "exits": exits,
    "raises": lambda inputs, _: inputs.missing,
    "fewer": lambda inputs, _: inputs.images_BDHW[:1],
    "nan": lambda inputs, _: inputs.images_BDHW * float("nan"),
}
RULES = {
    "exits": exits,
    "raises": lambda parameters, _: parameters.missing,
    "number": lambda *_: 3,
}


def network_of(answer):
    return lambda num_classes, channels, *_: Odd(num_classes, channels, answer)


def register_all():
    """Register them as `tests:NAME`."""
    for decorator, functions in (
        (kd_sweep.loss, LOSSES),
        (kd_sweep.network, {name: network_of(answer) for name, answer in ANSWERS.items()}),
        (kd_sweep.attention_map, MAPS),
        (kd_sweep.stopping_rule, RULES),
    ):
        for name, function in functions.items():
            decorator(name)(function)
    for name, function in METRICS.items():
        kd_sweep.metric(name, meaning="Nothing.")(function)
    for name, function in DATASETS.items():
        kd_sweep.dataset(name, image_size=8)(function)
    for name, function in PIPELINES.items():
        kd_sweep.pipeline(name, num_draws=0)(function)
    kd_sweep.network("no_network")(pixels)
    kd_sweep.loss("checked", parameters=Checked)(of_torch)
