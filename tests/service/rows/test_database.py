"""The database: transactions, other processes, other versions; the same in SQLite and in PostgreSQL."""

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get, submit
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Base, IdempotencyKey, Meta, Submission
from kd_sweep.service.service_errors import DatabaseError, UnstorableTextError


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'service.sqlite'}" if is_sqlite else request.getfixturevalue("postgresql_url")
    opened = Database(url)
    yield opened
    with opened.changing() as session:
        Base.metadata.drop_all(session.connection())
    opened.close()


def test_changes_by_many_threads_are_made_one_after_another(either: Database) -> None:
    """Each reads a number and writes the next one: none is lost."""
    with either.changing() as session:
        submit(session, check("name: digits", Policy()), by="anna", policy=Policy())

    def count() -> None:
        for _ in range(10):
            with either.changing() as session:
                row = get(session, "digits")
                row.revision = row.revision + 1

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with either.reading() as session:
        assert get(session, "digits").revision == 1 + 80


@pytest.mark.parametrize("foul", ["\0", "an\0na", "\ud800"])
def test_text_that_no_row_can_hold_is_neither_kept_nor_looked_for(either: Database, foul: str) -> None:
    study = check("name: digits", Policy())
    with (
        pytest.raises(UnstorableTextError, match=r"text: '.* a character that no row can hold"),
        either.changing() as session,
    ):
        submit(session, study, by="anna", policy=Policy(), idempotency_key=foul)
    with pytest.raises(UnstorableTextError), either.reading() as session:
        session.scalars(select(Submission).where(Submission.submitted_by == foul)).all()
    with pytest.raises(UnstorableTextError), either.changing() as session:
        session.add_all(Meta(key=key, value="here") for key in ("a", "b", foul))
    with either.changing() as session:
        assert session.get(Meta, "a") is None
        submit(session, study, by="anna", policy=Policy(), idempotency_key="½ \U0001f600")


def test_a_key_sent_by_many_threads_at_once_makes_one_submission(either: Database) -> None:
    study = check("name: digits", Policy())
    made = []

    def send() -> None:
        with either.changing() as session:
            made.append(submit(session, study, by="anna", policy=Policy(), idempotency_key="k")[1])

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 11 + [True]
    with either.reading() as session:
        assert session.scalar(select(func.count()).select_from(Submission)) == 1


def test_a_change_that_raises_leaves_nothing(either: Database) -> None:
    def change() -> None:
        with either.changing() as session:
            submit(session, check("name: digits", Policy()), by="anna", policy=Policy())
            raise KeyError

    with pytest.raises(KeyError):
        change()
    with either.reading() as session:
        assert session.scalar(select(func.count()).select_from(Submission)) == 0


def test_readers_see_one_moment_while_others_write(either: Database) -> None:
    with either.reading() as session:
        assert session.scalar(select(func.count()).select_from(Submission)) == 0
        with either.changing() as other:
            submit(other, check("name: digits", Policy()), by="anna", policy=Policy())
        assert session.scalar(select(func.count()).select_from(Submission)) == 0


def test_a_stamp_is_another_one_after_a_change_of_anybody(either: Database, request: pytest.FixtureRequest) -> None:
    before = either.stamp()
    with either.reading() as session:
        assert session.scalar(select(func.count(Submission.id))) == 0
    is_sqlite = request.node.callspec.params["either"] == "sqlite"
    assert (either.stamp() == before) == is_sqlite  # nobody has changed anything
    with either.changing() as session:
        submit(session, check("name: digits", Policy()), by="anna", policy=Policy())
    after = either.stamp()
    assert after != before
    other = Database(either.name) if is_sqlite else Database(request.getfixturevalue("postgresql_url"))
    with other.changing() as session:
        get(session, "digits").priority = 7
    other.close()
    assert either.stamp() != after
    assert (either.stamp() == either.stamp()) == is_sqlite


def test_keys_go_with_their_submission_and_belong_to_one(either: Database) -> None:
    with either.changing() as session:
        submit(session, check("name: digits", Policy()), by="anna", policy=Policy(), idempotency_key="k")
    with either.changing() as session:
        session.delete(get(session, "digits"))
    with either.reading() as session:
        assert session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0
    with pytest.raises(DatabaseError) as error, either.changing() as session:
        session.add(IdempotencyKey(submitter="anna", key="k", submission_id=99, request_sha256=""))
    assert isinstance(error.value.__cause__, IntegrityError)


def test_rows_survive_the_process(either: Database, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Another process writes and ends at once, without closing anything."""
    is_sqlite = "sqlite" in request.node.callspec.id
    url = f"sqlite:///{tmp_path / 'service.sqlite'}" if is_sqlite else request.getfixturevalue("postgresql_url")
    program = f"""
import os
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import submit
from kd_sweep.service.rows.database import Database
with Database({url!r}).changing() as session:
    submit(session, check("name: digits", Policy()), by="anna", policy=Policy())
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 9
    with either.reading() as session:
        assert get(session, "digits").submitted_by == "anna"


def test_the_file_is_this_users_alone_and_in_wal_mode(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "service.sqlite"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_of_another_version_is_refused(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "service.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    with pytest.raises(DatabaseError, match="is of schema version 7, and this kd_sweep needs 1; use"):
        Database(f"sqlite:///{tmp_path / 'service.sqlite'}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////nowhere/x.sqlite", "/nowhere/x.sqlite cannot be written: No such file"),
        ("what", "possible: sqlite:////path/of/file"),
        ("mysql+nothing://host/name", "possible: sqlite:////path/of/file"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", r"\*\*\*@127.0.0.1:1/x failed: .*refused"),
    ],
)
def test_what_is_no_database_is_said_in_one_line(url: str, reason: str) -> None:
    with pytest.raises(DatabaseError, match=reason) as error:
        Database(url)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
