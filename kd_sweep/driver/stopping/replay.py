"""The replay of a study's epochs: a stopping rule knows after it what it knew when the last driver ended."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from kd_sweep.driver.stopping.history import History, Scores
from kd_sweep.driver.stopping.rule import StoppingRule
from kd_sweep.driver.stopping.study_rule import rule_of
from kd_sweep.study.spec import Objective, StudySpec, judged_by

EpochsTable = Callable[[Sequence[str]], pa.Table]


class Judge:
    """A study's stopping rule, and the history that it decides from.

    Args:
        rule: the rule.
        objectives: what it judges by.
        by_seed: whether trials are compared with those of their own seed alone.
    """

    def __init__(self, rule: StoppingRule, objectives: Sequence[Objective], *, by_seed: bool = False) -> None:
        self._rule = rule
        self._objectives = objectives
        self._by_seed = by_seed
        self._histories: dict[int | None, History] = {}
        self._history_of: dict[str, History] = {}

    def add(self, trial_id: str, row: Mapping[str, Any]) -> bool:
        """Take an epoch; return False, and change nothing, unless it is the trial's newest.

        Args:
            trial_id: the trial.
            row: its `epoch`, its metrics, and the trial's `seed`.
        """
        seed = row["seed"] if self._by_seed else None
        history = self._history_of[trial_id] = self._histories.setdefault(seed, History())
        return history.add(trial_id, row["epoch"], self._scores(row))

    def stops(self, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch, which must be the last one that was added."""
        return self._rule.stops(self._history_of[trial_id], trial_id)

    def last_epoch(self, trial_id: str) -> int:
        """Return the trial's newest epoch, 0 where it has none."""
        return self._history_of[trial_id].last_epoch(trial_id) if trial_id in self._history_of else 0

    def _scores(self, row: Mapping[str, Any]) -> Scores | None:
        scores = []
        for objective in self._objectives:
            value = row.get(objective.metric)
            if value is None:
                return None
            scores.append(value if objective.mode == "max" else -value)
        return tuple(scores)


class Replay(NamedTuple):
    """A judge that knows the tables, and what it had decided that the tables do not say."""

    judge: Judge
    stopped: list[str]
    """The unfinished trials that end with their newest epoch."""


def replay(spec: StudySpec, epochs_table: EpochsTable, unfinished: Collection[str]) -> Replay | None:
    """Return the study's judge, told every epoch of the tables in order of arrival; None without a scheduler.

    A driver can die after it wrote an epoch and before it wrote that the trial was stopped there, and the last epochs
    of a killed one are in checkpoints alone, with nobody's decision. So unfinished trials are judged here, from what
    had come by the time of their newest epoch.

    Args:
        spec: the study.
        epochs_table: returns these columns of every epoch, sorted by trial and epoch.
        unfinished: ids of trials that have begun and not ended.
    """
    rule, objectives = rule_of(spec), judged_by(spec)
    if rule is None:
        return None
    judge, stopped = Judge(rule, objectives, by_seed=spec.seeds is not None), []
    compared = ["seed"] if spec.seeds is not None else []
    table = epochs_table(
        ["trial_id", "epoch", "finished_at", *compared, *(objective.metric for objective in objectives)]
    )
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "finished_at"}
    last_epochs = dict(zip(columns["trial_id"], columns["epoch"], strict=True))
    for index in _by_arrival(columns["trial_id"], table["finished_at"]):
        row = {name: column[index] for name, column in columns.items()}
        trial_id = row["trial_id"]
        judge.add(trial_id, row)
        if trial_id in unfinished and row["epoch"] == last_epochs[trial_id] and judge.stops(trial_id):
            stopped.append(trial_id)
    return Replay(judge, stopped)


def _by_arrival(trial_ids: Sequence[str], finished_at: pa.ChunkedArray) -> list[int]:
    """Return the indices of rows by time. They come sorted by trial and epoch; those of a trial stay in order."""
    times = finished_at.cast(pa.int64()).fill_null(0).to_pylist()
    for index in range(1, len(times)):
        if trial_ids[index] == trial_ids[index - 1]:
            times[index] = max(times[index], times[index - 1])
    return sorted(range(len(times)), key=times.__getitem__)
