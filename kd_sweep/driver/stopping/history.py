"""The epochs that a stopping rule decides from: scores by trial and by epoch."""

from collections.abc import Mapping, Sequence
from itertools import islice

Scores = tuple[float, ...]
"""What an epoch is judged by: a value for each objective, its sign such that greater is better."""


class History:
    """The epochs of all trials so far, in the order in which they came.

    The past of a trial never changes: an epoch that comes again, as after a retry, is ignored.
    """

    def __init__(self) -> None:
        self._by_trial: dict[str, list[Scores | None]] = {}
        self._by_epoch: dict[int, dict[str, Scores]] = {}
        self._means: dict[tuple[int, int], dict[str, float]] = {}

    def add(self, trial_id: str, epoch: int, scores: Scores | None) -> bool:
        """Take an epoch; return False, and change nothing, unless it is later than all of the trial's.

        Args:
            trial_id: the trial.
            epoch: its number, from 1.
            scores: of the epoch; None where the trial reported none, which no rule counts.
        """
        known = self._by_trial.setdefault(trial_id, [])
        if epoch <= len(known):
            return False
        known += [None] * (epoch - len(known) - 1) + [scores]
        if scores is not None:
            self._by_epoch.setdefault(epoch, {})[trial_id] = scores
        return True

    def last_epoch(self, trial_id: str) -> int:
        """Return the trial's newest epoch, 0 where it has none."""
        return len(self._by_trial.get(trial_id, ()))

    def of_trial(self, trial_id: str) -> Sequence[Scores | None]:
        """Return the trial's scores, epoch 1 first; None for an epoch without."""
        return self._by_trial.get(trial_id, ())

    def at_epoch(self, epoch: int) -> Mapping[str, Scores]:
        """Return the scores of every trial that has some at this epoch, by its id, in the order in which they came."""
        return self._by_epoch.get(epoch, {})

    def means(self, first: int, last: int) -> Mapping[str, float]:
        """Return the mean first score over the epochs ``first`` to ``last``, of every trial that has one at ``last``.

        Epochs without scores are left out. Trials whose scores are all equal have exactly that score as their mean.
        """
        means = self._means.setdefault((first, last), {})
        for trial_id in islice(self.at_epoch(last), len(means), None):  # a mean is taken once
            values = [scores[0] for scores in self._by_trial[trial_id][first - 1 : last] if scores is not None]
            means[trial_id] = values[0] + sum(value - values[0] for value in values) / len(values)
        return means
