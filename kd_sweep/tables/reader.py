"""The reader of results, while a sweep runs or after it: Arrow or pandas tables, and SQL."""

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import CorruptFileError, QueryError, StorageError, alternatives
from kd_sweep.storage.lease_holder import holder_of
from kd_sweep.storage.root import Root
from kd_sweep.tables.current_files import current_term
from kd_sweep.tables.epoch_scan import Snapshot, snapshot
from kd_sweep.tables.keyed_table import configurations, read_table, table_schema
from kd_sweep.tables.notes import notes_table, tags_of
from kd_sweep.tables.queries.statement_limits import Limits
from kd_sweep.tables.rendering.study_overview import remaining_s
from kd_sweep.tables.schema import (
    EPOCHS,
    LARGE_COLUMNS,
    STATUSES,
    TABLE_FILES,
    TABLES,
    conformed,
    extra_metric_columns,
    searched_columns,
    source_columns,
    unified,
)

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")

_SPEC_FILE = "study.yaml"
_ATTEMPTS = 10
DEFAULT_OBJECTIVE = {"metric": "val_accuracy", "mode": "max"}
"""The objective of a study whose table names none."""


def open_results(root: "str | Path | Root", limits: Limits | None = None) -> "Results":
    """Open a results root, or one study in it, for reading. Nothing is written.

    Args:
        root: the folder.
        limits: of time and memory for each SQL statement; those of `Limits` when None.

    Raises:
        StorageError: there is no such folder, no study in it, or one study twice. One line.
    """
    return Results(Root.named(root), limits)


