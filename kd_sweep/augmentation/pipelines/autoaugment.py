"""Pipeline `autoaugment`: the learned policy for the dataset, applied to a share of the images that is the strength."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.catalogue.parameters import NoParameters
from kd_sweep.catalogue.traits import PipelineTraits

if TYPE_CHECKING:
    from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting


@register(PIPELINE, "autoaugment", traits=PipelineTraits())
def autoaugment(setting: "PipelineSetting", _: NoParameters) -> "Pipeline":
    """Return the pipeline (Cubuk et al. 2018, arXiv 1805.09501)."""
    from kd_sweep.augmentation.policies import CIFAR10_POLICY, IMAGENET_POLICY
    from kd_sweep.augmentation.random_operations import AutoAugment

    policy = CIFAR10_POLICY if setting.presets == "cifar" else IMAGENET_POLICY
    return AutoAugment(policy, setting.horizontal_flip, setting.normalization)
