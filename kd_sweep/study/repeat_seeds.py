"""The field `seeds` of a study: a list of seeds, or when more of them are added."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from kd_sweep.catalogue.parameters import Seed, Strict

MAX_REPEATS = 1000
LEAST_FOR_A_VERDICT = 3
MAX_ADAPTIVE = 50
"""The studies that p values are corrected by are simulated with so many seeds: more would take minutes."""


class AdaptiveSeeds(Strict):
    """Adaptive seeds are added one by one while a verdict on the paper's claims is open."""

    min: int = Field(ge=LEAST_FOR_A_VERDICT, le=MAX_ADAPTIVE)
    """Run with so many in any case, and look at the verdicts for the first time then."""
    max: int = Field(ge=LEAST_FOR_A_VERDICT, le=MAX_ADAPTIVE)
    """Never run with more. Verdicts are corrected for a look after every seed up to this number."""
    until: Literal["decided"] = "decided"
    """Stop once each verdict is decided, or would not be with `max` seeds either."""
    outcomes: tuple[str, ...] = ()
    """Add seeds for verdicts on these metrics alone; for all verdicts when empty."""
    first: Seed = 0
    """The first seed; the others follow it."""

    @model_validator(mode="after")
    def _grows(self) -> "AdaptiveSeeds":
        if not self.min < self.max:
            raise ValueError(f"max {self.max} is not above min {self.min}; seeds: {self.min} is a fixed number of them")
        return self

    @property
    def all(self) -> tuple[int, ...]:
        """All seeds that there can be, in the order in which they are added."""
        return tuple(range(self.first, self.first + self.max))


def _from_zero(seeds: Any) -> Any:
    """Write a number of seeds as the list that it stands for."""
    if isinstance(seeds, dict):
        return {name: _tuple(value) for name, value in seeds.items()}
    if isinstance(seeds, bool) or not isinstance(seeds, int):
        return _tuple(seeds)
    if not 1 <= seeds <= MAX_REPEATS:
        raise ValueError(f"{seeds} is not from 1 to {MAX_REPEATS}, the seeds that a point can be run with")
    return tuple(range(seeds))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_Listed = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MAX_REPEATS)]
Seeds = Annotated[
    Annotated[
        Annotated[_Listed, Tag("listed")] | Annotated[AdaptiveSeeds, Tag("adaptive")],
        Discriminator(lambda seeds: "adaptive" if isinstance(seeds, dict | AdaptiveSeeds) else "listed"),
    ]
    | None,
    BeforeValidator(
        _from_zero,
        json_schema_input_type=Annotated[int, Field(ge=1, le=MAX_REPEATS)] | _Listed | AdaptiveSeeds | None,
    ),
]
