"""The folder of one run of a driver: what it was given, which process it is, how it ended."""

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kd_sweep.service.queue.study_files import unpack
from kd_sweep.service.supervision.driver_log import last_line, read_log
from kd_sweep.storage.process_identity import is_alive, process_start
from kd_sweep.storage.root import Root

STUDY_FILE = "study/study.yaml"
"""With the plug-ins that came with it beside it."""
LOG_FILE = "driver.log"
_REQUEST, _DRIVER, _END, _PROGRESSED = "run.json", "driver.json", "end.json", "progressed"


@dataclass(frozen=True)
class RunRequest:
    """What a driver is to do."""

    root: str
    address: str | None
    """Of the Ray that it joins."""
    slots: int | None
    """The most trials at a time; what the study says when None."""


@dataclass(frozen=True)
class RunEnd:
    """How a driver ended that could say so."""

    kind: str
    """`done`: it ran to its end. `interrupted`: a signal stopped it. `refused`: the study, its data or the root is not
    what it must be. `locked`: another driver runs the study. `died`: anything else."""
    message: str | None = None
    """Why, or what is left. One line."""
    budget_used: bool = False
    """Whether trials are left that the budget keeps out."""
    num_failed: int = 0
    """Trials that failed for good."""
    counts: dict[str, int] = field(default_factory=dict)
    """Trials by status."""
    errors: dict[str, str] = field(default_factory=dict)
    """Of the first failed trials, by trial id."""


class RunFolder:
    """The folder of a run.

    Exactly one process is its driver: whoever makes the file `driver.json` first. A supervisor that finds a run without
    one makes it itself, and with it keeps a driver out that was started and has not got so far.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, runs: Path, run_id: str, request: RunRequest, study_yaml: str, plugins: bytes | None) -> "RunFolder":
        """Make the folder of a new run, with everything that its driver needs."""
        folder = cls(runs / run_id)
        folder.path.mkdir(mode=0o700)
        study = folder.path / STUDY_FILE
        study.parent.mkdir()
        if plugins is not None:
            unpack(plugins, study.parent)
        study.write_text(study_yaml)
        folder._write(_REQUEST, asdict(request))
        return folder

    @property
    def log(self) -> Path:
        """What its driver prints."""
        return self.path / LOG_FILE

    def request(self) -> RunRequest:
        """Return what its driver is to do."""
        return RunRequest(**json.loads((self.path / _REQUEST).read_bytes()))

    def claim(self, pid: int | None) -> bool:
        """Make this process the driver of the run, or nobody where ``pid`` is None; return False where one is known."""
        start = None if pid is None else process_start(pid)
        temporary = self.path / f".{_DRIVER}-{secrets.token_hex(4)}"
        temporary.write_text(json.dumps({"pid": pid, "start": start}))
        try:
            os.link(temporary, self.path / _DRIVER)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def driver(self) -> tuple[int, str | None] | None:
        """Return pid and start of its driver; None while there is none, and where it is to have none."""
        content = self._read(_DRIVER)
        return None if content is None or content["pid"] is None else (content["pid"], content["start"])

    @property
    def driver_is_alive(self) -> bool:
        """Whether its driver lives."""
        driver = self.driver()
        return driver is not None and is_alive(*driver)

    def end(self) -> RunEnd | None:
        """Return how its driver ended; None while it runs, and where it died."""
        content = self._read(_END)
        try:
            return None if content is None else RunEnd(**content)
        except TypeError:  # of another version
            return None

    def write_end(self, end: RunEnd) -> None:
        """Note how this process, its driver, ends."""
        self._write(_END, asdict(end))

    @property
    def has_progressed(self) -> bool:
        """Whether its driver has seen an epoch end."""
        return (self.path / _PROGRESSED).exists()

    def note_progress(self) -> None:
        """Note that an epoch has ended."""
        (self.path / _PROGRESSED).touch()

    def read_log(self, offset: int | None, limit: int) -> tuple[str, int]:
        """Return whole lines of its log from an offset, or the last ones, and the offset behind them."""
        return read_log(self.log, offset, limit, is_complete=self.end() is not None)

    def last_line(self) -> str | None:
        """Return the last line of its log that is not empty."""
        return last_line(self.log)

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.path / name).read_bytes()))
        except (OSError, ValueError):
            return None

    def _write(self, name: str, content: dict[str, Any]) -> None:
        Root.open(self.path).write_bytes(name, json.dumps(content).encode())
