"""Pipeline `strength`: the families of transforms that a study lists, scaled continuously."""

from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field, model_validator

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import PIPELINE
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.catalogue.traits import PipelineTraits

if TYPE_CHECKING:
    from kd_sweep.augmentation.pipeline_protocol import Pipeline, PipelineSetting

Transform = Literal["geometry", "color", "erasing"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)


class StrengthParameters(Parameters):
    """Of `strength`."""

    transforms: tuple[Transform, ...] = Field(TRANSFORMS, min_length=1)
    """Geometry: flip, shift, scale, rotate, shear. Color: brightness, contrast, saturation. Erasing: one rectangle."""

    @model_validator(mode="after")
    def _in_one_order(self) -> "StrengthParameters":
        """Write them in one order, that in which they are applied: another is the same augmentation."""
        if len(set(self.transforms)) < len(self.transforms):
            raise ValueError(f"transforms {list(self.transforms)} has one of them twice")
        object.__setattr__(self, "transforms", tuple(sorted(self.transforms, key=TRANSFORMS.index)))
        return self


@register(PIPELINE, "strength", parameters=StrengthParameters, traits=PipelineTraits())
def strength(setting: "PipelineSetting", parameters: StrengthParameters) -> "Pipeline":
    """Return the pipeline; geometry mirrors images where that keeps the label."""
    from kd_sweep.augmentation.strength_family import StrengthFamily

    flips = "geometry" in parameters.transforms and setting.horizontal_flip
    return StrengthFamily(frozenset(parameters.transforms) | ({"flip"} if flips else set()), setting.normalization)
