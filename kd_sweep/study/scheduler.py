"""The section `scheduler` of a study: the stopping rule that ends poor trials early, and what it judges them by."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import SerializeAsAny

from kd_sweep.catalogue.kinds import STOPPING_RULE, Kind
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.catalogue.selecting_section import Selected, SelectingSection

NO_RULE = "none"
"""Name of the stopping rule with which every trial runs all its epochs."""


class Scheduler(SelectingSection):
    """Whether and how poor trials are stopped before their last epoch."""

    kind: ClassVar[Kind] = STOPPING_RULE
    selector: ClassVar[str] = "name"
    word: ClassVar[str] = "scheduler"

    name: str = NO_RULE
    """`none`, `asha`, `median`, `hyperband`, `patience` or `pareto_asha`."""


SelectedScheduler = Annotated[SerializeAsAny[Scheduler], Selected()]


class Asked(NamedTuple):
    """What a study asks for, as far as a stopping rule's parameters have to fit it."""

    longest: int
    """The epochs of its longest trial."""
    num_trials: int
    num_objectives: int

    def grace_period(self, grace_period: int) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with a parameter `grace_period`, before which no trial stops."""
        if grace_period >= self.longest:
            yield (
                "grace_period",
                f"{grace_period} is not below student.epochs, {self.longest}: no trial could stop early",
            )


class StoppingParameters(Parameters):
    """Parameters of a stopping rule that judges trials by all objectives."""

    def mistakes(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Yield the key and the broken rule of every parameter that does not fit the study, the first to be told first.

        Args:
            asked: what the study asks for.
        """
        return iter(())


class OneMetricParameters(StoppingParameters):
    """Parameters of a stopping rule that judges trials by one metric."""

    metric: str | None = None
    """A reported metric; the first objective's when null."""
    mode: Literal["min", "max"] | None = None
    """The first objective's when null; needed for any other metric."""
