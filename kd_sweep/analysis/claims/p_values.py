"""The p values of a study's tests: of one look, or of all looks at a study whose seeds grow in number."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kd_sweep.analysis.claims.evidence import Evidence
from kd_sweep.analysis.claims.paper_claims import Question
from kd_sweep.analysis.trial_settings import Arm
from kd_sweep.statistics.permutations import smallest_p
from kd_sweep.statistics.shapes import Contrast
from kd_sweep.statistics.significance import normal_p, skewed_p
from kd_sweep.statistics.spending import NORMAL, STRICT, Law, Looks, Seen, repeated_p


class Key(NamedTuple):
    """What tells a test from the others of a study, at every look the same."""

    claim: str
    outcome: str | None
    varied: str | None
    arm: Arm
    name: str
    """Of `Evidence.contrasts`."""


def key_of(question: Question, name: str) -> Key:
    """Return the key of one of a question's tests."""
    return Key(question.claim.name, question.outcome, question.varied, question.arm, name)


@dataclass(frozen=True)
class Test:
    """One test of a study, with its t statistic."""

    key: Key
    contrast: Contrast
    """Its t is not None."""
    evidence: Evidence
    """What it is a part of."""

    def seen(self, *, is_exact: bool) -> Seen:
        """Return what the test has come to."""
        assert self.contrast.t is not None
        exact = self.evidence.exact_of(self.key.name) or 0.0 if is_exact else 0.0
        return Seen(self.contrast.estimate.num_clusters, self.contrast.t, exact)


@dataclass(frozen=True)
class PValue:
    """Of one test, raw and corrected for all tests of the study (Holm)."""

    raw: float
    corrected: float


class PValues:
    """How the p values of a study's tests are taken.

    Args:
        looks: all that there can be at a study with adaptive seeds; None where the number of seeds is fixed.
        earlier: the tests at earlier looks, in their order.
    """

    def __init__(self, looks: Looks | None, earlier: Iterable[Test] = ()) -> None:
        self.looks = looks
        self._earlier: dict[Key, list[Test]] = {}
        for test in earlier:
            self._earlier.setdefault(test.key, []).append(test)

    def strict(self, test: Test, reach: float) -> float:
        """Return the p value for differences that may be skewed, and of the exact test where that counts.

        Args:
            test: at the last look.
            reach: the p value that one of so many tests has to get to.
        """
        if self.looks is not None:
            return self._repeated(test, reach, STRICT)
        seen = test.seen(is_exact=self.is_exact(test.evidence, reach))
        return max(seen.exact, skewed_p(seen.t, seen.num_seeds))

    def if_normal(self, test: Test) -> float:
        """Return the p value for differences that are normal."""
        if self.looks is not None:
            return self._repeated(test, 0.0, NORMAL)
        seen = test.seen(is_exact=False)
        return normal_p(seen.t, seen.num_seeds)

    def is_exact(self, evidence: Evidence, reach: float) -> bool:
        """Whether the exact test counts: with so many seeds and levels its p can be small enough."""
        num_seeds = evidence.effect.num_clusters
        if evidence.tested_SK is None:
            return False
        if self.looks is not None:
            if not self.looks.first <= num_seeds <= self.looks.last:
                return False
            reach = self.looks.level(num_seeds, reach)
        return smallest_p(num_seeds, evidence.num_levels) <= reach

    def last_level(self, level: float) -> float:
        """Return the p value that the last look has to get to by itself, for a test of an error of ``level``."""
        return level if self.looks is None else self.looks.level(self.looks.last, level)

    def _repeated(self, test: Test, reach: float, laws: Iterable[Law]) -> float:
        assert self.looks is not None
        tests = [*self._earlier.get(test.key, ()), test]
        seen = (one.seen(is_exact=reach > 0.0 and self.is_exact(one.evidence, reach)) for one in tests)
        return repeated_p(seen, self.looks, laws)
