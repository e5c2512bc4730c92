"""Pipeline `weak_strong`: the paper's two presets for the dataset; the strength is the share of the strong one."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.catalogue.parameters import NoParameters
from kd_sweep.catalogue.traits import PipelineTraits

if TYPE_CHECKING:
    from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting


@register(PIPELINE, "weak_strong", traits=PipelineTraits(clean_at_zero=False))
def weak_strong(setting: "PipelineSetting", _: NoParameters) -> "Pipeline":
    """Return the pipeline (arXiv 2405.00739)."""
    from kd_sweep.augmentation.presets import WeakStrong

    return WeakStrong(setting.presets == "cifar", setting.horizontal_flip, setting.normalization)
