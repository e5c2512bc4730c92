"""Pipeline `cutmix`: every image with a rectangle of another one of its batch."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.catalogue.parameters import NoParameters
from kd_sweep.catalogue.traits import PipelineTraits

if TYPE_CHECKING:
    from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting


@register(PIPELINE, "cutmix", traits=PipelineTraits(mixes=True))
def cutmix(setting: "PipelineSetting", _: NoParameters) -> "Pipeline":
    """Return the pipeline (Yun et al. 2019, arXiv 1905.04899), which flips images before it mixes them."""
    from kd_sweep.augmentation import mixing
    from kd_sweep.augmentation.policies import STANDARD
    from kd_sweep.augmentation.random_operations import RandomOperations

    return RandomOperations(0, STANDARD, setting.horizontal_flip, setting.normalization, mixing.cutmix)
