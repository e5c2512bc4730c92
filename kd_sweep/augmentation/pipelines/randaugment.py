"""Pipeline `randaugment`: two random operations per image, at a level that is the strength."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.catalogue.parameters import NoParameters
from kd_sweep.catalogue.traits import PipelineTraits

if TYPE_CHECKING:
    from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting


@register(PIPELINE, "randaugment", traits=PipelineTraits())
def randaugment(setting: "PipelineSetting", _: NoParameters) -> "Pipeline":
    """Return the pipeline (Cubuk et al. 2019, arXiv 1909.13719)."""
    from kd_sweep.augmentation.policies import STANDARD
    from kd_sweep.augmentation.random_operations import RandomOperations

    return RandomOperations(2, STANDARD, setting.horizontal_flip, setting.normalization)
