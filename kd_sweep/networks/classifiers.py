"""The building of classifiers by name: built in, of torchvision or timm, or of a plug-in."""

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from kd_sweep.data.dataset import Dataset
from kd_sweep.networks.classifier_interface import Classifier
from kd_sweep.study.recipe import Learner


def build_model(learner: Learner, dataset: Dataset, init_seed: int) -> nn.Module:
    """Return an untrained network for ``dataset``, on the CPU.

    Its weights are a function of (model, its parameters, dataset's shape, ``init_seed``), as long as a plug-in draws
    them from torch, NumPy's global generator or Python's; their own states stay.

    Returns:
        A `Classifier`: `model(images)` gives logits_BC, `model.forward_with_features(images)` also the features.

    Raises:
        SpecError: no such model, or one that gives no attention maps.
        TrialError: one of a plug-in that cannot be built, or is not what it must be.
    """
    with seeded(init_seed):
        return build_for(learner, dataset.num_classes, dataset.channels, dataset.image_size)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what a network may draw from while it is built, and put the states back afterwards."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        # As torch.manual_seed, which notes where it was called from until a GPU is used: memory and milliseconds.
        torch.default_generator.manual_seed(seed)
        if _has_gpus():
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def initial_model(learner: Learner, dataset: Dataset, init_seed: int) -> nn.Module:
    """Return the network at the start of training: of `build_model`, with the weights that ``learner`` names, if any.

    Raises:
        SpecError: as `build_model`, or the weights cannot be read or are another network's.
    """
    model = build_model(learner, dataset, init_seed)
    if learner.weights is not None:
        from kd_sweep.networks.initial_weights import load_initial_weights

        load_initial_weights(model, learner, "weights")
    return model


@functools.cache
def _has_gpus() -> bool:
    return torch.cuda.device_count() > 0


def build_for(learner: Learner, num_classes: int, channels: int, image_size: int) -> nn.Module:
    """Return an untrained network for such images, of weights that depend on torch's random state.

    Raises:
        SpecError: as `build_model`.
    """
    entry, images = learner.entry, (num_classes, channels, image_size)
    if not entry.is_built_in:
        from kd_sweep.networks.plugin_networks import plugin_classifier

        return plugin_classifier(learner, *images)
    name = () if entry.family is None else (learner.model,)
    network: nn.Module = entry.item(*name, *images, learner)
    if isinstance(network, Classifier):
        return network
    from kd_sweep.networks.backbones import Wanted, with_attention

    return with_attention(network, Wanted(learner, *images))
