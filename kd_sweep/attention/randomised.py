"""The model-randomisation check of attention maps: what is left of a map once what was learned is taken away.

Adebayo et al. 2018, arXiv 1810.03292: a map that is the same for weights that have learned nothing shows nothing of
what was learned.

Shapes: B images, D channels, h x w feature map, N images in all.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_sweep.attention.maps import ROLLOUT, enlarged_to_unit_range, map_name, small_attention_maps
from kd_sweep.attention.rank_correlation import rank_correlation
from kd_sweep.study.recipe import Metrics


class KeptCorrelations(NamedTuple):
    """Rank correlations of a network's maps and those of the network with other weights, float64 (N,) on the CPU."""

    classifier_N: Tensor
    """With what follows the feature map as it was before training."""
    network_N: Tensor
    """With all weights drawn anew."""


def kept_correlations(
    trained: nn.Module, initial: nn.Module, redrawn: nn.Module, images: Iterable[Tensor], metrics: Metrics
) -> KeptCorrelations:
    """Return how much of a network's attention maps is left with weights that have learned nothing.

    The classifier is that of ``initial``, not drawn anew: training may turn it without changing what a map reads of it.
    That is so of `cam`, whose sum over the classes no gradient turns, and a new draw would hide it. A rollout reads no
    classifier at all.

    Args:
        trained: in evaluation mode.
        initial: the same network as it was before its training, on the same device.
        redrawn: one of the same kind whose weights are another draw.
        images: batches (B, D, H, W), as the networks take them.
        metrics: selects the kind of map.

    Raises:
        TrialError: a plug-in's map cannot be made of these networks.
    """
    initial, redrawn = initial.eval(), redrawn.eval()
    reads_classifier = map_name(trained, metrics) != ROLLOUT
    classifier, network = [], []
    for images_BDHW in images:
        features: list[Tensor] = []
        with _seen(trained, features) if reads_classifier else nullcontext():
            maps_BHW = _maps(trained, images_BDHW, metrics)
        network.append(rank_correlation(maps_BHW, _maps(redrawn, images_BDHW, metrics)).cpu())
        behind_BHW = maps_BHW
        if reads_classifier:
            with _replaced(initial, features[-1]):
                behind_BHW = _maps(initial, images_BDHW, metrics)
        classifier.append(rank_correlation(maps_BHW, behind_BHW).cpu())
    return KeptCorrelations(torch.cat(classifier), torch.cat(network))


def _maps(model: nn.Module, images_BDHW: Tensor, metrics: Metrics) -> Tensor:
    maps_Bhw = small_attention_maps(model, images_BDHW, metrics)[1]
    return enlarged_to_unit_range(maps_Bhw, images_BDHW.shape[-1])


@contextmanager
def _seen(model: Any, features: list[Tensor]) -> Iterator[None]:
    """Add the feature map of each pass to a list; a copy, since what follows may work in place."""
    handle = model.features.register_forward_hook(lambda _module, _args, out: features.append(out.detach().clone()))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _replaced(model: Any, features: Tensor) -> Iterator[None]:
    """Let what follows the feature map read another one."""
    handle = model.features.register_forward_hook(lambda _module, _args, _output: features.clone())
    try:
        yield
    finally:
        handle.remove()
