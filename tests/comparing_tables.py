"""Tables without what may differ between two runs of the same study."""

from pathlib import Path

import pyarrow as pa

from kd_sweep.tables.reader import open_results

PROCESS_COLUMNS = frozenset(
    (
        "host",
        "pid",
        "attempt",
        "attempts",
        "started_at",
        "finished_at",
        "created_at",
        "updated_at",
        "epoch_s",
        "train_s",
        "train_images_per_s",
    )
)
"""Times, hosts and attempt counts: what may differ between two runs of the same study."""


def comparable(root: Path | str, table: str) -> pa.Table:
    """Return a table without times, hosts and attempt counts, in a fixed order of rows."""
    found = open_results(root).table(table)
    found = found.drop_columns([name for name in found.column_names if name in PROCESS_COLUMNS])
    keys = [name for name in ("study", "trial_id", "teacher_id", "epoch") if name in found.column_names]
    return found.sort_by([(key, "ascending") for key in keys])
