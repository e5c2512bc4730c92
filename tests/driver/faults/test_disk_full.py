"""A results root on a disk that becomes full: the sweep ends with the reason, and goes on once there is room."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import Cli, Run, Start, Started
from tests.comparing_tables import comparable

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "kd-sweep-test", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a filesystem cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


class Filler:
    """A file that takes all room there is, also what becomes free, until it is removed."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"
        self._file = self._path.open("wb", buffering=0)
        self._removed = threading.Event()
        self._fill()
        self._thread = threading.Thread(target=self._keep_full)
        self._thread.start()

    def remove(self) -> None:
        """Make room again."""
        self._removed.set()
        self._thread.join()
        self._file.close()
        self._path.unlink()

    def _fill(self) -> None:
        with contextlib.suppress(OSError):  # no space left
            while self._file.write(bytes(4096)):
                pass

    def _keep_full(self) -> None:
        while not self._removed.wait(0.02):
            self._fill()


def test_a_disk_that_fills_up_ends_the_sweep_which_goes_on_later(
    disk: Path, tiny: Path, uninterrupted: Path, kd_sweep: Run, start_kd_sweep: Start, cli: Cli
) -> None:
    """Before the first teacher is trained on one slot, then before the first trial is on two."""
    root = disk / "results"
    launch, resume = ("launch", tiny, "--root", root), ("resume", root / "tiny")
    for command, phase, cpus in ((launch, "teachers", 1), (resume, "trials", 2)):
        process = start_kd_sweep(*command, cpus=cpus)
        assert process.stdout is not None
        for line in process.stdout:
            if f"{phase}: 4 to " in line:
                break
        assert_ends_for_want_of_room(process, root, disk, cli)
    resumed = kd_sweep(*resume)
    assert resumed.returncode == 0, resumed.stderr
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table
    assert cli("verify", root)[0] == 0


def assert_ends_for_want_of_room(process: Started, root: Path, disk: Path, cli: Cli) -> None:
    """Fill the disk, see how the sweep ends, and make room again."""
    filler = Filler(disk)
    try:
        said, _ = process.communicate(timeout=90)
        code, problems, _ = cli("verify", root)
    finally:
        process.kill()
        filler.remove()
    assert process.returncode == 1, said
    *earlier, last = said.splitlines()
    assert last.startswith(f"kd-sweep: {root}/"), said
    assert last.endswith(f" cannot be written: No space left on device; mend that, then: kd-sweep resume {root}/tiny")
    assert not [line for line in earlier if not line.startswith("[")], said  # notes of progress, no traceback
    assert code == 0, problems


def test_a_full_disk_is_refused_before_anything_is_written(disk: Path, tiny: Path, cli: Cli) -> None:
    filler = Filler(disk)
    try:
        code, _, err = cli("launch", tiny, "--root", disk / "results")
    finally:
        filler.remove()
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith(f"kd-sweep: {disk / 'results'}/")
    assert line.endswith(" cannot be written: No space left on device")
    assert not list(disk.iterdir())
