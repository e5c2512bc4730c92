"""What a new writer does first: remove what a killed one left, set damaged files aside, keep every epoch once."""

import logging
import time
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kd_sweep.errors import CorruptFileError
from kd_sweep.results.keyed import read_keyed
from kd_sweep.results.parts import Part, counted, merge, read_part, superseded
from kd_sweep.results.schema import EPOCHS_FOLDER, TABLE_FILES, TRIALS_COPY
from kd_sweep.results.storage import Root

_LOG = logging.getLogger(__name__)
DAMAGED_FOLDER = "damaged"


class Recovered(NamedTuple):
    """The state of a study's tables, whole again."""

    last_epochs: dict[str, int]
    num_rows: dict[Part, int]
    last_sequence: int
    set_aside: tuple[str, ...]


def recover(root: Root) -> Recovered:
    """Clean a study's table folders and return what they hold. Only for the study's one writer.

    Temporary files and superseded parts are deleted. Damaged files move to ``damaged/``; the trials come back from
    their second copy. Where the rows that are left of a trial are not exactly epochs 1…n, only that beginning is kept:
    the trial's checkpoint has the rest.

    Raises:
        StorageError: a file cannot be read or written. What cannot be read stays where it is.
    """
    root.delete_temporaries()
    names = root.files(EPOCHS_FOLDER)
    for name in superseded(names):
        root.delete(f"{EPOCHS_FOLDER}/{name}")
    parts = counted(names)
    last_sequence = parts[-1].last if parts else 0
    set_aside = _set_aside_tables(root)
    _agree_on_trials(root)
    keys: dict[Part, pa.Table] = {}
    for part in parts:
        try:
            keys[part] = read_part(root, part, ["trial_id", "epoch"])
        except CorruptFileError as error:
            set_aside.append(_set_aside(root, part.place, error))
    num_rows = {part: table.num_rows for part, table in keys.items()}
    last_epochs, is_whole = _beginnings(list(keys.values()))
    if not is_whole:
        num_rows = _trimmed(root, list(keys), last_epochs)
    return Recovered(last_epochs, num_rows, last_sequence, tuple(set_aside))


def _set_aside_tables(root: Root) -> list[str]:
    damaged = []
    for name in (*TABLE_FILES.values(), TRIALS_COPY):
        try:
            read_keyed(root, name)
        except CorruptFileError as error:
            damaged.append(_set_aside(root, name, error))
    return damaged


def _agree_on_trials(root: Root) -> None:
    """Bring the trials back from their copy where they are gone; else make the copy what they are."""
    table = TABLE_FILES["trials"]
    trials, copy = (root.read_bytes(name) if root.exists(name) else None for name in (table, TRIALS_COPY))
    if trials is None and copy is not None:
        root.write_bytes(table, copy)
        _LOG.warning("%s: brought back from %s", root.shown(table), root.shown(TRIALS_COPY))
    elif trials is not None and trials != copy:
        root.write_bytes(TRIALS_COPY, trials)


def _set_aside(root: Root, name: str, error: CorruptFileError) -> str:
    target = f"{DAMAGED_FOLDER}/{name.replace('/', '-')}.{int(time.time())}"
    root.move(name, target)
    _LOG.warning("%s; moved to %s", error, root.shown(target))
    return root.shown(name)


def _beginnings(keys: list[pa.Table]) -> tuple[dict[str, int], bool]:
    """Return each trial's last epoch of the unbroken run from 1, and whether there are no other rows."""
    if not keys:
        return {}, True
    table = pa.concat_tables(keys).unify_dictionaries().combine_chunks()
    trial_ids, epoch_N = table["trial_id"].combine_chunks(), table["epoch"].to_numpy()
    trial_N = trial_ids.indices.to_numpy()
    # A trial of n rows has a place for each of its epochs 1 to n: it is whole if every place is taken.
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
    return {trial: run for trial, found in epochs.items() if (run := _unbroken(found))}, False


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
    return {merged: num_rows}
