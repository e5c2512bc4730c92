"""The results that routes read: studies by name, and tags that change when their tables do."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow.fs as pafs

from kd_sweep.errors import QueryError, StorageError
from kd_sweep.handles.root_results import RootResults
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.service.http.standing_answers import StandingAnswers
from kd_sweep.service.service_errors import NotFoundError
from kd_sweep.storage.root import Root
from kd_sweep.study.spec import NAME_PATTERN
from kd_sweep.tables.queries.statement_limits import Limits
from kd_sweep.tables.reader import Results, driver_alive, is_study, stated_name

_FOLDERS = ("study", "trials", "teachers", "epochs", "notes")
"""Of a study's folder: what its tables depend on."""
_FOLDERS_S = 2.0
"""So long the names of all studies are remembered where those of single ones are looked for."""
SQL_LIMITS = Limits(timeout_s=30.0, memory_bytes=256 * 1000**2)
"""Of a statement, unless the server is given others."""

Answer = TypeVar("Answer")


class Reading:
    """A results root, which may have no study yet.

    Args:
        root: its path or URI.
        limits: of each SQL statement.
    """

    def __init__(self, root: str, limits: Limits = SQL_LIMITS) -> None:
        self.root = Root.named(root)
        self.limits = limits
        self._answers = StandingAnswers()
        self._folders: dict[str, Root] = {}
        self._folders_until = 0.0
        self._lock = threading.Lock()

    def results(self) -> RootResults | None:
        """Return the results of all studies; None where the root has none yet."""
        try:
            return RootResults(self.root, self.limits)
        except StorageError:
            if any(is_study(self.root.child(name)) for name in self.root.folders() if not name.startswith(".")):
                raise
            return None

    def names(self) -> list[str]:
        """Return the names of the studies that have results, sorted."""
        results = self.results()
        return [] if results is None else results.studies()

    def is_study(self, folder: str) -> bool:
        """Whether a folder of the root holds a study."""
        return is_study(self.root.child(folder))

    def study_in(self, folder: str) -> StudyResults:
        """Return the results of the study in a folder."""
        return StudyResults(self.root.child(folder), self.limits)

    def study(self, name: str) -> StudyResults:
        """Return the results of a study; `NotFoundError` with the possible names where there are none."""
        if not re.fullmatch(NAME_PATTERN, name):
            raise NotFoundError(f"study: {name[:80]!r} is not the name of a study")
        folder = self.root.child(name)
        if is_study(folder) and stated_name(folder) in (None, name):
            return StudyResults(folder, self.limits)
        results = self.results()
        if results is None:
            raise NotFoundError(f"study: {name!r} is not in {self.root}, which has no study yet")
        try:
            return results[name]
        except QueryError as error:
            raise NotFoundError(str(error)) from None

    def find(self, name: str) -> StudyResults | None:
        """Return the results of a study; None without any. A folder of another name may be noticed a little later.

        Lists of studies ask for many that have not run yet: the names of all others are not read for each of them.
        """
        folder = self.root.child(name)
        if is_study(folder) and stated_name(folder) in (None, name):
            return StudyResults(folder, self.limits)
        with self._lock:
            if time.monotonic() >= self._folders_until:
                results = self.results()
                self._folders = {} if results is None else results.select()
                self._folders_until = time.monotonic() + _FOLDERS_S
            known = self._folders.get(name)
        return None if known is None or not is_study(known) else StudyResults(known, self.limits)

    def tag(self, results: Results, *what: object) -> str:
        """Return the tag of something that follows from the tables of studies: it changes when they do."""
        digest = hashlib.sha256(repr((*what, str(results.root))).encode())
        for name, folder in results.select().items():
            digest.update(repr((name, _state(folder))).encode())
        return f'W/"{digest.hexdigest()[:24]}"'

    def is_live(self, results: Results) -> bool:
        """Whether a driver runs one of these studies, so that their tables change again soon."""
        return any(driver_alive(folder) for folder in results.select().values())

    def remembered(self, key: Sequence[str], tag: str, compute: Callable[[], Answer]) -> Answer:
        """Return an answer that was computed from tables with the same tag, or compute it, once for all who ask."""
        return self._answers.get(tuple(key), tag, compute, may_stand=False).answer

    def progress(self, study: StudyResults) -> dict[str, Any]:
        """Return how far a study has come: its row of `Results.status`."""
        tag = self.tag(study, "progress")
        status: dict[str, Any] = self.remembered(("progress", study.name), tag, lambda: study.status()[0])
        return status


def _state(folder: Root) -> list[Any]:
    """Return what changes with a study's tables: the names, sizes and times of their files, and if a driver lives."""
    selectors = [pafs.FileSelector(folder.path(name), allow_not_found=True) for name in _FOLDERS]
    infos = [info for selector in selectors for info in folder.filesystem.get_file_info(selector)]
    return [driver_alive(folder), *sorted((info.path, info.size, info.mtime_ns) for info in infos)]
