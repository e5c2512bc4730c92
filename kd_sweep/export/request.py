"""What an export is asked for, and what it says when it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from kd_sweep.errors import QueryError
from kd_sweep.export.export_paths import Mark, mark_of
from kd_sweep.export.finished_study import FinishedStudy
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import Results
from kd_sweep.tables.trial_lookup import StoredTrial, find_trials

BEST = "best"
"""The trial that the leaderboard has first."""
STUDENT = "student"


@dataclass(frozen=True)
class Written:
    """What an export did."""

    changed: bool
    """False where everything was there already."""
    what: str
    """`200 trials`, say."""


@dataclass(frozen=True)
class Request:
    """A study, and where it goes; for an export of a network, which one."""

    results: Results
    study_name: str
    target: str
    out: Path
    trial: str | None = None
    """Its id, a beginning of it, or `best`."""
    network: str = STUDENT
    """`student`, or `teacher-1` and so on."""
    location: Mapping[str, str] | None = None
    """Fields of `data` that say where the images are now."""
    metrics: Sequence[str] | None = None
    """Those whose every epoch is asked for, or `histories.ALL` among them; None where nothing is said."""

    @cached_property
    def mark(self) -> Mark:
        """What tells the export from others."""
        rows = self.table("studies").to_pylist()
        return mark_of(self.study_name, rows[0]["created_at"] if rows else None, self.target)

    @cached_property
    def study(self) -> FinishedStudy:
        """The study's finished trials; raises as `FinishedStudy`."""
        return FinishedStudy(self.results, self.study_name)

    def table(self, name: str) -> pa.Table:
        """Return a table of the study as it is now; raises as `Results.table`."""
        return Results(self.results.select(self.study_name)[self.study_name]).table(name)

    def stored_trial(self) -> StoredTrial:
        """Return the trial.

        Raises:
            QueryError: none is named, there is no such trial, or none has a value of its objective yet. One line.
        """
        if self.trial is None:
            raise QueryError("--trial: an export of a network needs a trial; possible: best, or the id of one")
        wanted = self.trial
        if wanted == BEST:
            leaders = answer(self.study.results, "leaderboard").slice(0, 1).to_pylist()
            if not leaders:
                raise QueryError(f"--trial: no trial of {self.study_name} has a value of its objective yet")
            wanted = leaders[0]["trial_id"]
        (found,) = find_trials(self.study.results, [wanted])
        return StoredTrial(found.root, found.study, found.row, self.location or {})
