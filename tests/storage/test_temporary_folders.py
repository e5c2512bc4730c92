"""Temporary folders: whose are removed, and whose are kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kd_sweep.errors import StorageError
from kd_sweep.storage.temporary_folders import scratch_folder

HOLD = """
import sys, time
from pathlib import Path
from kd_sweep.storage.temporary_folders import scratch_folder
with scratch_folder("probe", Path(sys.argv[1])) as folder:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "weights").write_bytes(bytes(100))
    print(folder, flush=True)
    time.sleep(60)
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that holds a folder with files in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next_and_a_living_ones_is_kept(tmp_path: Path) -> None:
    killed, abandoned = holder(tmp_path)
    suspended, kept = holder(tmp_path)
    users_own = tmp_path / "kd-sweep-results"
    users_own.mkdir()
    try:
        killed.kill()
        killed.wait()
        suspended.send_signal(signal.SIGSTOP)
        assert abandoned.is_dir()
        with scratch_folder("tune", tmp_path) as own:
            assert not abandoned.exists()
            assert (kept / "deep" / "er" / "weights").stat().st_size == 100
            assert sorted(tmp_path.iterdir()) == sorted([own, kept, users_own])
    finally:
        suspended.kill()
        suspended.wait()
    assert not own.exists()


def test_a_folder_is_gone_after_an_error_too(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch_folder("probe", tmp_path) as folder:
            (folder / "file").write_text("x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    with scratch_folder("probe", tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_temporary_folder_that_is_none_is_told_with_what_to_set(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "t"
    if kind == "a file":
        named.write_text("")
    monkeypatch.setenv("TMPDIR", str(named))
    with pytest.raises(StorageError, match=r"^TMPDIR: .*/t is not a folder; set it to one"), scratch_folder("probe"):
        pass


def test_a_temporary_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/proc")
    expected = r"^the temporary folder /proc cannot be written \(.+\); set TMPDIR to a folder with room"
    with pytest.raises(StorageError, match=expected), scratch_folder("probe"):
        pass
