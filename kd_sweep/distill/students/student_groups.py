"""The students of one process, each in lock step with those of its stream, and as many as memory suffices for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from kd_sweep.distill.checkpoints import Row
from kd_sweep.distill.students.lock_step import LockStepGroup, forget_traceback, is_out_of_memory
from kd_sweep.storage.root import Location
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig


@dataclass(frozen=True)
class AskingTrial:
    """A trial that waits for its next epoch."""

    config: TrialConfig
    checkpoint_dir: Location | None
    """The trial's own folder; nothing is kept when None."""
    best_by: Objective | None = None
    """Keep the checkpoint of the epoch that is best by this, too."""
    num_known: int | None = None
    """So many epochs has whoever asks; those that the checkpoint has beyond them are the first answer. None: all."""

    def unknown(self, history: list[Row]) -> list[Row]:
        """Return the rows of its checkpoint that are news."""
        return [] if self.num_known is None else history[min(self.num_known, self.config.student.epochs - 1) :]


@dataclass(frozen=True)
class FoundEpochs:
    """The epochs that a trial's checkpoint has and whoever asks has not; of a trial that is done, one at least."""

    rows: list[Row]


Answer = Row | FoundEpochs | Exception
"""What a trial has got: the row of an epoch that it has learned in, what it had done before, or what has ended it."""


class _Member(NamedTuple):
    trial_id: str
    stream_id: str


class StudentGroups:
    """Trials of any streams in one process, by names that whoever asks for them has given them.

    One whose device runs out of memory leaves, and goes on from its checkpoint when another is done; only where it has
    been alone in the process is that its failure.

    Args:
        options: those of `LockStepGroup`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._groups: dict[str, LockStepGroup] = {}
        self._members: dict[str, _Member] = {}
        self._most: int | None = None

    def can_run(self, names: Collection[str]) -> bool:
        """Whether one of these is here, or there is memory for one more."""
        return self._has_room or any(name in self._members for name in names)

    def answers(self, asking: Mapping[str, AskingTrial]) -> dict[str, Answer]:
        """Train an epoch of those trials that have done the fewest; the others wait for them.

        Where a trial that has just come can be answered without that, nobody learns.

        Args:
            asking: all trials of one stream that are here, by their names.

        Returns:
            What those got who need not wait longer, by their names. One that fails, or has no epoch left, has left.
        """
        return self._joined(asking) or self._trained(asking)

    def keep_only(self, names: Collection[str]) -> None:
        """Let go of all others. What their checkpoints have stays."""
        for name in self._members.keys() - set(names):
            self._leave(name)

    @property
    def _has_room(self) -> bool:
        return self._most is None or len(self._members) < self._most

    def _joined(self, asking: Mapping[str, AskingTrial]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        for name, trial in asking.items():
            if name in self._members or not self._has_room:
                continue
            try:
                found = self._join(name, trial)
            except Exception as error:
                if self._members and is_out_of_memory(error):
                    self._leave_room([error], len(self._members))
                else:
                    answers[name] = error
            else:
                if found is not None:
                    answers[name] = found
        return answers

    def _join(self, name: str, trial: AskingTrial) -> FoundEpochs | None:
        """Return what is news to whoever asks; None where that is nothing, and an epoch is left."""
        stream = trial.config.stream
        group = self._groups.get(stream.stream_id) or LockStepGroup(stream, **self._options)
        history = group.join(trial.config, trial.checkpoint_dir, trial.best_by)
        is_done = trial.config.trial_id not in group.trial_ids
        if not is_done:
            self._groups[stream.stream_id] = group
            self._members[name] = _Member(trial.config.trial_id, stream.stream_id)
        rows = trial.unknown(history)
        return FoundEpochs(rows) if rows or is_done else None

    def _leave(self, name: str) -> None:
        member = self._members.pop(name)
        self._groups[member.stream_id].leave(member.trial_id)
        if all(other.stream_id != member.stream_id for other in self._members.values()):
            del self._groups[member.stream_id]

    def _trained(self, asking: Mapping[str, AskingTrial]) -> dict[str, Answer]:
        names = {self._members[name].trial_id: name for name in asking if name in self._members}
        if not names:
            return {}
        num_inside = len(self._members)
        group = self._groups[self._members[next(iter(names.values()))].stream_id]
        outcomes = {names[trial_id]: outcome for trial_id, outcome in group.run_epoch().items()}
        for name in outcomes:
            if self._members[name].trial_id not in group.trial_ids:
                self._leave(name)
        failures = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Exception)}
        too_large = {name: error for name, error in failures.items() if num_inside > 1 and is_out_of_memory(error)}
        if too_large:
            self._leave_room(too_large.values(), num_inside - len(too_large) or num_inside // 2)
        return {name: outcome for name, outcome in outcomes.items() if name not in too_large}

    def _leave_room(self, errors: Collection[Exception], most: int) -> None:
        self._most = most
        for error in errors:
            forget_traceback(error)
        torch.cuda.empty_cache()
