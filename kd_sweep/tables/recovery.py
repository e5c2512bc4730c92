"""The recovery of tables by a new writer: it makes them its own, sets damaged files aside, keeps every epoch once.

It works on links to the files that count, under names of its own term. Readers see the files of the term before, and
whatever its writer still does, until all is done: then one file, that of the ``studies`` table, begins the new term.
"""

import logging
import time
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import of_term, unfinished
from kd_sweep.tables.current_files import current_term, delete_earlier, delete_term
from kd_sweep.tables.epoch_parts import Part, list_parts, merge, read_part
from kd_sweep.tables.keyed_table import KeyedTable, read_keyed
from kd_sweep.tables.schema import EPOCHS_FOLDER, STUDIES, TABLE_FILES, TRIALS_COPY

_LOG = logging.getLogger(__name__)
_LINKINGS = 20
DAMAGED_FOLDER = "damaged"


class Recovered(NamedTuple):
    """The state of a study's tables, whole again."""

    last_epochs: dict[str, int]
    num_rows: dict[Part, int]
    last_sequence: int
    set_aside: tuple[str, ...]


def recover(root: Root, term: int) -> Recovered:
    """Make a study's tables those of this term, whole again, and return what they hold.

    Damaged files move to ``damaged/``; the trials come back from their second copy. If the rows of a trial are
    not exactly epochs 1…n, only that beginning is kept: the trial's checkpoint has the rest. Files of earlier
    terms and unfinished ones are deleted.

    Args:
        root: the study's folder.
        term: of the new writer, later than any before.

    Raises:
        StorageError: a file cannot be read or written. Everything is as it was.
    """
    try:
        source = _link(root, term)
        set_aside = _set_aside_tables(root, term)
        _agree_on_trials(root, term)
        parts = list_parts(root, term)
        keys: dict[Part, pa.Table] = {}
        for part in parts:
            try:
                keys[part] = read_part(root, part, ["trial_id", "epoch"])
            except CorruptFileError as error:
                set_aside.append(_set_aside(root, part.path, error))
        num_rows = {part: table.num_rows for part, table in keys.items()}
        last_epochs, is_whole = _beginnings(list(keys.values()))
        if not is_whole:
            num_rows = _trimmed(root, list(keys), last_epochs)
        set_aside += _begin(root, source, term)
    except BaseException:
        delete_term(root, term)
        raise
    delete_earlier(root, term)
    for name in unfinished(root.files(), before=term):
        root.delete(name)
    return Recovered(last_epochs, num_rows, parts[-1].last if parts else 0, tuple(set_aside))


def _link(root: Root, term: int) -> int | None:
    """Link every file that counts under a name of this term, but for the ``studies`` table; return their term.

    The writer of that term may still be at work, and one in between may be about to begin.
    """
    for _ in range(_LINKINGS):
        source = current_term(root, before=term)
        if source is None:
            return None
        try:
            _link_files(root, source, term)
            if current_term(root, before=term) == source:  # nobody in between has deleted some before they were listed
                return source
        except FileNotFoundError:  # merged, or deleted by a writer in between
            pass
        delete_term(root, term)
    raise StorageError(f"{root.location_of(EPOCHS_FOLDER)}: files are replaced faster than they can be linked")


def _link_files(root: Root, source: int, term: int) -> None:
    # Epochs last: a flush writes them first, so no trial is ahead of its epochs.
    for name in (TABLE_FILES["trials"], TRIALS_COPY, TABLE_FILES["teachers"]):
        if root.exists(of_term(name, source)):
            root.copy(of_term(name, source), of_term(name, term))
    for part in list_parts(root, source):
        root.copy(part.path, part._replace(term=term).path)


def _begin(root: Root, source: int | None, term: int) -> list[str]:
    """Write the ``studies`` table in this term, with which the term begins; return the locations of damaged files."""
    table = TABLE_FILES["studies"]
    file = of_term(table, term)
    damaged = []
    try:
        if source is not None and read_keyed(root, of_term(table, source)).num_rows:
            root.copy(of_term(table, source), file)
            return []
    except CorruptFileError as error:
        root.copy(of_term(table, source or 0), _aside(table))
        _LOG.warning("%s; copied to %s", error, root.location_of(_aside(table)))
        damaged.append(root.location_of(of_term(table, source or 0)))
    KeyedTable(root, file, STUDIES, "study").save(always=True)
    return damaged


