"""Pipeline `trivialaugment`: one random operation per image, at a random level up to the strength."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.catalogue.parameters import NoParameters
from kd_sweep.catalogue.traits import PipelineTraits

if TYPE_CHECKING:
    from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting


@register(PIPELINE, "trivialaugment", traits=PipelineTraits())
def trivialaugment(setting: "PipelineSetting", _: NoParameters) -> "Pipeline":
    """Return the pipeline (Müller and Hutter 2021, arXiv 2103.10158)."""
    from kd_sweep.augmentation.policies import WIDE
    from kd_sweep.augmentation.random_operations import RandomOperations

    return RandomOperations(1, WIDE, setting.horizontal_flip, setting.normalization)
