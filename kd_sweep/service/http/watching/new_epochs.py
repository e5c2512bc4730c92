"""The epochs of a study that were not there before: read from the parts that are new, each epoch once."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.handles.study_results import StudyResults
from kd_sweep.storage.root import Root
from kd_sweep.tables.epoch_parts import MAX_MERGED_ROWS, Part, list_parts, read_part

MOST_ROWS = 400
"""Of one event: more are left to those who read the tables."""
_METRICS = ("val_accuracy", "fidelity_val", "val_loss", "train_loss")


class NewEpochs:
    """What a study's table of epochs had at the last look, which is now when this is made.

    Args:
        study: the study.
        is_live: whether it runs: then its epochs can be ahead of its trials, and the newest are read themselves.
    """

    def __init__(self, study: StudyResults, *, is_live: bool) -> None:
        self._study = study
        trials = study.for_views().table("trials")  # first: what is in the parts is no older
        rows = trials.select(["trial_id", "last_epoch"])
        self._last = {trial_id: epoch or 0 for trial_id, epoch in zip(*rows.to_pydict().values(), strict=True)}
        self._newest, newest = _newest_epochs(study.root) if is_live else (_newest(list_parts(study.root)), {})
        for trial_id, epoch in newest.items():
            self._last[trial_id] = max(epoch, self._last.get(trial_id, 0))

    def take(self, metric: str) -> dict[str, Any] | None:
        """Return the epochs that have come since the last call; None without any.

        Keys: `columns` with `trial_id`, `epoch`, the metric and a few others; `is_cut` where there are more than
        `MOST_ROWS`, and only the newest of them are here.

        Args:
            metric: the objective's, or another column's name.
        """
        parts = list_parts(self._study.root)
        tables = []
        for part in parts:
            if (part.term, part.last) > self._newest:  # others hold flushes that were seen, merged or not
                try:
                    tables.append(self._new_rows(part, metric))
                except FileNotFoundError:  # merged meanwhile: the next call reads what it is in
                    return None
        self._newest = _newest(parts)
        table = pa.concat_tables(tables, promote_options="default") if tables else None
        if table is None or not table.num_rows:
            return None
        for trial_id, epoch in zip(table["trial_id"].to_pylist(), table["epoch"].to_pylist(), strict=True):
            self._last[trial_id] = max(epoch, self._last.get(trial_id, 0))
        newest = table.slice(max(0, table.num_rows - MOST_ROWS))
        return {"columns": newest.to_pydict(), "is_cut": table.num_rows > MOST_ROWS}

    def _new_rows(self, part: Part, metric: str) -> pa.Table:
        wanted = list(dict.fromkeys(("trial_id", "epoch", metric, *_METRICS)))
        table = read_part(self._study.root, part, wanted)  # a merged part has all columns of a quarter million epochs
        ids = table["trial_id"].combine_chunks()
        last = pa.array([self._last.get(trial_id, 0) for trial_id in ids.dictionary.to_pylist()], pa.int32())
        table = table.filter(pc.greater(table["epoch"], last.take(ids.indices)))
        return table.set_column(0, "trial_id", table["trial_id"].cast(pa.string()))


def _newest(parts: Sequence[Part]) -> tuple[int, int]:
    """Return the term and the last flush of the newest part."""
    return max(((part.term, part.last) for part in parts), default=(0, 0))


def _newest_epochs(root: Root) -> tuple[tuple[int, int], dict[str, int]]:
    """Return the newest part as `_newest` does, and the last epoch of each trial in the newest parts.

    Trials are saved every few seconds, so they lack only what those have. The oldest of these parts is so large that it
    is merged no more; to read all parts would take a second of CPU for some millions of epochs.
    """
    while True:
        parts = list_parts(root)
        found: dict[str, int] = {}
        try:
            for part in sorted(parts, key=lambda part: part.last, reverse=True):
                table = read_part(root, part, ["trial_id", "epoch"])
                ids = table["trial_id"].cast(pa.string())
                last = pa.table({"id": ids, "epoch": table["epoch"]}).group_by("id").aggregate([("epoch", "max")])
                for trial_id, epoch in zip(last["id"].to_pylist(), last["epoch_max"].to_pylist(), strict=True):
                    found[trial_id] = max(epoch, found.get(trial_id, 0))
                if table.num_rows > MAX_MERGED_ROWS // 2:
                    break
        except FileNotFoundError:  # merged meanwhile
            continue
        return _newest(parts), found
