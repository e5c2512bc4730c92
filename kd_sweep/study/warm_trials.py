"""The trials of another study that a search starts from."""

from pydantic import Field

from kd_sweep.catalogue.parameters import Strict

Scalar = bool | int | float | str | None


class WarmTrial(Strict):
    """What a search learns from trials of the other study that differ in nothing but their seed."""

    point: dict[str, Scalar | tuple[Scalar, ...]]
    """Their values of the dimensions, by name."""
    objectives: dict[str, float]
    """The mean of each objective, by its metric."""


class WarmStart(Strict):
    """Another study, whose finished trials an adaptive sampler learns from before its first suggestion."""

    study: str = Field(min_length=1)
    """Its name, in the same results root, or the path of its folder."""
    trials: tuple[WarmTrial, ...] = ()
    """Filled in at launch, so that a study goes on as it began when the other one has grown."""
