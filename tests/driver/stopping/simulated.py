"""Sweeps without trainings: trials with given values report their epochs in a random order."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kd_sweep.driver.stopping.history import History, Scores
from kd_sweep.driver.stopping.rule import StoppingRule

Curves = Mapping[str, Sequence[Scores]]
"""The scores of each trial, epoch 1 first."""


class Oracle(Protocol):
    """Another implementation of a rule, which is told every epoch once."""

    def stops(self, trial_id: str, epoch: int, scores: Scores) -> bool: ...


def curves(seed: int, num_trials: int, num_epochs: int, num_scores: int = 1, *, ties: bool) -> Curves:
    """Random learning curves, a third of them shorter. With ties, of values in 1/16, whose sums and means are exact."""
    rng = random.Random(seed)

    def score(level: float, epoch: int) -> float:
        value = level * (1 - 0.6**epoch) + rng.gauss(0, 0.1)
        return round(value * 16) / 16 if ties else value

    def curve() -> list[Scores]:
        levels = [rng.random() for _ in range(num_scores)]
        length = rng.choice([num_epochs, num_epochs, max(1, num_epochs // 2)])
        return [tuple(score(level, epoch) for level in levels) for epoch in range(1, length + 1)]

    return {f"trial-{index:02d}": curve() for index in range(num_trials)}


def reports(seed: int, trials: Curves, slots: int, stops: Callable[[str, int], bool]) -> list[tuple[str, int]]:
    """Return (trial, epoch) in the order of arrival, where as many trials run at a time as there are slots.

    Args:
        seed: of the order.
        trials: they start in this order.
        slots: how many run at a time.
        stops: says of each epoch whether the trial ends there; at its last it does in any case.
    """
    rng, waiting, running = random.Random(seed), list(trials), dict[str, int]()
    order = []
    while waiting or running:
        while waiting and len(running) < slots:
            running[waiting.pop(0)] = 0
        trial = rng.choice(list(running))
        running[trial] += 1
        order.append((trial, running[trial]))
        if stops(*order[-1]) or running[trial] == len(trials[trial]):
            del running[trial]
    return order


def num_stopped_alike(seed: int, trials: Curves, rule: StoppingRule, oracle: Oracle) -> int:
    """Return how many trials stop early, where the rule decides as the oracle after each epoch but the very last."""
    history = History()
    longest = max(map(len, trials.values()))

    def stops(trial: str, epoch: int) -> bool:
        history.add(trial, epoch, trials[trial][epoch - 1])
        if epoch == longest:
            return True
        ours = rule.stops(history, trial)
        assert ours == oracle.stops(trial, epoch, trials[trial][epoch - 1]), (seed, trial, epoch)
        return ours

    order = reports(seed, trials, 1 + seed % 6, stops)
    return sum((trial, len(scores)) not in order for trial, scores in trials.items())
