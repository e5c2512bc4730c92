"""How often verdicts are wrong or found, and how many seeds it takes, where seeds are added while verdicts are open.

python -m tests.analysis.adaptive_rates --runs 2000     # the tables of docs/statistics.md
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from kd_sweep.analysis.added_seeds.decision import decision
from kd_sweep.analysis.added_seeds.expected import PlannedTests, simulated_studies
from kd_sweep.analysis.added_seeds.seed_looks import LookedAt
from kd_sweep.analysis.claims import verdicts as verdicts_module
from kd_sweep.analysis.claims.margins import MARGINS
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.sample import Sample
from kd_sweep.statistics.significance import holm, skewed_p
from kd_sweep.statistics.spending import STRICT, Looks, decided_at, running_ts
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from tests.analysis.error_rates import (
    DECIDED,
    NOISES,
    OUTCOMES,
    QUICK,
    any_verdict,
    normal,
    rates,
    simulated,
    t_statistics,
)

ACCURACY = OUTCOMES[-1]
SPREAD = 0.01 * np.sqrt(2.0)
"""Standard deviation between seeds of a difference of two strengths, of normal noise."""
MOST = 16


@dataclass(frozen=True)
class Ended:
    """A simulated study at its end."""

    num_seeds: int
    judged: list[Verdict]

    @property
    def accuracy(self) -> Verdict:
        return next(verdict for verdict in self.judged if verdict.question.outcome == ACCURACY)


def looked(values: np.ndarray, seeds: AdaptiveSeeds, num_seeds: int) -> LookedAt:
    samples = [simulated(values[:, :number]) for number in range(seeds.min, num_seeds + 1)]
    return LookedAt(seeds, num_seeds, tuple(samples))


def run(values: np.ndarray, seeds: AdaptiveSeeds) -> Ended:
    """Return the end of a study with these values, of shape (outcomes, seeds, strengths, sizes)."""
    whole, number = looked(values, seeds, seeds.max), seeds.min
    with evidence_taken_once():
        while True:
            seen = LookedAt(seeds, number, whole.samples[: number - seeds.min + 1])
            if (wanted := decision(seen).num_wanted) == number:
                return Ended(number, verdicts(whole.samples[0], QUICK, MARGINS, seen))
            number = wanted


@contextmanager
def evidence_taken_once() -> Iterator[None]:
    """Take the evidence of each look once: a study of ten looks would take it fifty-five times."""
    known: dict[int, list[Verdict]] = {}
    take = verdicts_module._all_unjudged

    def taken(sample: Sample, *arguments: Any) -> list[Verdict]:
        if id(sample) not in known:
            known[id(sample)] = take(sample, *arguments)
        return known[id(sample)]

    verdicts_module._all_unjudged = taken
    try:
        yield
    finally:
        verdicts_module._all_unjudged = take


def false_verdicts(noise: str, runs: int, strengths: int, seeds: AdaptiveSeeds) -> tuple[float, float]:
    """Return the share of studies with a false verdict, and the mean number of seeds, where nothing has an effect."""
    ends = []
    for at in range(runs):
        generator = np.random.default_rng([at, seeds.max, strengths, 1])
        ends.append(run(0.5 + NOISES[noise](generator, (len(OUTCOMES), seeds.max, strengths, 1)), seeds))
    return float(np.mean([any_verdict(end.judged) for end in ends])), float(np.mean([end.num_seeds for end in ends]))


def ever_called(noise: str, runs: int, strengths: int, seeds: AdaptiveSeeds) -> float:
    """Return in which share of studies of nothing any test of the family is called an effect at one look or more.

    A verdict needs such a test, so there are no more false ones, whatever ends a study and whenever. All studies are
    computed at once; exact tests, which call fewer, are left out.
    """
    generator = np.random.default_rng([seeds.max, strengths, 3])
    values = 0.5 + NOISES[noise](generator, (runs * len(OUTCOMES), seeds.max, strengths, 1))
    values_ROSK = values[..., 0].reshape(runs, len(OUTCOMES), seeds.max, strengths)
    looks, is_called_R = Looks(seeds.min, seeds.max), np.zeros(runs, dtype=bool)
    lowest = {law: np.ones((runs, 0)) for law in STRICT}
    for number in range(seeds.min, seeds.max + 1):
        ts_RT = t_statistics(values_ROSK[:, :, :number])
        for law, before_RT in lowest.items():
            first = np.ones((runs, ts_RT.shape[1] - before_RT.shape[1]))  # of slopes, which three seeds have no test of
            now_RT = decided_at(ts_RT.ravel(), number, looks, law).reshape(ts_RT.shape)
            lowest[law] = np.minimum(np.hstack([before_RT, first]), now_RT)
        ps_RT = np.maximum.reduce(list(lowest.values()))
        is_called_R |= ps_RT.min(1) * ps_RT.shape[1] <= 0.05  # the first step of Holm's correction
    return float(is_called_R.mean())


@dataclass(frozen=True)
class Found:
    """What studies come to in which strength raises accuracy and changes nothing else."""

    power: float
    """Share with a verdict on accuracy."""
    num_seeds: float
    """Mean number."""
    effect: float
    """Mean effect, of the true one."""


def found(effect: float, runs: int, seeds: AdaptiveSeeds) -> Found:
    """Return what becomes of studies with an effect, in standard deviations between seeds, of two strengths."""
    ends = []
    for at in range(runs):
        values = 0.5 + normal(np.random.default_rng([at, 2]), (len(OUTCOMES), seeds.max, 2, 1))
        values[-1, :, 1] += effect * SPREAD
        ends.append(run(values, seeds))
    evidence = [end.accuracy.evidence for end in ends]
    return Found(
        float(np.mean([end.accuracy.answer in DECIDED for end in ends])),
        float(np.mean([end.num_seeds for end in ends])),
        float(np.mean([one.effect.value for one in evidence if one is not None]) / (effect * SPREAD)),
    )


def found_by_statistics(effect: float, runs: int, seeds: AdaptiveSeeds) -> Found:
    """Return the same from t statistics alone, a hundred times as fast."""
    effects_Q = np.array([effect] + [0.0] * (len(OUTCOMES) - 1))
    tests = PlannedTests(len(OUTCOMES), len(OUTCOMES), has_curvature=False)
    ends = simulated_studies(tests, seeds, effects_Q, runs)
    bias = ends.effects_RQ[:, 0].mean() / effect if effect else 1.0
    return Found(float(ends.is_decided_RQ[:, 0].mean()), float(ends.num_seeds_R.mean()), float(bias))


def powers_of_fixed(effect: float, runs: int) -> dict[int, float]:
    """Return how often a fixed number of seeds has a verdict on accuracy, by the number."""
    generator = np.random.default_rng(2)
    values = generator.normal(size=(runs, len(OUTCOMES), MOST))
    values[:, 0] += effect
    ts_RTS = running_ts(values.reshape(-1, MOST)).reshape(values.shape)
    decided = dict.fromkeys(range(3, MOST + 1), 0)
    for ts_TS in ts_RTS:
        for number in decided:
            decided[number] += holm([skewed_p(float(t), number) for t in ts_TS[:, number - 1]])[0] <= 0.05
    return {number: count / runs for number, count in decided.items()}


def seeds_for(power: float, powers: dict[int, float]) -> float:
    """Return how many seeds a fixed design takes for a power, between the numbers that are known."""
    below = 0
    for number, known in powers.items():
        if known >= power:
            low = powers.get(below, 0.0)
            return below + (number - below) * (power - low) / (known - low) if known > low else number
        below = number
    return max(powers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--strengths", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--noises", nargs="*", choices=NOISES, default=list(NOISES))
    parser.add_argument("--most", type=int, nargs="+", default=[5, 8, MOST])
    parser.add_argument("--effects", type=float, nargs="*", default=[0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0])
    arguments = parser.parse_args()
    for name in arguments.noises:
        for strengths in arguments.strengths:
            shares = [rates(NOISES[name], arguments.runs, seeds, strengths)[0] for seeds in (3, 5, 8)]
            for most in arguments.most:
                shares.append(ever_called(name, arguments.runs, strengths, AdaptiveSeeds(min=3, max=most)))
            cells = [f"{share:.3f}" for share in shares]
            print(f"| {name} | {strengths} | {' | '.join(cells)} |", flush=True)
    for name in arguments.noises:
        for strengths in arguments.strengths:
            fixed = [f"{rates(NOISES[name], arguments.runs, seeds, strengths)[0]:.3f}" for seeds in (3, 5, 8)]
            found_false = [
                false_verdicts(name, arguments.runs, strengths, AdaptiveSeeds(min=3, max=most))
                for most in arguments.most
            ]
            cells = [*fixed, *(f"{rate:.3f} ({seeds:.1f})" for rate, seeds in found_false)]
            print(f"| {name} | {strengths} | {' | '.join(cells)} |", flush=True)
    for effect in arguments.effects:
        powers = powers_of_fixed(effect, arguments.runs)
        at_most = found_by_statistics(effect, arguments.runs, AdaptiveSeeds(min=3, max=MOST))
        fixed = " | ".join(f"{powers[number]:.2f}" for number in (8, 12, MOST))
        equal = seeds_for(at_most.power, powers)
        growing = f"{at_most.power:.2f} | {at_most.num_seeds:.1f} | {equal:.1f} | {at_most.effect:.2f}"
        print(f"| {effect:g} | {fixed} | {growing} |", flush=True)


if __name__ == "__main__":
    main()