def _set_aside_tables(root: Root, term: int) -> list[str]:
    damaged = []
    for name in (TABLE_FILES["trials"], TRIALS_COPY, TABLE_FILES["teachers"]):
        try:
            read_keyed(root, of_term(name, term))
        except CorruptFileError as error:
            damaged.append(_set_aside(root, of_term(name, term), error))
    return damaged


def _agree_on_trials(root: Root, term: int) -> None:
    """Bring the trials back from their copy if they are gone; else make the copy equal to them."""
    table, second = of_term(TABLE_FILES["trials"], term), of_term(TRIALS_COPY, term)
    trials, copy = (root.read_bytes(name) if root.exists(name) else None for name in (table, second))
    if trials is None and copy is not None:
        root.write_bytes(table, copy)
        _LOG.warning("%s: brought back from %s", root.location_of(table), root.location_of(second))
    elif trials is not None and trials != copy:
        root.write_bytes(second, trials)


def _set_aside(root: Root, name: str, error: CorruptFileError) -> str:
    root.move(name, _aside(name))
    _LOG.warning("%s; moved to %s", error, root.location_of(_aside(name)))
    return root.location_of(name)


def _aside(name: str) -> str:
    return f"{DAMAGED_FOLDER}/{name.replace('/', '-')}.{int(time.time())}"


def _beginnings(keys: list[pa.Table]) -> tuple[dict[str, int], bool]:
    """Return each trial's last epoch of the unbroken run from 1, and whether there are no other rows."""
    if not keys:
        return {}, True
    table = pa.concat_tables(keys).unify_dictionaries().combine_chunks()
    trial_ids, epoch_N = table["trial_id"].combine_chunks(), table["epoch"].to_numpy()
    trial_N = trial_ids.indices.to_numpy()
    # A trial of n rows has a slot for each of its epochs 1 to n: it is whole if every slot is taken.
    counts = np.bincount(trial_N, minlength=len(trial_ids.dictionary))
    fits_N = (epoch_N >= 1) & (epoch_N <= counts[trial_N])
    is_taken = np.zeros(len(epoch_N), bool)
    is_taken[(np.cumsum(counts) - counts)[trial_N[fits_N]] + epoch_N[fits_N] - 1] = True
    if is_taken.all():
        names = trial_ids.dictionary.to_pylist()
        return {name: count for name, count in zip(names, counts.tolist(), strict=True) if count}, True
    epochs: dict[str, set[int]] = {}
    for trial, epoch in zip(table["trial_id"].to_pylist(), table["epoch"].to_pylist(), strict=True):
        epochs.setdefault(trial, set()).add(epoch)
    return {trial: run for trial, numbers in epochs.items() if (run := _unbroken(numbers))}, False


def _unbroken(epochs: set[int]) -> int:
    last = 0
    while last + 1 in epochs:
        last += 1
    return last


def _trimmed(root: Root, parts: list[Part], last_epochs: dict[str, int]) -> dict[Part, int]:
    """Rewrite all parts as one that holds each trial's unbroken beginning, each epoch once."""

    def keep(table: pa.Table) -> pa.Table:
        seen: set[tuple[str, int]] = set()
        kept = []
        keys = zip(table["trial_id"].to_pylist(), table["epoch"].to_pylist(), strict=True)
        for index, key in enumerate(keys):
            if key not in seen and 1 <= key[1] <= last_epochs.get(key[0], 0):
                seen.add(key)
                kept.append(index)
        return table.take(pa.array(kept, pa.int64()))

    _LOG.warning("%s: epochs were missing or doubled; keeping each trial's unbroken beginning", root.location)
    merged, num_rows = merge(root, parts, keep)
    for part in parts:
        if part != merged:
            root.delete(part.path)
    return {merged: num_rows}
