"""The base classes of everything that a study file holds, the parameters of catalogue entries among it."""

from pydantic import BaseModel, ConfigDict


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
