"""Changes that wait for each other are committed together; each of them stands or falls alone."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Meta
from kd_sweep.service.service_errors import DatabaseError

PATIENCE_S = 30.0


@pytest.fixture
def commits(database: Database) -> Iterator[list[float]]:
    """The moments of the commits from now on."""
    moments: list[float] = []

    def note(_connection: object) -> None:
        moments.append(time.monotonic())

    event.listen(database._engine, "commit", note)
    yield moments
    event.remove(database._engine, "commit", note)


def add(database: Database, key: str) -> None:
    with database.changing() as session:
        session.add(Meta(key=key, value="here"))


def add_and_fail(database: Database, key: str) -> None:
    with database.changing() as session:
        session.add(Meta(key=key, value="here"))
        session.flush()
        raise KeyError(key)


@contextmanager
def all_waiting(database: Database, changes: list[Callable[[], None]]) -> Iterator[list[Future[None]]]:
    """Begin changes in threads while another one, of the key `first`, is being made; they go on behind the block."""
    with ThreadPoolExecutor(len(changes)) as pool, database.changing() as session:
        session.add(Meta(key="first", value="here"))
        begun = [pool.submit(change) for change in changes]
        end = time.monotonic() + PATIENCE_S
        while database._grouped._num_waiting < len(changes):
            assert time.monotonic() < end, "they do not wait"
            time.sleep(0.001)
        yield begun


def stored(tmp_path: Path) -> set[str]:
    with sqlite3.connect(tmp_path / "service.sqlite") as connection:
        return {key for (key,) in connection.execute("SELECT key FROM meta WHERE value = 'here'")}


def test_changes_that_wait_are_one_commit(
    database: Database, commits: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd_sweep.service.rows.grouped_changes.LONGEST_S", PATIENCE_S)
    with all_waiting(database, [lambda key=f"k{n}": add(database, key) for n in range(6)]) as begun:
        assert not commits
    for one in begun:
        one.result(PATIENCE_S)
    assert stored(tmp_path) == {"first", *(f"k{number}" for number in range(6))}
    assert len(commits) == 1


def test_a_change_has_ended_only_when_it_is_on_the_disk(database: Database, tmp_path: Path) -> None:
    def add_and_look(key: str) -> bool:
        add(database, key)
        return key in stored(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(add_and_look, [f"k{number}" for number in range(80)]))


def test_one_that_fails_takes_nothing_of_the_others_with_it(database: Database, tmp_path: Path) -> None:
    changes: list[Callable[[], None]] = [lambda key=f"k{n}": add(database, key) for n in range(3)]
    changes += [lambda key=f"wrong{n}": add_and_fail(database, key) for n in range(3)]
    changes += [lambda: add(database, "first")]  # there is one already
    with all_waiting(database, changes) as begun:
        pass
    for one in begun[:3]:
        one.result(PATIENCE_S)
    for one in begun[3:6]:
        with pytest.raises(KeyError):
            one.result(PATIENCE_S)
    with pytest.raises(DatabaseError, match="UNIQUE"):
        begun[6].result(PATIENCE_S)
    assert stored(tmp_path) == {"first", "k0", "k1", "k2"}


def test_a_commit_that_fails_is_told_to_all_of_its_changes(database: Database, tmp_path: Path) -> None:
    def refuse(_connection: object) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"), all_waiting(database, [lambda: add(database, "second")]) as begun:
        event.listen(database._engine, "commit", refuse)
    event.remove(database._engine, "commit", refuse)
    with pytest.raises(OSError, match="no space"):
        begun[0].result(PATIENCE_S)
    assert stored(tmp_path) == set()
    add(database, "later")
    assert stored(tmp_path) == {"later"}


def test_changes_that_never_stop_coming_are_committed_all_the_same(database: Database, tmp_path: Path) -> None:
    ended = threading.Event()

    def go_on(number: int) -> None:
        for turn in range(10_000):
            if ended.is_set():
                return
            add(database, f"{number}-{turn}")

    with ThreadPoolExecutor(4) as pool:
        begun = [pool.submit(go_on, number) for number in range(4)]
        end = time.monotonic() + PATIENCE_S
        while len(stored(tmp_path)) < 30 and time.monotonic() < end:
            time.sleep(0.01)
        ended.set()
        for one in begun:
            one.result(PATIENCE_S)
    assert len(stored(tmp_path)) >= 30
