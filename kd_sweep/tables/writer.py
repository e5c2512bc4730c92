"""The writer of a study's tables: buffers rows, flushes them by time, merges parts, repairs after a crash."""

import contextlib
import datetime
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.errors import CorruptFileError, StorageError, StudyLockedError
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import of_term
from kd_sweep.tables.current_files import current_term, delete_earlier, delete_term, latest_term
from kd_sweep.tables.epoch_parts import Part, closing_merge, due_merge, merge, write_part
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.keyed_table import KeyedTable
from kd_sweep.tables.recovery import recover
from kd_sweep.tables.schema import EPOCHS, STUDIES, TABLE_FILES, TEACHERS, TRIALS, TRIALS_COPY, with_metrics
from kd_sweep.tables.value_checks import checked, checks_of

_LOG = logging.getLogger(__name__)
_MAX_BUFFERED_ROWS = 50_000
_MERGE_PAUSE_S = 60.0
_SHARE = 0.05
"""Of the time, that flushes may take before they become rarer."""
_QUICK = 5
"""So much more often than every `flush_s` seconds flushes come that take little time."""


class StudyWriter:
    """Writes ``epochs``, ``trials``, ``teachers`` and ``studies`` of one study. One writer per study: hold its lease.

    Memory holds one row per trial and the epochs since the last flush, not the epochs on disk.

    Args:
        root: the results root; the study is the folder ``study`` in it.
        study: its name.
        flush_s: the most seconds between flushes by `maybe_flush`; of what is written quickly they come up to five
            times as often.
        lease: the driver's lease; checked before anything is written.
        metrics: columns of metrics that trials report beside those of every trial.

    Raises:
        StorageError: the folder cannot be read or written.
        StudyLockedError: ``lease`` was lost.
    """

    def __init__(
        self, root: Root, study: str, *, flush_s: float = 5.0, lease: Lease | None = None, metrics: Sequence[str] = ()
    ) -> None:
        self.study = study
        self.root = root.child(study)
        self.flush_s = flush_s
        self._lease = lease
        self._epochs = with_metrics(EPOCHS, metrics)
        self._checks = checks_of(self._epochs)
        self.term = latest_term(self.root) + 1 if lease is None else lease.term
        """In the names of all files that it writes."""
        with self._holding():
            recovered = recover(self.root, self.term)
            trials, copy = (of_term(name, self.term) for name in (TABLE_FILES["trials"], TRIALS_COPY))
            self._trials = KeyedTable(
                self.root, trials, with_metrics(TRIALS, metrics), "trial_id", extensible=True, copy=copy
            )
            self._teachers = KeyedTable(self.root, of_term(TABLE_FILES["teachers"], self.term), TEACHERS, "teacher_id")
            self._study = KeyedTable(self.root, of_term(TABLE_FILES["studies"], self.term), STUDIES, "study")
        self.set_aside: tuple[str, ...] = recovered.set_aside
        """Locations of damaged files, now in the folder ``damaged``. Their rows must come again."""
        self.last_epochs: dict[str, int] = recovered.last_epochs
        """The newest epoch of every trial that has one. Epochs 1 to that are there."""
        self._rows_of: dict[Part, int] = recovered.num_rows
        self._sequence = recovered.last_sequence
        self._buffer: list[dict[str, Any]] = []
        self._epochs_from = self._rows_from = time.monotonic() + flush_s / _QUICK
        """When epochs, and when the other tables, are flushed next. With many trials the files of those are large."""
        self._merges_from = 0.0
        self._merged: list[Part] = []

    @property
    def trials(self) -> Mapping[str, Mapping[str, Any]]:
        """Every trial's row by id, without nulls; change it by `upsert_trial`."""
        return self._trials.rows

    @property
    def teachers(self) -> Mapping[str, Mapping[str, Any]]:
        """Every teacher's row by id, without nulls; change it by `upsert_teacher`."""
        return self._teachers.rows

    @property
    def study_row(self) -> Mapping[str, Any]:
        """The study's own row, without nulls; change it by `set_study`."""
        return self._study.rows.get(self.study, {})

    def add_epoch(self, row: Mapping[str, Any]) -> bool:
        """Take the next epoch of a trial; return False, and change nothing, for one that is there already.

        Buffers only (microseconds), except that a very full buffer is flushed.

        Args:
            row: `trial_id`, `epoch` and any other columns of `EPOCHS`; `study` is filled in. None is null.

        Raises:
            ValueError: an epoch is left out, a column is unknown, a value has the wrong type, is NaN or infinite.
        """
        cells = checked(row, self._checks)
        trial_id, epoch = cells.get("trial_id"), cells.get("epoch")
        if not trial_id or epoch is None or epoch < 1:
            raise ValueError(f"an epoch needs a trial_id and an epoch from 1: {trial_id!r}, {epoch!r}")
        last = self.last_epochs.get(trial_id, 0)
        if epoch <= last:
            return False
        if epoch != last + 1:
            raise ValueError(f"trial {trial_id}: epoch {epoch} came after epoch {last}; {last + 1} is missing")
        cells["study"] = self.study
        self._buffer.append(cells)
        self.last_epochs[trial_id] = epoch
        if len(self._buffer) >= _MAX_BUFFERED_ROWS:
            self.flush()
        return True

    def upsert_trial(self, row: Mapping[str, Any]) -> None:
        """Merge a partial row, named by its `trial_id`, into the trials table.

        A name that is no column of `TRIALS` becomes one (a searched field): bool, int64, float64 or string by its
        values. None removes a value. Raises `ValueError` for a wrong type, NaN and infinity.
        """
        self._trials.upsert({"study": self.study, **row})

    def upsert_teacher(self, row: Mapping[str, Any]) -> None:
        """Merge a partial row, named by its `teacher_id`, into the teachers table; `ValueError` as `upsert_trial`."""
        self._teachers.upsert({"study": self.study, **row})

    def set_study(self, **fields: Any) -> None:
        """Merge columns of `STUDIES` into the study's row; `created_at` and `updated_at` are filled in."""
        now = datetime.datetime.now(datetime.UTC)
        created_at = self.study_row.get("created_at", now)
        self._study.upsert({"created_at": created_at, "updated_at": now, **fields, "study": self.study})

    def epochs_of(self, trial_id: str) -> list[dict[str, Any]]:
        """Return a trial's rows, epoch 1 first, flushed or not, without nulls."""
        flushed = snapshot([self.root]).of_trials([trial_id])
        rows = [{name: value for name, value in row.items() if value is not None} for row in flushed.to_pylist()]
        rows += [{n: v for n, v in row.items() if v is not None} for row in self._buffer if row["trial_id"] == trial_id]
        return rows

    def epochs_table(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of every epoch of every trial, flushed or not, sorted by trial and epoch."""
        names = list(dict.fromkeys(["trial_id", "epoch", *columns]))
        dataset = snapshot([self.root]).dataset
        flushed = dataset.to_table(columns=[name for name in names if name in dataset.schema.names])
        both = pa.concat_tables([flushed, self._buffered().select(names)], promote_options="default")
        return both.sort_by([("trial_id", "ascending"), ("epoch", "ascending")]).select(list(columns))

    @property
    def has_unflushed(self) -> bool:
        """Whether something would be lost without a flush."""
        tables = (self._trials, self._teachers, self._study)
        return bool(self._buffer) or any(table.is_changed for table in tables)

    def maybe_flush(self) -> bool:
        """Flush what is due; return whether there was something. Cheap otherwise: call it from any loop."""
        return self.flush(force=False)

    def flush(self, force: bool = True) -> bool:
        """Write everything that changed; without ``force`` only what is due.

        Epochs go first: a reader never sees a trial ahead of its epochs. After a failure everything is still
        buffered, and the next flush tries again.

        Raises:
            StorageError: a file cannot be written (a full disk); the message has its path and the reason.
            StudyLockedError: the lease was lost. Nothing was written.
        """
        now = time.monotonic()
        tables = [table for table in (self._trials, self._teachers, self._study) if table.is_changed]
        if not force and now < self._rows_from:
            tables = []
        has_epochs = bool(self._buffer) and (force or bool(tables) or now >= self._epochs_from)
        if not (tables or has_epochs):
            return False
        with self._holding():
            if has_epochs:
                self._epochs_from = now + self.flush_s  # where it fails
                self._flush_epochs()
                self._epochs_from = self._next_after(now)
            if tables:
                now = time.monotonic()
                self._rows_from = now + self.flush_s
                for table in tables:
                    table.save()
                self._rows_from = self._next_after(now)
            self._merge(closing=False)
        return True

    def _next_after(self, began: float) -> float:
        """Return when to write again what was written since a moment: the longer that took, the later."""
        now = time.monotonic()
        return now + min(max((now - began) / _SHARE, self.flush_s / _QUICK), self.flush_s)

    def close(self) -> None:
        """Flush, and merge the parts into as few as `MAX_MERGED_ROWS` allows."""
        self.flush()
        with self._holding():
            self._merges_from = 0.0
            self._merge(closing=True)
            delete_earlier(self.root, self.term)

    def __enter__(self) -> "StudyWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _holding(self) -> Iterator[None]:
        """Check the lease before and after the block: a successor deletes files."""
        self._check_lease()
        try:
            yield
        except (StorageError, FileNotFoundError):
            self._check_lease(afresh=True)
            raise
        self._check_lease()

    def _check_lease(self, *, afresh: bool = False) -> None:
        if self._lease is None:
            return
        try:
            self._lease.check(afresh=afresh)
        except StudyLockedError:
            self._withdraw()
            raise

    def _withdraw(self) -> None:
        """Delete what was written too late: it does not count, but tools that know nothing of terms read it."""
        with contextlib.suppress(StorageError):
            if (current_term(self.root) or 0) > self.term:
                delete_term(self.root, self.term)

    def _buffered(self) -> pa.Table:
        columns = [pa.array([row.get(field.name) for row in self._buffer], field.type) for field in self._epochs]
        return pa.Table.from_arrays(columns, schema=self._epochs)

    def _flush_epochs(self) -> None:
        if not self._buffer:
            return
        part = Part(self._sequence + 1, self._sequence + 1, self.term)
        table = self._buffered()
        write_part(self.root, part, table)
        self._sequence = part.last
        self._rows_of[part] = table.num_rows
        self._buffer.clear()

    def _merge(self, *, closing: bool) -> None:
        """Merge until nothing is due. A damaged part is the next writer's to set aside; it holds up merging a while."""
        choose = closing_merge if closing else due_merge
        self._delete_merged()
        while time.monotonic() >= self._merges_from and (
            due := choose(sorted(self._rows_of), self._rows_of.__getitem__)
        ):
            try:
                merged, num_rows = merge(self.root, due)
            except (CorruptFileError, FileNotFoundError) as error:
                self._check_lease(afresh=True)
                _LOG.error("parts are not merged for the next %g s: %s", _MERGE_PAUSE_S, error)
                self._merges_from = time.monotonic() + _MERGE_PAUSE_S
                return
            for part in due:
                del self._rows_of[part]
            self._rows_of[merged] = num_rows
            self._merged += [part for part in due if part != merged]
            self._delete_merged()

    def _delete_merged(self) -> None:
        """Delete parts that lie in another. They do not count, so what fails is tried again with the next flush."""
        while self._merged:
            try:
                self.root.delete(self._merged[-1].path)
            except StorageError as failure:
                _LOG.warning("%s; it was merged into another part and is deleted later", failure)
                return
            self._merged.pop()