class Results:
    """Every study under a root. Each call reads what is on disk then, so a running sweep's rows appear.

    A trial (or study) that its table calls running while no living driver holds its study reads as `interrupted`.
    """

    def __init__(self, root: Root, limits: Limits | None = None) -> None:
        self.root = root
        """The folder that was opened: a results root, or one study."""
        self.limits = limits or Limits()
        """Of time and memory, for each SQL statement."""
        self._is_whole = True
        """Whether trials have their `LARGE_COLUMNS`."""
        self._read_before: dict[tuple[Any, ...], Any] | None = None
        """What `held` results have read; None where each call reads."""
        self._names: dict[str, str] = {}
        self._is_study = is_study(root)
        if not self._is_study and not root.is_folder():
            what = "is a file, not a results folder" if root.exists() else "does not exist"
            raise StorageError(f"results: {root} {what}")
        if not self._study_roots():
            raise StorageError(f"results: no study in {root}; possible: a results root, or a study's folder in it")

    def for_views(self) -> Self:
        """Return the same results for what does not look at configurations: these are null but where SQL names them."""
        results = copy(self)
        results._is_whole = False
        return results

    def held(self) -> Self:
        """Return the same results for many questions at once: all but epochs and notes is read once, and kept."""
        results = copy(self)
        results._read_before = {}
        return results

    def studies(self) -> list[str]:
        """Return the names of the studies, sorted."""
        return list(self._study_roots())

    def table(self, name: str) -> pa.Table:
        """Return a whole table (``studies``, ``trials``, ``epochs``, ``teachers``, ``notes``) as Arrow.

        Raises `QueryError` for another name, `CorruptFileError` for a damaged file.
        """
        if name not in TABLES:
            raise QueryError(f"table: {name!r} is not a table; {alternatives(name, TABLES)}")
        roots = self._study_roots()
        if name == "notes":
            return notes_table(roots)
        if name == "epochs":
            return self._epochs(roots).dataset.to_table()
        return self._keyed(name, roots, is_whole=self._is_whole)

    def configurations(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield study, id and configuration of each trial, by study and in the order of their table.

        Few of them are held at a time: they are more than half of the memory of a table. Errors are those of `table`.
        """
        for study, root in self._study_roots().items():
            for batch in configurations(root):
                texts = batch["config"] if "config" in batch.schema.names else pa.nulls(len(batch), pa.string())
                for trial_id, text in zip(batch["trial_id"].to_pylist(), texts.to_pylist(), strict=True):
                    yield study, trial_id, text

    def with_configurations(self, rows: pa.Table) -> pa.Table:
        """Return rows of trials, as results `for_views` have them, with their configurations."""
        keys = list(zip(rows["study"].to_pylist(), rows["trial_id"].to_pylist(), strict=True))
        wanted = set(keys)
        found = {(study, one): text for study, one, text in self.configurations() if (study, one) in wanted}
        place = rows.schema.get_field_index("config")
        return rows.set_column(place, rows.schema.field(place), pa.array([found.get(key) for key in keys], pa.string()))

    def searched_columns(self) -> list[str]:
        """Return the columns of ``trials`` that studies added: their searched fields beyond strength, size and seed."""
        return searched_columns(self._schema("trials", self._study_roots()))

    def extra_metrics(self, table: str = "trials") -> list[str]:
        """Return the columns with metrics that studies added (`metrics.extra`), of ``trials`` or of ``epochs``."""
        roots = self._study_roots()
        if table == "epochs":
            return extra_metric_columns(self._epochs(roots).dataset.schema, EPOCHS)
        return extra_metric_columns(self._schema(table, roots))

    def varying_sources(self) -> list[str]:
        """Return the columns of ``trials`` with versions of plug-ins' entries of which there are several."""
        names = source_columns(self._schema("trials", self._study_roots()))
        table = self.table("trials") if names else pa.table({})
        return [name for name in names if len(pc.unique(table[name].drop_null())) > 1]

    def objectives(self) -> dict[str, list[dict[str, str]]]:
        """Return the objectives of each study, `metric` and `mode`; at least one, `DEFAULT_OBJECTIVE` where none is."""
        rows = {row["study"]: row["objectives"] for row in self.table("studies").to_pylist()}
        return {name: json.loads(rows.get(name) or "[]") or [DEFAULT_OBJECTIVE] for name in self.studies()}

    def pandas(self, name: str) -> "pandas.DataFrame":
        """Return a whole table as a pandas frame; errors as `table`. Needs pandas, which kd_sweep does not install."""
        frame: pandas.DataFrame = self.table(name).to_pandas()
        return frame

    def sql(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> pa.Table:
        """Return the answer to one SQL statement (DuckDB's dialect) over the five tables.

        It can only read, and only these tables: no files, no network, no settings. Of several columns of one name, all
        but the first have a number behind it; what Arrow has no type for, such as an interval, is text.

        Args:
            query: the statement; ``$name`` stands for a parameter.
            parameters: values of the parameters.
            timeout_s: the limit of time; that of `limits` when None.
            memory_bytes: the limit of memory for the query and its answer; that of `limits` when None.

        Raises:
            QueryError: wrong SQL, SQL that writes, or a query that took too long or too much. One line.
            CorruptFileError: a file of the tables is damaged; it is named.
        """
        from kd_sweep.tables.queries import sql  # DuckDB, which tables alone do not need

        sql.check(query)
        limits = Limits(timeout_s or self.limits.timeout_s, memory_bytes or self.limits.memory_bytes)
        named = [name for name in TABLES if sql.may_read(query, name)]
        is_whole = self._is_whole or any(column in query for column in LARGE_COLUMNS)
        for _ in range(_ATTEMPTS):
            tables, epochs = self._tables_of(named, is_whole=is_whole)
            try:
                return sql.run(query, {**tables, "epochs": epochs.dataset}, parameters, limits)
            except sql.ScanError as error:
                reason = str(error)
                if epochs.is_current():
                    epochs.check()
                    raise QueryError(f"SQL: {reason}") from None
        raise QueryError(f"SQL: the tables change faster than this query reads them: {reason}")

    def status(self, study: str | None = None) -> list[dict[str, Any]]:
        """Return one dict per study: how many trials of each status, who drives it, when it last changed.

        Keys: `study`, `status`, `num_planned`, `seeds_judged`, `num_trials`, one `num_<status>` per status,
        `num_epochs`, `objective_metric` and its best value `best_objective`, `remaining_s` (an estimate; null unless
        trials run and some are completed), `host`, `pid` and `driver_alive` of the driver (null, null, False if nobody
        holds the study), `updated_at`, `num_notes` (of the study and its trials), `tags` (of the study itself).
        """
        return [self._status_of(name, root) for name, root in self.select(study).items()]

    def select(self, study: str | None = None) -> dict[str, Root]:
        """Return the folder of each study, or of the named one; `QueryError` with the possible names otherwise."""
        roots = self._study_roots()
        if study is None:
            return roots
        if study not in roots:
            raise QueryError(f"study: {study!r} is not in {self.root}; {alternatives(study, roots)}")
        return {study: roots[study]}

    def _tables_of(self, named: Sequence[str], *, is_whole: bool) -> tuple[dict[str, Any], Snapshot]:
        """Return these tables, the others empty: those of one row per key, and the epochs."""
        roots = self._study_roots()
        # Epochs last: the writer flushes them first, so no trial is ahead of its epochs.
        tables: dict[str, Any] = {
            name: self._keyed(name, roots, is_whole=is_whole) if name in named else self._empty(name, roots)
            for name in TABLE_FILES
        }
        tables["notes"] = notes_table(roots if "notes" in named else {})
        return tables, self._epochs(roots if "epochs" in named else {})

    def _once(self, read: Callable[[], T], *what: Any) -> T:
        if self._read_before is None:
            return read()
        if what not in self._read_before:
            self._read_before[what] = read()
        found: T = self._read_before[what]
        return found

    def _study_roots(self) -> dict[str, Root]:
        return self._once(self._folders, "folders")

    def _folders(self) -> dict[str, Root]:
        children = (self.root.child(name) for name in self.root.folders() if not name.startswith("."))
        roots: dict[str, Root] = {}
        for root in [self.root] if self._is_study else filter(is_study, children):
            name = self._name_of(root)
            if name in roots:
                both = f"{roots[name]} and {root} are both the study {name!r}"
                raise StorageError(f"results: {both}; move one of them out of {self.root}, or open its folder alone")
            roots[name] = root
        return dict(sorted(roots.items()))

    def _name_of(self, root: Root) -> str:
        """Return the name of a study: its folder may have been renamed, or be a copy."""
        if root.location not in self._names:
            name = stated_name(root)
            if name is None:
                return root.parent()[1]
            self._names[root.location] = name
        return self._names[root.location]

    def _epochs(self, roots: Mapping[str, Root]) -> Snapshot:
        return snapshot(list(roots.values()))

    def _keyed(self, name: str, roots: Mapping[str, Root], *, is_whole: bool = False) -> pa.Table:
        return self._once(lambda: self._rows(name, roots, is_whole=is_whole), "rows", name, is_whole, *roots)

    def _rows(self, name: str, roots: Mapping[str, Root], *, is_whole: bool) -> pa.Table:
        base = TABLES[name]
        tables = []
        for root in roots.values():
            table = read_table(root, TABLE_FILES[name], is_whole=is_whole)
            if "status" in table.column_names and not driver_alive(root):
                table = _interrupted(table)
            tables.append(table)
        schema = unified(base, [table.schema for table in tables])
        return pa.concat_tables([schema.empty_table(), *(conformed(table, schema) for table in tables)])

    def _empty(self, name: str, roots: Mapping[str, Root]) -> pa.Table:
        return self._schema(name, roots).empty_table()

    def _schema(self, name: str, roots: Mapping[str, Root]) -> pa.Schema:
        def columns() -> pa.Schema:
            return unified(TABLES[name], [table_schema(root, TABLE_FILES[name]) for root in roots.values()])

        return self._once(columns, "columns", name, *roots)

    def _status_of(self, name: str, root: Root) -> dict[str, Any]:
        only = {name: root}
        row: dict[str, Any] = next(iter(self._keyed("studies", only).to_pylist()), {})
        trials = self._keyed("trials", only)
        counts = {item["values"]: item["counts"] for item in pc.value_counts(trials["status"]).to_pylist()}
        holder = holder_of(root)
        objective = (json.loads(row.get("objectives") or "[]") or [DEFAULT_OBJECTIVE])[0]
        best = pc.min_max(trials["best_objective"]).as_py()[objective["mode"]]
        paced = trials.select(["status", "train_s", "num_epochs", "last_epoch"]).to_pylist()
        notes = notes_table(only).to_pylist()
        times = [row.get("updated_at"), pc.max(trials["finished_at"]).as_py()]
        if holder is not None:
            times.append(datetime.datetime.fromtimestamp(holder.renewed_at, datetime.UTC))
        return {
            "study": name,
            "status": row.get("status"),
            "num_planned": row.get("num_planned"),
            "seeds_judged": row.get("seeds_judged"),
            "num_trials": trials.num_rows,
            **{f"num_{status}": counts.get(status, 0) for status in STATUSES},
            "num_epochs": pc.sum(trials["last_epoch"]).as_py() or 0,
            "objective_metric": objective["metric"],
            "best_objective": best,
            "remaining_s": remaining_s(paced, row.get("num_planned")),
            "driver_alive": holder is not None and holder.is_alive,
            "host": holder.host if holder else None,
            "pid": holder.pid if holder else None,
            "updated_at": max((moment for moment in times if moment is not None), default=None),
            "num_notes": len(notes),
            "tags": tags_of(note for note in notes if note["trial_id"] is None),
        }


def is_study(root: Root) -> bool:
    """Whether a folder is a study's: it has tables, or what a launch writes before them, its frozen study."""
    if current_term(root) is not None:
        return True
    try:
        text = root.read_bytes(_SPEC_FILE).decode(errors="replace")
    except (FileNotFoundError, StorageError):
        return False
    from kd_sweep.study.file.frozen import is_frozen  # most folders are known by their tables

    named = re.search(r"^name: \"?([\w.-]+)", text, re.MULTILINE)
    return is_frozen(text) and named is not None and named[1] == root.parent()[1]


def stated_name(root: Root) -> str | None:
    """Return the name of a study in its tables; None if they have no rows yet, or are damaged."""
    for table in ("studies", "trials"):
        try:
            rows = read_table(root, TABLE_FILES[table], is_whole=False)
        except (CorruptFileError, StorageError):
            continue
        if rows.num_rows:
            name: str | None = rows["study"][0].as_py()
            return name
    return None


def driver_alive(study_root: Root) -> bool:
    """Whether a living driver holds the study."""
    holder = holder_of(study_root)
    return holder is not None and holder.is_alive


def _interrupted(table: pa.Table) -> pa.Table:
    index = table.column_names.index("status")
    status = table.column(index)
    current = pc.if_else(pc.fill_null(pc.equal(status, "running"), False), pa.scalar("interrupted"), status)
    return table.set_column(index, table.schema.field(index), current)
