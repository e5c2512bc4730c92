"""The removal of a study with everything in its folder. Teachers are shared: they stay, for `gc`."""

import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ByteSize

from kd_sweep.driver.study_folder import SPEC_FILE, StudyFolder
from kd_sweep.errors import KdSweepError, StorageError
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.recorded_trials import recorded_trial
from kd_sweep.tables.keyed_table import read_table
from kd_sweep.tables.reader import is_study
from kd_sweep.tables.schema import TABLE_FILES

REMOVED = ".removed-"
"""The start of the name of a folder that was a study until its removal began."""
_STUDIES = TABLE_FILES["studies"].partition("/")[0]


@dataclass(frozen=True)
class Removal:
    """What a removal frees."""

    study: str
    """The study's folder."""
    num_trials: int | None
    """None where its tables cannot be read."""
    num_bytes: int
    num_teachers: int
    """Teachers that no other study of the root uses; they stay."""

    def __str__(self) -> str:
        trials = "unreadable tables" if self.num_trials is None else f"{self.num_trials} trials"
        size = ByteSize(self.num_bytes).human_readable(decimal=True)
        return f"{self.study}: {trials}, {size} of tables and checkpoints"


def weigh(location: Location) -> Removal:
    """Return what the removal of a study would free. Changes nothing.

    Raises:
        StorageError: there is no study.
    """
    folder = _folder(location)
    trials = _trials_of(folder.study)
    others = map(folder.storage.child, folder.storage.folders())
    kept = _teachers(one for other in others if other.location != folder.study.location for one in _configs(other))
    alone = _teachers(_configs(folder.study)) - kept
    num_trials = None if trials is None else len(trials)
    return Removal(str(folder.study), num_trials, sum(folder.study.sizes().values()), len(alone))


def remove_study(location: Location) -> None:
    """Delete a study's folder. Killed in the middle it has left either the study or nothing that counts as one.

    Raises:
        StorageError: there is no study, or it cannot be deleted.
        StudyLockedError: a driver runs it.
    """
    folder = _folder(location)
    with folder.lock():
        if folder.storage.is_local:
            aside = f"{REMOVED}{folder.name}-{secrets.token_hex(4)}"
            folder.storage.move_folder(folder.name, aside)
        else:
            _delete_stored(folder.study)
    if folder.storage.is_local:
        folder.storage.delete_folder(aside)
    else:
        folder.storage.delete_folder(folder.name)  # its lease


def _folder(location: Location) -> StudyFolder:
    folder = StudyFolder.at(location)
    if not is_study(folder.study):
        raise StorageError(f"{folder.study}: is not a study; possible: a study's folder, ROOT/STUDY")
    return folder


def _delete_stored(study: Root) -> None:
    """Delete what an object store holds, what makes it a study last: interrupted, it can be removed once more."""
    for name in study.folders():
        if name != _STUDIES:
            study.delete_folder(name)
    study.delete(SPEC_FILE)
    study.delete_folder(_STUDIES)


def _trials_of(study: Root) -> list[dict[str, object]] | None:
    with contextlib.suppress(KdSweepError):
        return list(read_table(study, TABLE_FILES["trials"]).to_pylist())
    return None


def _configs(study: Root) -> list[dict[str, object]]:
    return (_trials_of(study) or []) if is_study(study) else []


def _teachers(rows: Iterable[dict[str, object]]) -> set[str]:
    teachers: set[str] = set()
    for row in rows:
        with contextlib.suppress(KdSweepError):
            teachers |= {teacher.teacher_id for teacher in recorded_trial(row).needed_teachers}
    return teachers
