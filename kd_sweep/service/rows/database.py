"""The database of the service: SQLite on a local disk, or PostgreSQL by its URL; one change at a time."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from kd_sweep.service.rows.grouped_changes import GroupedChanges
from kd_sweep.service.rows.models import SCHEMA_VERSION, Base, Meta
from kd_sweep.service.service_errors import DatabaseError, UnstorableTextError

BUSY_S = 30.0
"""How long a change waits for another process's."""
ONE_AT_A_TIME = 0x6B647377
"""The number of PostgreSQL's lock that every change takes: the letters kdsw."""
_CHANGES = "kd_sweep_changes"
_ROOT = "root"
"""Of the row that says whose rows these are."""
_FULL_BYTES = 1 << 16
"""Of room on a disk: with less there is no room for a change."""


class Database:
    """The service's rows.

    Changes wait for each other, in this process and in others: what one of them reads stays true until it has written.

    Args:
        url: `sqlite:////path/of/file` or `postgresql+psycopg://…`.
        make: whether tables are made where there are none.

    Raises:
        DatabaseError: there is no such database, or it is of another version. One line.
    """

    def __init__(self, url: str | URL, *, make: bool = True) -> None:
        try:
            parsed = make_url(url)
            self._is_sqlite = parsed.get_backend_name() == "sqlite"
            options: dict[str, Any] = {"connect_args": {"timeout": BUSY_S}} if self._is_sqlite else {}
            engine = create_engine(parsed, pool_size=20, max_overflow=60, pool_pre_ping=not self._is_sqlite, **options)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise DatabaseError(
                f"--database: {_reason(error)}; possible: sqlite:////path/of/file, postgresql+psycopg://user@host/name"
            ) from None
        self.name = parsed.render_as_string(hide_password=True)
        """Its URL without the password."""
        self._file = Path(parsed.database or "") if self._is_sqlite else None
        self._made: tuple[int, int] | None = None
        """Device and number of the file that was opened."""
        self._stamping: sqlite3.Connection | None = None
        self._stamping_lock = threading.Lock()
        event.listen(engine, "before_cursor_execute", _check_text)
        event.listen(engine, "begin", _begin_sqlite if self._is_sqlite else _begin_postgresql)
        if self._is_sqlite:
            event.listen(engine, "connect", _connect_sqlite)
        self._engine = engine
        self._reading = sessionmaker(engine, expire_on_commit=False)
        changing = engine.execution_options(**{_CHANGES: True})
        self._changing = sessionmaker(changing, expire_on_commit=False)
        self._grouped = GroupedChanges(changing)
        try:
            self._check_tables(make)
            self._made = _identity(self._file)
        except SQLAlchemyError as error:
            self.close()
            raise DatabaseError(f"the database {self.name} cannot be opened: {_reason(error)}") from None
        except DatabaseError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that sees the rows as they are now, throughout."""
        with self._failures(), self._reading() as session:
            yield session

    @contextmanager
    def changing(self) -> Iterator[Session]:
        """Yield a session in which no other change happens, and commit it when the block ends well."""
        begun = self._grouped.change() if self._is_sqlite else self._changing.begin()
        with self._failures(), begun as session:
            yield session

    def stamp(self) -> object:
        """Return what is another one than before if somebody, of any process, has changed rows since then.

        Whoever looks at the rows again and again need not, while it is the same: that takes a hundredth of a statement.
        PostgreSQL does not tell: there it is always another one.
        """
        if self._file is None:
            return object()
        with self._failures(), self._stamping_lock:
            try:
                if self._stamping is None:
                    self._stamping = sqlite3.connect(self._file, timeout=BUSY_S, check_same_thread=False)
                return self._stamping.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise DatabaseError(f"the database {self.name} failed: {_reason(error)}") from error

    def note_root(self, note: str, fits: Callable[[str], bool]) -> str | None:
        """Note which results root these rows belong to; return the note of another one, which stays.

        Args:
            note: about the root.
            fits: whether a note that is found is about the same root.
        """
        with self.reading() as session:
            row = session.get(Meta, _ROOT)
        if row is not None and row.value == note:
            return None
        with self.changing() as session:
            row = session.get(Meta, _ROOT)
            if row is not None and not fits(row.value):
                return row.value
            session.merge(Meta(key=_ROOT, value=note))
        return None

    def signing_in(self) -> AbstractContextManager[Session]:
        """Return a session for a change of browsers' sessions."""
        return self.changing()

    def close(self) -> None:
        """Close every connection."""
        with self._stamping_lock:
            if self._stamping is not None:
                self._stamping.close()
            self._stamping = None
        self._engine.dispose()

    def _check_tables(self, make: bool) -> None:
        none_there = DatabaseError(
            f"the database {self.name} has no rows of a service; kd-sweep serve makes them, of the same root and with "
            "the same --state and --database"
        )
        if self._file is not None:
            if not make and not self._file.exists():  # SQLite would make it
                raise none_there
            _make_file(self._file)
        with self.changing() as session:
            connection = session.connection()
            if not inspect(connection).has_table(Meta.__tablename__):
                if not make:
                    raise none_there
                Base.metadata.create_all(connection)
                session.add(Meta(key="schema_version", value=str(SCHEMA_VERSION)))
                session.add(Meta(key="made_at", value=f"{time.time():.0f}"))
                return
            row = session.get(Meta, "schema_version")
        if row is None or row.value != str(SCHEMA_VERSION):
            version = "none" if row is None else row.value
            raise DatabaseError(
                f"the database {self.name} is of schema version {version}, and this kd_sweep needs {SCHEMA_VERSION}; "
                "use the version of kd_sweep that made it, or another --state or --database"
            )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        if self._made is not None and _identity(self._file) != self._made:  # what is written would be lost
            raise DatabaseError(
                f"the database {self.name} was removed or replaced while it was in use; stop what uses it, put it "
                "back, and start again"
            )
        try:
            yield
        except DBAPIError as error:
            full = " (its disk is full)" if _is_full(self._file) else ""
            raise DatabaseError(f"the database {self.name} failed: {_reason(error)}{full}") from error


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return device and number of a file; None where there is none."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _is_full(path: Path | None) -> bool:
    try:
        return path is not None and shutil.disk_usage(path.parent).free < _FULL_BYTES
    except OSError:
        return False


