"""Analyses of studies: each revision of the tables is analysed once, however many ask for it at the same time."""

import asyncio
import json
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool

from kd_sweep.errors import UserError
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.service.http.child_process import run_child
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.standing_answers import StandingAnswers
from kd_sweep.storage.temporary_folders import scratch_folder

_MODULE = "kd_sweep.service.http.analysis_process"
ANALYSIS_S = 120.0
"""How long an analysis may take."""


@dataclass(frozen=True)
class Analysed:
    """The analysis of a study at one revision of its tables, or why there is none."""

    tag: str
    """Of the revision."""
    tables: dict[str, pa.Table] = field(default_factory=dict)
    """By the names of the process's files: `effects`, `effects-pooled`."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the tables has to know, line by line."""
    refusal: str | None = None
    """Why the study cannot be analysed, on one line."""

    @property
    def nbytes(self) -> int:
        """The memory that the tables take."""
        return sum(table.nbytes for table in self.tables.values())


class Analysing:
    """The analyses of a service. Those who come while a study is analysed wait for that answer, and hold no thread.

    Args:
        reading: of the results root.
        answers: that the service has given.
    """

    def __init__(self, reading: Reading, answers: StandingAnswers) -> None:
        self._reading, self._answers = reading, answers
        self._running: dict[str, asyncio.Task[Analysed]] = {}

    async def of(self, name: str) -> Analysed:
        """Return the analysis of a study.

        Raises:
            NotFoundError: there is no such study.
            RefusedRequestError: too many are analysed already, or it has taken too long.
        """
        if name not in self._running:
            task = asyncio.create_task(run_in_threadpool(self._analysed, name))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name))
        return await asyncio.shield(self._running[name])

    def _analysed(self, name: str) -> Analysed:
        study = self._reading.study(name)
        tag = self._reading.tag(study, "analysis")
        is_live = self._reading.is_live(study)
        return self._answers.get(("analysis", name), tag, lambda: _analyse(study, tag), may_stand=is_live).answer


def _analyse(study: StudyResults, tag: str) -> Analysed:
    with scratch_folder("analysis") as folder:
        notes = folder / "notes.json"
        try:
            run_child(_MODULE, [str(study.root), folder, notes], ANALYSIS_S)
        except UserError as error:
            return Analysed(tag, refusal=str(error))
        tables = {file.stem: pq.read_table(file) for file in folder.glob("*.parquet")}
        return Analysed(tag, tables, json.loads(notes.read_bytes()))
