"""Checks of a network that a study names. They load torch only for weights and networks that are not built in."""

import hashlib
from contextlib import suppress

from kd_sweep.data.paths import absolute_path
from kd_sweep.errors import DataError, SpecError, TrialError
from kd_sweep.study.recipe import Learner

PROBE_CLASSES = 7
"""A number of classes that few datasets have: a file's classifier is not mistaken for the network's own."""
WEIGHT_FILES = (".safetensors", ".pth", ".pt")


def check_model(learner: Learner, field: str, image_size: int, channels: int, *, download: bool = True) -> None:
    """Raise SpecError where ``learner.model`` cannot be built, or gives no attention maps at ``image_size``.

    Built-in names are answered at once; others are built once and tried on some images.

    Args:
        learner: the network.
        field: of the model, `teacher.model` or `student.model`, for the message.
        image_size: height and width in pixels.
        channels: of the images.
        download: try published weights too, which downloads them; else only whether there are some.
    """
    section = field.removesuffix("model")
    if learner.is_of_library or learner.source is not None:
        try:
            _check_by_building(learner, image_size, channels)
        except (SpecError, TrialError) as error:
            raise SpecError(f"{section}{error}") from error
    if learner.weights is not None:
        weights_field = f"{section}weights"
        with_digest = with_weights_digest(learner, weights_field)
        check_weights(with_digest, weights_field, image_size, channels, download=download)


def _check_by_building(learner: Learner, image_size: int, channels: int) -> None:
    import torch

    from kd_sweep.networks.classifiers import build_for, seeded
    from kd_sweep.networks.plugin_networks import check_passes

    images = (PROBE_CLASSES, channels, image_size)
    if learner.is_of_library:
        # A pass that computes shapes alone finds most mistakes. Some constructors compute with tensors, and need data.
        with suppress(NotImplementedError), torch.device("meta"):
            build_for(learner, *images)
    with seeded(0):
        network = build_for(learner, *images)
        if learner.source is not None:
            check_passes(network, learner, *images)


def with_weights_digest(learner: Learner, field: str) -> Learner:
    """Return ``learner`` with an absolute path of its weights and the digest of that file, if it names one.

    Raises:
        SpecError: there is no such file, it is no file of weights, or not the one of the study's launch.
    """
    if learner.weights is None or learner.weights == "pretrained":
        return learner
    try:
        path = absolute_path(learner.weights, field)
    except DataError as error:
        raise SpecError(str(error)) from None
    if not path.is_file():
        raise SpecError(
            f"{field}: {learner.weights!r} is no file; possible: pretrained, or a .safetensors or .pth file"
        )
    if path.suffix not in WEIGHT_FILES:
        raise SpecError(f"{field}: {learner.weights!r} is no file of weights; possible: {', '.join(WEIGHT_FILES)}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if learner.weights_digest not in (None, digest):
        raise SpecError(
            f"{field}: {path} is not the file that the study was launched with (digest {digest}, at launch "
            f"{learner.weights_digest}); restore it, or launch a study with another name"
        )
    return learner.model_copy(update={"weights": str(path), "weights_digest": digest})


def check_weights(learner: Learner, field: str, image_size: int, channels: int, *, download: bool) -> None:
    """Raise SpecError where `load_initial_weights` would, by doing it.

    Without ``download``, of published weights only whether there are some.
    """
    import torch

    from kd_sweep.networks.classifiers import build_for
    from kd_sweep.networks.initial_weights import PUBLISHED, check_published_weights, load_initial_weights

    if learner.weights == PUBLISHED and not download:
        check_published_weights(learner, field)
        return
    with torch.random.fork_rng(devices=[]):
        load_initial_weights(build_for(learner, PROBE_CLASSES, channels, image_size), learner, field)
