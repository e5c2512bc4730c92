"""Rows and files of a service belong to one results root; those of another, gone or damaged are refused in one line."""

import itertools
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import submit
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_core import ServiceCore
from kd_sweep.service.service_errors import DatabaseError, ReadOnlyError, ServiceError
from kd_sweep.service.service_settings import service_settings
from tests.command_line import Cli, assert_one_line
from tests.polling import until


def serve_once(root: Path, state: Path, database: str | None = None) -> None:
    """Start a service, let it lead, and stop it."""
    core = ServiceCore(service_settings(str(root), state=state, database=database, max_studies=0))
    try:
        core.start()
        assert core.read_only is None
    finally:
        core.stop()


def test_rows_and_files_of_another_root_are_refused(tmp_path: Path) -> None:
    a, b, state = tmp_path / "a", tmp_path / "b", tmp_path / "state"
    rows = f"sqlite:///{tmp_path}/rows.sqlite"
    serve_once(a, state, rows)
    for root in (b, b):  # also once it has an id
        with pytest.raises(ServiceError, match=f"--state {state}: has the files of another results root, {a}; take an"):
            serve_once(root, state)
        with pytest.raises(ServiceError, match=f"has the rows of another results root, {a}; take another --database"):
            serve_once(root, tmp_path / "other", rows)
        shutil.rmtree(tmp_path / "other")
        serve_once(b, tmp_path / "of b")
    serve_once(a, state, rows)


def test_a_root_that_is_moved_or_made_anew_keeps_its_rows(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    serve_once(root, state)
    root.rename(tmp_path / "moved")
    serve_once(tmp_path / "moved", state)
    shutil.rmtree(tmp_path / "moved")
    serve_once(tmp_path / "moved", state)
    with pytest.raises(ServiceError, match="of another results root"):
        serve_once(root, state)


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a b#c", "ж", "a'b:c@d", "a&b=c", "a\nb"])
def test_a_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    serve_once(tmp_path / "roots" / name, tmp_path / "states" / name)
    assert (tmp_path / "states" / name / "service.sqlite").exists()
    assert [path.name for path in tmp_path.glob("*/*")] == [name, name]


def restored(file: Path) -> None:
    shutil.copy(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


@pytest.mark.parametrize("change", [Path.unlink, restored])
def test_rows_whose_file_is_gone_are_neither_read_nor_changed(
    database: Database, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "service.sqlite")
    before = sorted(tmp_path.iterdir())
    for use in (database.reading, database.changing):
        with pytest.raises(DatabaseError, match="was removed or replaced while it was in use"), use() as session:
            session.execute(select(Submission)).all()
    assert sorted(tmp_path.iterdir()) == before


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(5000))


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def first_page(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[100:4000] = os.urandom(3900)
    file.write_bytes(content)


def of_a_later_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as rows, rows:
        rows.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (garbage, "file is not a database"),
        (half, "database disk image is malformed"),
        (first_page, "database disk image is malformed"),
        (of_a_later_version, "is of schema version 99, and this kd_sweep needs 1; use the version of kd_sweep that"),
        (folder, "unable to open database file"),
    ],
)
@pytest.mark.parametrize("command", [("serve",), ("token", "list"), ("webhook", "list")], ids=" ".join)
def test_damaged_rows_are_said_in_one_line(
    tmp_path: Path, cli: Cli, damage: Callable[[Path], None], reason: str, command: tuple[str, ...]
) -> None:
    serve_once(tmp_path / "root", tmp_path / "state")
    file = tmp_path / "state" / "service.sqlite"
    damage(file)
    assert_one_line(cli(*command, tmp_path / "root", "--state", tmp_path / "state"), str(file), reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def add_many(add: Callable[[str], None]) -> None:
    """Add studies without end: the file that a change goes to may have a page left."""
    for number in itertools.count():
        add(f"more-{number}")


def test_on_a_full_disk_rows_are_read_and_nothing_is_lost(small_disk: Path, tmp_path: Path, cli: Cli) -> None:
    url = f"sqlite:///{small_disk}/service.sqlite"
    rows = Database(url)

    def add(name: str) -> None:
        with rows.changing() as session:
            submit(session, check(f"name: {name}", Policy()), by="anna", policy=Policy())

    def names() -> list[str]:
        with rows.reading() as session:
            return list(session.scalars(select(Submission.name)))

    add("first")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        fill(filler)
    with pytest.raises(DatabaseError, match=r"is full \(its disk is full\)$"):
        add_many(add)
    kept = names()
    assert kept[0] == "first"
    rows.close()
    where = ("--state", tmp_path / "state", "--database", url)
    code, _, err = cli("serve", tmp_path / "root", "--port", "0", *where)
    assert (code, len(err.strip().splitlines())) == (2, 1), err
    assert "its disk is full" in err
    filler.unlink()
    rows = Database(url)
    add("last")
    assert names() == [*kept, "last"]
    rows.close()


def test_a_root_that_is_gone_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_sweep.service.service_core.RETRY_S", 0.2)
    core = ServiceCore(service_settings(str(tmp_path / "root"), state=tmp_path / "state", max_studies=0))
    core.start()
    try:
        shutil.rmtree(tmp_path / "root")
        until(lambda: core.gone is not None)
        advice = "put it back, or start the service again for a new one"
        assert core.gone == core.why_idle() == f"the results root {tmp_path / 'root'} was removed; {advice}"
        with pytest.raises(ReadOnlyError, match=r"nothing can be changed here: the results root .* was removed"):
            core.changing().__enter__()
        (tmp_path / "root").mkdir()  # as where a disk is not mounted
        time.sleep(1.0)  # in which it looks several times
        assert core.gone is not None
        assert list((tmp_path / "root").iterdir()) == []
    finally:
        core.stop()


def test_a_root_that_comes_back_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_sweep.service.service_core.RETRY_S", 0.2)
    core = ServiceCore(service_settings(str(tmp_path / "root"), state=tmp_path / "state", max_studies=0))
    core.start()
    try:
        (tmp_path / "root").rename(tmp_path / "away")
        until(lambda: core.gone is not None)
        (tmp_path / "away").rename(tmp_path / "root")
        until(lambda: core.read_only is None)
        assert (core.gone, core.why_idle()) == (None, None)
        with core.changing() as session:
            submit(session, check("name: digits", Policy()), by="anna", policy=Policy())
    finally:
        core.stop()