def _make_file(path: Path) -> None:
    """Make the file of a new database, for this user alone: rows hold hashes of tokens and secrets of webhooks."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise DatabaseError(f"the database {path} cannot be written: {error.strerror}") from None


def _connect_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # Python begins no transactions of its own: `_begin_sqlite` does
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}").close()


def _check_text(_connection: Connection, _cursor: object, _statement: str, parameters: Any, *_: object) -> None:
    """Refuse text that PostgreSQL cannot hold, in SQLite too: what is looked for or kept is the same in both.

    Raises:
        UnstorableTextError: there is a NUL in it, or half of a surrogate pair.
    """
    for value in _texts(parameters):
        if (foul := _unstorable(value)) is not None:
            raise UnstorableTextError(f"text: {value[:80]!a} holds {foul!a}, a character that no row can hold")


def _texts(parameters: Any) -> Iterator[str]:
    """Yield the texts among the parameters of one statement, or of many."""
    if isinstance(parameters, str):
        yield parameters
    elif isinstance(parameters, Mapping | list | tuple):
        for value in parameters.values() if isinstance(parameters, Mapping) else parameters:
            yield from _texts(value)


def _unstorable(value: str) -> str | None:
    """Return the first character that cannot be stored; None without one."""
    if "\0" in value:
        return "\0"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return value[error.start]
    return None


def _begin_sqlite(connection: Connection) -> None:
    changes = connection.get_execution_options().get(_CHANGES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if changes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(_CHANGES):
        connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__
