"""Arms against each other: control arms and views against the usual one, teaching against labels alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kd_sweep.analysis.comparisons import Comparison, Pair
from kd_sweep.analysis.trial_settings import NO_TEACHING, Arm, Setting

ARMS = "arms"
"""The kind of these comparisons, and what varies in them."""
TRAINED_TEACHERS = "trained teachers"
"""The usual arm of an outcome that is about the teachers alone."""
_OF_ARMS = "distillation_"
"""What the columns begin with that may differ between arms: a loss has parameters of its own."""


@dataclass(frozen=True)
class Contrast:
    """Two arms, and the settings of each that are alike in everything else."""

    first: Arm
    second: Arm
    pairs: Sequence[Pair]

    @property
    def comparisons(self) -> Iterator[Comparison]:
        """Each pair by itself, then all together."""
        for pair in self.pairs:
            yield Comparison(ARMS, ARMS, None, None, False, [pair])
        yield Comparison(ARMS, ARMS, None, None, True, self.pairs)


def arm_contrasts(arms: Mapping[Arm, Sequence[Setting]]) -> Iterator[Contrast]:
    """Yield what is compared: from labels alone to each loss, and from each loss to what differs in its teachers."""
    for first, second in _ordered(list(arms)):
        likes: dict[Setting, list[Setting]] = {}
        for setting in arms[first]:
            likes.setdefault(_without_arm(setting), []).append(setting)
        pairs = [(one, other) for other in arms[second] for one in likes.get(_without_arm(other), [])]
        if pairs:
            yield Contrast(first, second, pairs)


def _ordered(arms: Sequence[Arm]) -> Iterator[tuple[Arm, Arm]]:
    for first in arms:
        for second in arms:
            if not first.is_usual or first == second or first.maps != second.maps:
                continue
            if first.loss == second.loss or (first.loss == NO_TEACHING and second.is_usual):
                yield first, second


def _without_arm(setting: Setting) -> Setting:
    return setting._replace(others=tuple(pair for pair in setting.others if not pair[0].startswith(_OF_ARMS)))
