"""Whether a study with adaptive seeds needs another one, decided from its tables alone."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from kd_sweep.analysis.added_seeds.seed_looks import LookedAt, looked_at
from kd_sweep.analysis.claims.margins import MARGINS
from kd_sweep.analysis.claims.p_values import PValue
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.wording import counted, listed
from kd_sweep.errors import QueryError
from kd_sweep.statistics.intervals import MIN_RESAMPLES, Bootstrap
from kd_sweep.statistics.shapes import Contrast
from kd_sweep.statistics.significance import POWER, power
from kd_sweep.statistics.spending import Looks
from kd_sweep.study.repeat_seeds import AdaptiveSeeds

_QUICK = Bootstrap(resamples=MIN_RESAMPLES)


@dataclass(frozen=True)
class SeedDecision:
    """What a study with adaptive seeds has come to."""

    seeds: AdaptiveSeeds
    num_complete: int
    """Of the first seeds, how many have ended in every setting."""
    decided: tuple[str, ...] = ()
    """Outcomes that have a verdict; `name (1 of 4)` where of four verdicts, as on several arms, it is one."""
    open: tuple[str, ...] = ()
    """Outcomes without one, which further seeds are added for; so, too."""
    given_up: tuple[str, ...] = ()
    """Outcomes without one that the greatest number of seeds would hardly decide either; so, too."""

    @property
    def num_wanted(self) -> int:
        """How many seeds the study is to be run with, by what is known so far."""
        if self.num_complete < self.seeds.min:
            return self.seeds.min
        return min(self.num_complete + bool(self.open), self.seeds.max)

    def __str__(self) -> str:
        """What is shown of it on one line."""
        of = f"{counted(self.num_complete, 'seed')} of at most {self.seeds.max}"
        if self.num_complete < self.seeds.min:
            return f"{of}, no look before {self.seeds.min}"
        parts = [
            f"{word}: {listed(list(names))}"
            for word, names in (("undecided", self.open), ("decided", self.decided), ("given up", self.given_up))
            if names
        ]
        return f"{of}; {'; '.join(parts) or 'nothing to decide'}"


def decide(trials: pa.Table, study: str, seeds: AdaptiveSeeds) -> SeedDecision:
    """Return whether the trials of the seeds that are complete leave a verdict open.

    Args:
        trials: rows of the study.
        study: its name.
        seeds: as it was launched with.
    """
    try:
        looked = looked_at(trials, study, seeds)
    except QueryError:  # nothing was completed
        return SeedDecision(seeds, seeds.min)
    return decision(looked)


def decision(looked: LookedAt) -> SeedDecision:
    """Return what a study has come to at its last look."""
    seeds, sample = looked.seeds, looked.now
    if sample is None:
        return SeedDecision(seeds, looked.num_complete)
    judged = [
        verdict
        for verdict in verdicts(sample, _QUICK, MARGINS, looked)
        if verdict.question.outcome in (seeds.outcomes or sample.outcomes)
        and verdict.question.mediator is None  # no seed is added for the links of the chain
    ]
    level = 1.0 - _QUICK.confidence
    num_open = sum(p.corrected > level for verdict in judged for p in (verdict.p.trend, verdict.p.curvature) if p)
    states = [_state(verdict, looked.looks, level, num_open) for verdict in judged]
    return SeedDecision(
        seeds,
        looked.num_complete,
        *(_outcomes(judged, states, state) for state in ("decided", "open", "given up")),
    )


def _outcomes(judged: Iterable[Verdict], states: Iterable[str], wanted: str) -> tuple[str, ...]:
    """Return the outcomes with a verdict in a state; where others of an outcome are in another, how many are in it."""
    found: dict[str, list[bool]] = {}
    for verdict, state in zip(judged, states, strict=True):
        if state != "not tested" and verdict.question.outcome is not None:
            found.setdefault(verdict.question.outcome, []).append(state == wanted)
    return tuple(
        name if all(is_in) else f"{name} ({sum(is_in)} of {len(is_in)})" for name, is_in in found.items() if any(is_in)
    )


def _state(verdict: Verdict, looks: Looks, level: float, num_open: int) -> str:
    if verdict.answer != "undecided":
        return "decided" if verdict.answer != "not tested" else verdict.answer
    evidence = verdict.evidence
    if evidence is None or verdict.reason is not None:
        return "not tested"
    tests = [(evidence.trend, verdict.p.trend, verdict.margin or 0.0)]
    if evidence.along:
        tests.append((evidence.along.curvature, verdict.p.curvature, 0.0))
    last_level = looks.level(looks.last, level / max(1, num_open))
    hopeless = (_is_hopeless(contrast, p, border, looks.last, level, last_level) for contrast, p, border in tests)
    return "given up" if all(hopeless) else "open"


def _is_hopeless(
    contrast: Contrast, p: PValue | None, border: float, last: int, level: float, last_level: float
) -> bool:
    """Whether all seeds would decide a test in fewer than four studies of five, with an effect at the far end of its
    interval.
    """
    estimate = contrast.estimate
    if p is None or p.corrected <= level or not estimate.std or estimate.t_interval is None:
        return False
    half = (estimate.t_interval.high - estimate.t_interval.low) / 2.0
    farthest = (abs(estimate.value - border) + half) / estimate.std
    return power(farthest, last, last_level) < POWER
