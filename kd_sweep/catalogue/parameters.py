"""The base classes of everything that a study file holds, the parameters of catalogue entries among it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_COUNT = 1_000_000
"""Upper limit of epochs, trials and the like, so that a slip of the keyboard is an error and not a full disk."""

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class Strict(BaseModel):
    """Unknown keys, wrong types, NaN and infinity are errors; instances never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
    )


class Parameters(Strict):
    """The parameters of an entry: fields with defaults, limits (`pydantic.Field`) and a docstring each.

    They are keys of the section of the study file that selects the entry, beside the section's own. A field of an
    int, float, str, bool or `Literal` can be searched.
    """


class NoParameters(Parameters):
    """Of an entry that has none."""


class SamplerParameters(Parameters):
    """What every sampler has that suggests points one after another, beside its own."""

    num_trials: Count = 20
    """Distinct points; fewer where the space has fewer."""
    seed: Seed = 0
