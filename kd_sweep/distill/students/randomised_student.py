"""The model-randomisation check of a student: what is left of its attention maps without what it has learned."""

import torch
from torch import nn

from kd_sweep.attention.randomised import kept_correlations
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.ensembles.member import untrained_models
from kd_sweep.errors import TrialError
from kd_sweep.study.trial import TrialConfig

_NAMES = ("attention_randomised_classifier_student", "attention_randomised_network_student")


def randomised_metrics(student: nn.Module, config: TrialConfig, stream: AugmentationStream) -> dict[str, float | None]:
    """Return the check's metrics, means over the clean validation images, as those of teachers are taken.

    The student is left in evaluation mode. They take three passes over the images.

    Args:
        student: as it was trained.
        config: its trial.
        stream: its images.
    """
    device = next(student.parameters()).device
    initial, redrawn = untrained_models(config.student, config.init_seed, stream.dataset, device)
    images = (batch.images_BDHW for batch in stream.clean_batches(stream.dataset.val))
    try:
        with torch.no_grad():
            kept = kept_correlations(student.eval(), initial, redrawn, images, config.metrics)
    except TrialError:  # of a plug-in that was made for networks that have learned something
        return dict.fromkeys(_NAMES)
    return {name: float(values_N.mean()) for name, values_N in zip(_NAMES, kept, strict=True)}
