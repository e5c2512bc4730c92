"""Networks of plug-ins: their building, and what they must be. Every mistake is one line that names the entry.

Shapes: B images, D channels, H x W pixels, h x w feature map, C classes.
"""

from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.errors import KdSweepError, SpecError, TrialError
from kd_sweep.networks.backbones import NEEDED, PROBE_IMAGES, Wanted, with_attention
from kd_sweep.networks.classifier_interface import Classifier
from kd_sweep.study.recipe import Learner


class PluginErrors:
    """A context, for any number of uses, in which an exception becomes one line.

    Args:
        label: begins the line.
    """

    def __init__(self, label: str) -> None:
        self._label = label

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise TrialError for what was raised, but for what says nothing of the plug-in, such as a full memory."""
        if isinstance(error, RAISED) and not isinstance(error, KdSweepError | torch.OutOfMemoryError | MemoryError):
            raise TrialError(f"{self._label} raised {described(error)}") from error


class PluginClassifier(nn.Module):
    """A network that is a `Classifier` by itself.

    Args:
        network: that one.
        errors: around every pass of it.
    """

    def __init__(self, network: Any, errors: PluginErrors) -> None:
        super().__init__()
        self.network = network
        self._errors = errors

    @property
    def classifier_weight(self) -> Tensor:
        """As the network's."""
        weight_CD: Tensor = self.network.classifier_weight
        return weight_CD

    @property
    def features(self) -> nn.Module:
        """As the network's."""
        features: nn.Module = self.network.features
        return features

    @property
    def features_channels_last(self) -> bool:
        """As the network's."""
        return bool(self.network.features_channels_last)

    def forward(self, images_BDHW: Tensor) -> Tensor:
        """Return logits_BC."""
        with self._errors:
            logits_BC: Tensor = self.network(images_BDHW)
        return logits_BC

    def forward_with_features(self, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits_BC and the last feature map before pooling, (B, D, h, w)."""
        with self._errors:
            logits_BC, features_BDhw = self.network.forward_with_features(images_BDHW)
        return logits_BC, features_BDhw


def plugin_classifier(learner: Learner, num_classes: int, channels: int, image_size: int) -> nn.Module:
    """Return an untrained network of a plug-in, of weights that depend on torch's random state.

    Raises:
        TrialError: it raises, is no network or has no parameters, its logits have another shape, or it has no feature
            map for attention maps.
    """
    wanted = Wanted(learner, num_classes, channels, image_size)
    errors = PluginErrors(wanted.label)
    with errors:
        network = learner.entry.item(num_classes, channels, image_size, learner)
    if not isinstance(network, nn.Module):
        raise TrialError(f"{wanted.label} returned a {type(network).__name__}, not an nn.Module")
    if next(network.parameters(), None) is None:
        raise TrialError(f"{wanted.label} returned a network without parameters")
    _check_pass(network.eval(), torch.zeros(2, channels, image_size, image_size), errors, wanted)
    network.train().register_forward_hook(partial(_check_outputs, wanted.label, num_classes))
    if isinstance(network, Classifier):
        return PluginClassifier(network, errors)
    try:
        return with_attention(network, wanted, errors)
    except SpecError as error:
        raise TrialError(str(error)) from None


def check_passes(model: nn.Module, learner: Learner, num_classes: int, channels: int, image_size: int) -> None:
    """Check passes of a network of `plugin_classifier` as a training makes them, which change the network.

    Raises:
        TrialError: logits have another shape, are not finite or depend on no parameter, or the feature map and its
            weight do not belong together.
    """
    wanted = Wanted(learner, num_classes, channels, image_size)
    errors = PluginErrors(wanted.label)
    images_BDHW = torch.randn(PROBE_IMAGES, channels, image_size, image_size)
    logits_BC = _check_pass(model.train(), images_BDHW, errors, wanted, gradients=True)
    if not logits_BC.requires_grad:
        raise TrialError(f"{wanted.label} returned logits that depend on none of its parameters")
    _check_pass(model.eval(), images_BDHW, errors, wanted)
    if isinstance(model, PluginClassifier):
        _check_features(model, images_BDHW, errors, wanted)


def _check_pass(
    network: nn.Module, images_BDHW: Tensor, errors: PluginErrors, wanted: Wanted, *, gradients: bool = False
) -> Tensor:
    with errors, torch.set_grad_enabled(gradients):
        logits: Any = network(images_BDHW)
    checked = _checked(logits, wanted.label, (len(images_BDHW), wanted.num_classes))
    if not checked.is_meta and not bool(checked.isfinite().all()):
        raise TrialError(f"{wanted.label} returned logits that are not finite")
    return checked


def _check_outputs(label: str, num_classes: int, _network: nn.Module, inputs: tuple[Tensor, ...], logits: Any) -> None:
    """Check what a pass returned, in a step of a training too."""
    if inputs:  # what a plug-in passes to its own network by name is its own affair
        _checked(logits, label, (len(inputs[0]), num_classes))


def _checked(logits: Any, label: str, expected: tuple[int, int]) -> Tensor:
    if not isinstance(logits, Tensor):
        raise TrialError(f"{label} returned a {type(logits).__name__} for images, not logits")
    if logits.shape != expected:
        raise TrialError(f"{label} returned logits of shape {tuple(logits.shape)}, not (images, classes) {expected}")
    return logits


def _check_features(model: PluginClassifier, images_BDHW: Tensor, errors: PluginErrors, wanted: Wanted) -> None:
    with torch.no_grad():
        logits_BC, features_BDhw = model.forward_with_features(images_BDHW)
        with errors:
            of_map_BC = features_BDhw.mean((2, 3)) @ model.classifier_weight.T
            varying_BC, of_map_BC = logits_BC - logits_BC.mean(0), of_map_BC - of_map_BC.mean(0)
    if min(features_BDhw.shape[2:]) < 2:
        raise TrialError(
            f"{wanted.label} leaves a feature map of {' x '.join(map(str, features_BDhw.shape[2:]))} at "
            f"data.image_size {wanted.image_size}, attention maps need 2 x 2"
        )
    if not torch.allclose(varying_BC, of_map_BC, rtol=1e-3, atol=1e-3 * float(logits_BC.abs().max())):
        raise TrialError(
            f"{wanted.label} has a classifier_weight of another feature map: the map's mean times the weight is not "
            f"the logits but for a constant; {NEEDED}"
        )
