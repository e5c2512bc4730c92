"""Stopping rule `none`: every trial runs all its epochs."""

from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.catalogue.parameters import NoParameters


@stopping_rule("none")
def none(parameters: NoParameters, longest: int) -> None:
    """Return no rule."""
