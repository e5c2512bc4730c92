"""A metric as a record: what it means, which values it can have, of which images and networks, and where it is null."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Split = Literal["train", "val", "val_augmented"]
"""Images of the training stream, clean validation images, or those at the trial's own strength (docs/metrics.md)."""
About = Literal["student", "teachers", "ensemble", "student and teachers"]
Unit = Literal["share", "nats", "ratio", "loss", "correlation", "images"]
"""`loss`: of the distillation loss, whose scale follows from `distillation`."""
Kind = Literal["plain", "chance", "paper code"]
"""`chance`: what another metric would be for unrelated images. `paper code`: as arXiv 2405.00739's code takes it."""

TOLERANCE = 0.01
"""How far rounding may take a value beyond its range: at temperature 100 a loss is 10,000 times a float32's KL."""


class Range(NamedTuple):
    """The values that a metric can have, both ends included."""

    low: float
    high: float | None
    """None: the logarithm of the number of classes."""
    text: str
    """As the documentation says it."""

    def holds(self, value: float, num_classes: int) -> bool:
        """Whether a finite value is in the range, but for rounding."""
        high = math.log(num_classes) if self.high is None else self.high
        return self.low - TOLERANCE <= value <= high + TOLERANCE


SHARE = Range(0.0, 1.0, "0 to 1")
DIFFERENCE_OF_SHARES = Range(-1.0, 1.0, "−1 to 1")
CORRELATION = Range(-1.0, 1.0, "−1 to 1")
NOT_NEGATIVE = Range(0.0, math.inf, "≥ 0")
OF_A_LOSS = Range(-math.inf, math.inf, "≥ 0; of a plug-in's loss any number")
AT_MOST_1 = Range(-math.inf, 1.0, "≤ 1")
INFORMATION = Range(0.0, None, "0 to log(classes)")


class Null(Enum):
    """Where a metric has no value; the text ends the sentence "Null …"."""

    ONE_TEACHER = "with one teacher"
    MANY_TEACHERS = "with more than 16 teachers"
    NO_OTHER_IMAGE = "where there is no other image"
    CHANCE_IS_1 = "where chance is 1"
    NO_FULL_BATCH = "with fewer than 128 validation images"
    NO_SUCH_IMAGE = "where no image is of that kind"
    NO_MAP = "where a plug-in's map cannot be made of such a network"
    NOT_LAST = "before the student's last epoch"
    CONTROL = "where teachers are controls (`distillation.teacher_control`)"
    DECLARED = "where its author says so"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a trial reports at the end of every epoch, under this name."""

    name: str
    meaning: str
    """Its definition, as `docs/metrics.md` has it: Markdown on one line."""
    range: Range
    unit: Unit
    splits: tuple[Split, ...]
    about: About
    better: Literal["max", "min"] | None = None
    """The mode of an objective that gives none; None where neither more nor less is better in itself."""
    null: tuple[Null, ...] = ()
    asked_by: str | None = None
    """A field of the study's `metrics`: null unless that is true."""
    difference_of: tuple[str, str] | None = None
    """Two other metrics: this one is the first less the second."""
    of_attention: bool = False
    """Whether it depends on the kind of attention map."""
    kind: Kind = "plain"
    is_list: bool = False
    """Several values, as one for each class: a column of `epochs` alone, and no objective."""

    @property
    def is_of_teachers(self) -> bool:
        """Whether it is the same whatever the student does."""
        return self.about in ("teachers", "ensemble")

    @property
    def can_be_null(self) -> bool:
        """Whether a trial may report it without a value."""
        return bool(self.null) or self.asked_by is not None

    @property
    def null_text(self) -> str:
        """Where it is null, in words; empty where it never is."""
        reasons = [reason.value for reason in self.null]
        if self.asked_by:
            reasons.append(f"unless `metrics.{self.asked_by}` is true")
        return ", or ".join(reasons)
