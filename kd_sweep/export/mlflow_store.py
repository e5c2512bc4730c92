"""A study as an experiment in an MLflow store, a file of SQLite that `mlflow server` opens."""

import contextlib
import itertools
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_sweep.errors import UserError
from kd_sweep.export.export_paths import Mark, check_mark, refuse, replaced_file
from kd_sweep.export.histories import ALL, Histories, wanted_histories
from kd_sweep.export.mlflow_runs import COLUMNS, VERSION_TAG, Run, rows_of, run_id
from kd_sweep.export.request import Request, Written
from kd_sweep.export.silenced import without_reports

if TYPE_CHECKING:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Connection

_MARK = "kd_sweep"
"""The tag of an experiment with the mark of the export."""
_HISTORIES = "kd_sweep_histories"
"""The tag of an experiment with the metrics of which it has every epoch."""
_ARTIFACTS = "mlartifacts"
"""The folder beside the file where MLflow looks for files of runs. Exports have none."""
_BATCH, _BATCH_OF_NEW_FILE = 20, 1_000
"""Runs of a transaction. A kill takes what was in it."""
_PRAGMAS = {"cache_size": "-200000", "busy_timeout": "60000"}
_PRAGMAS_OF_NEW_FILE = {"synchronous": "OFF", "journal_mode": "OFF", "temp_store": "MEMORY"}
"""Nobody reads it before it has its name, and a killed one is made anew."""


def check_store(path: Path, mark: Mark) -> None:
    """Return where an export may use ``path``: it is missing, or a store with this study, or with others of kd_sweep's.

    Raises:
        StorageError: it is something else, or a study of this name and another creation is in it. One line.
    """
    if "?" in str(path):
        raise refuse(path, "has a question mark, which MLflow's addresses of files cannot have")
    if path.is_dir():
        raise refuse(path, "is a folder")
    marks = _marks_in(path) if path.exists() else [mark]
    if not marks:
        raise refuse(path, "is there and no export of kd-sweep")
    for found in marks:
        if found.get("study") == mark["study"]:
            check_mark(path, found, mark)


def write_store(request: Request) -> Written:
    """Write a run for each finished trial that has none yet, or was run again since; others are left as they are.

    Raises:
        StorageError: another experiment has the study's name. One line.
        UserError: the file, or the MLflow that is installed, keeps runs in a way that is not known here. One line.
    """
    out = request.out
    with _quiet_mlflow():
        if out.exists():
            with _opened(out, out, _PRAGMAS) as (store, connection):
                experiment = _experiment(store, connection, request)
                changed = _add_runs(connection, request, experiment, _BATCH)
        else:
            with replaced_file(out) as file, _opened(file, out, _PRAGMAS | _PRAGMAS_OF_NEW_FILE) as (store, connection):
                experiment = _experiment(store, connection, request)
                with _without_indexes(connection):
                    changed = _add_runs(connection, request, experiment, _BATCH_OF_NEW_FILE)
    return Written(changed, experiment.histories.words(request.study))


def _add_runs(connection: "Connection", request: Request, experiment: "_Experiment", batch_size: int) -> bool:
    """Write the runs that are missing or of another version, so many in a transaction; return whether any was."""
    study, mark = request.study, request.mark
    query = "SELECT run_uuid, value FROM tags JOIN runs USING (run_uuid) WHERE experiment_id = ? AND key = ?"
    there = {row[0]: row[1] for row in connection.exec_driver_sql(query, (experiment.id, VERSION_TAG))}
    connection.rollback()  # what was read belongs to no transaction of what is written
    version_of = experiment.histories.version_of
    missing = {one.trial_id for one in study.trials if there.get(run_id(mark, one)) != version_of(one)}
    curves = study.curves(missing, experiment.histories) if missing else iter(())
    runs = (Run(run_id(mark, trial), trial, of_trial, version_of(trial)) for trial, of_trial in curves)
    for batch in iter(lambda: list(itertools.islice(runs, batch_size)), []):
        with connection.begin():
            cursor: Any = connection.connection.cursor()  # SQLAlchemy's own way wants lists of all rows
            for table in ("metrics", "latest_metrics", "params"):
                old = [(run.run_uuid,) for run in batch]
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE run_uuid = ?", old)
            for rows in rows_of(batch, experiment.id, experiment.artifact_location):
                columns = COLUMNS[rows.table]
                places = ", ".join("?" * len(columns))
                statement = f"INSERT OR REPLACE INTO {rows.table} ({', '.join(columns)}) VALUES ({places})"
                cursor.executemany(statement, rows.values)
    return bool(missing)


