"""The current files of a study's tables: those of one term.

A writer's files have its term in their names (`storage.terms`). The term of all tables is the latest for which there is
a file of the ``studies`` table. A new writer first links everything that counts under names of its own term, that file
last (`tables.recovery`): with it all tables are its own, in one step. What a writer of an earlier term did too late to
be linked, or does from then on, does not count; it never writes or deletes a file of another term than its own.
"""

import logging
import re

from kd_sweep.errors import StorageError
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import of_term
from kd_sweep.tables.schema import EPOCHS_FOLDER, TABLE_FILES, TRIALS_COPY

_LOG = logging.getLogger(__name__)
_STUDIES = TABLE_FILES["studies"].partition("/")[0]
_FOLDERS = (*(name.partition("/")[0] for name in (*TABLE_FILES.values(), TRIALS_COPY)), EPOCHS_FOLDER)
"""The first is that of the studies: without its file a term does not count, whatever else there still is of it."""
_TERM = re.compile(r"-(\d{8,})\.parquet$")


def current_term(root: Root, before: int | None = None) -> int | None:
    """Return the term whose files are a study's tables; None if it has none. Only terms ``before`` one, if given.

    If the file of the studies table is lost, it is the latest term of any table file.

    Raises:
        StorageError: the tables are those of an unreleased version. One line.
    """
    for _ in range(2):  # a listing can miss a deleted file and its successor
        if terms := _terms(root, (_STUDIES,), before):
            return max(terms)
    if root.exists(TABLE_FILES["studies"]):
        raise StorageError(
            f"{root.location_of(TABLE_FILES['studies'])}: is of an unreleased version of kd_sweep, whose files and ids "
            "were others; read it with that version, or launch the study in another root"
        )
    return max(_terms(root, _FOLDERS, before), default=None)


def latest_term(root: Root) -> int:
    """Return the latest term of any file in a study's table folders, whether it counts or not; 0 for none."""
    return max((term for _, term in _files(root, _FOLDERS)), default=0)


def table_file(root: Root, name: str) -> str:
    """Return the file that is a table now: ``trials/trials-00000003.parquet`` for ``trials/trials.parquet``.

    If there are no tables it is that of term 0, which never exists.
    """
    return of_term(name, current_term(root) or 0)


def files_of_other_terms(root: Root, term: int | None) -> list[str]:
    """Return the table files that do not count since they are of other terms than this one."""
    return [name for name, other in _files(root, _FOLDERS) if other != term]


def delete_earlier(root: Root, term: int) -> None:
    """Delete the table files of earlier terms; they count no more, so a failed deletion waits until the next time."""
    _delete(root, [name for name, other in _files(root, _FOLDERS) if other < term])


def delete_term(root: Root, term: int) -> None:
    """Delete the table files of one term, which must be the caller's own and not count."""
    _delete(root, [name for name, other in _files(root, _FOLDERS) if other == term])


def _delete(root: Root, names: list[str]) -> None:
    for name in names:
        try:
            root.delete(name)
        except StorageError as failure:
            _LOG.warning("%s; it does not count, and is deleted later", failure)


def _terms(root: Root, folders: tuple[str, ...], before: int | None) -> set[int]:
    return {term for _, term in _files(root, folders) if before is None or term < before}


def _files(root: Root, folders: tuple[str, ...]) -> list[tuple[str, int]]:
    return [
        (f"{folder}/{name}", int(match[1]))
        for folder in folders
        for name in root.files(folder)
        if (match := _TERM.search(name))
    ]