class _Experiment(NamedTuple):
    id: int
    artifact_location: str
    histories: Histories


def _experiment(store: "SqlAlchemyStore", connection: "Connection", request: Request) -> _Experiment:
    """Return the study's experiment, by its mark as people may rename it, with the histories that it is to have.

    It is made where there is none.
    """
    from mlflow.entities import ExperimentTag
    from mlflow.exceptions import MlflowException

    mark = json.dumps(request.mark)
    query = "SELECT experiment_id, artifact_location FROM experiments JOIN experiment_tags USING (experiment_id)"
    found = connection.exec_driver_sql(f"{query} WHERE key = ? AND value = ?", (_MARK, mark)).one_or_none()
    connection.rollback()
    if found is not None:
        return _Experiment(found[0], found[1], _grown_histories(connection, found[0], request))
    location = str(request.out.parent / _ARTIFACTS / request.study_name)
    histories = wanted_histories(request.metrics, None, request.study)
    tags = [ExperimentTag(_MARK, mark), ExperimentTag(_HISTORIES, histories.text)]
    try:
        made = store.create_experiment(request.study_name, location, tags)
    except MlflowException:
        raise refuse(request.out, f"has another experiment of the name {request.study_name!r}") from None
    return _Experiment(int(made), location, histories)


def _grown_histories(connection: "Connection", experiment: int, request: Request) -> Histories:
    """Return the histories that an experiment is to have, and keep them, before any run has more than it had."""
    with connection.begin():
        query = "SELECT value FROM experiment_tags WHERE experiment_id = ? AND key = ?"
        found = connection.exec_driver_sql(query, (experiment, _HISTORIES)).scalar_one_or_none()
        # One without the tag is of before there was a choice.
        wanted = wanted_histories(request.metrics, ALL if found is None else found, request.study)
        statement = "INSERT OR REPLACE INTO experiment_tags (experiment_id, key, value) VALUES (?, ?, ?)"
        if wanted.text != found:
            connection.exec_driver_sql(statement, (experiment, _HISTORIES, wanted.text))
    return wanted


@contextlib.contextmanager
def _opened(file: Path, out: Path, pragmas: dict[str, str]) -> Iterator[tuple["SqlAlchemyStore", "Connection"]]:
    """Yield MLflow's store of a file, which is made where there is none, and a connection to it.

    Args:
        file: of SQLite.
        out: where it will be, for messages.
        pragmas: of the connection.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    try:
        store = SqlAlchemyStore(f"sqlite:///{file}", str(out.parent / _ARTIFACTS))
    except MlflowException as error:
        raise UserError(f"--out: {out}: MLflow {_version()}: {str(error.message).partition('. ')[0]}") from None
    try:
        with store.engine.connect() as connection:
            for name, value in pragmas.items():
                connection.exec_driver_sql(f"PRAGMA {name} = {value}")
            _check_tables(connection)
            connection.rollback()
            yield store, connection
    finally:
        store.engine.dispose()


def _check_tables(connection: "Connection") -> None:
    """Raise `UserError` where the tables lack a column that is written, or want one that is not."""
    from sqlalchemy import inspect

    for table, ours in COLUMNS.items():
        columns = {column["name"]: column for column in inspect(connection).get_columns(table)}
        wanted = {name for name, one in columns.items() if not one["nullable"] and one["default"] is None}
        unknown = (wanted - set(ours)) | (set(ours) - set(columns))
        if unknown:
            names = ", ".join(sorted(unknown))
            raise UserError(f"--to: MLflow {_version()} keeps {table} in another way ({names}) than kd_sweep knows")


@contextlib.contextmanager
def _without_indexes(connection: "Connection") -> Iterator[None]:
    """Take the indexes of metrics away for the block: making them of all rows costs a third of adding row by row."""
    query = "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'metrics' AND type = 'index' AND sql IS NOT NULL"
    indexes = connection.exec_driver_sql(query).all()
    for name, _ in indexes:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')
    connection.commit()
    yield
    for _, statement in indexes:
        connection.exec_driver_sql(statement)
    connection.commit()


@contextlib.contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Let MLflow neither log nor report its use while the block runs."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    with without_reports():
        import mlflow  # noqa: F401  it sets the levels of its loggers itself

        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _version() -> str:
    import mlflow

    return str(mlflow.__version__)


def _marks_in(path: Path) -> list[dict[str, Any]]:
    """Return the marks of the experiments in a file; none where it is no store of MLflow."""
    query = "SELECT value FROM experiment_tags WHERE key = ?"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
            found = [json.loads(value) for (value,) in database.execute(query, (_MARK,))]
    except (sqlite3.DatabaseError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)]
