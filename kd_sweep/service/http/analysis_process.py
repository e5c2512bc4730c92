"""The process that analyses a study: it may take long, and memory."""

import json
import os
import sys
import threading
import time
from pathlib import Path

from kd_sweep.errors import KdSweepError
from kd_sweep.service.http.listening.returned_memory import trim
from kd_sweep.tables.arrow_alone import import_arrow_alone

NICENESS = 10
"""Pages and streams go first: an analysis of 10,000 trials takes a CPU for half a minute."""

_PAUSE_S = 0.5


def main(study: str, tables: str, notes: str) -> int:
    """Analyse a study; write its tables as Parquet, ``NAME.parquet``.

    Of the effects and correlations those that are pooled over settings are in ``NAME-pooled.parquet``, too, and the
    pooled differences between arms in ``arms.parquet``.

    Args:
        study: its folder.
        tables: the folder for the tables.
        notes: the file for what a reader of the tables has to know, a JSON list of lines.
    """
    os.nice(NICENESS)
    import_arrow_alone()  # before anything imports pandas, which is 30 MB
    import pyarrow.parquet as pq

    from kd_sweep.analysis.reading_notes import explained
    from kd_sweep.analysis.study_analysis import analyse, pooled_contrasts, pooled_correlations, pooled_effects
    from kd_sweep.tables.kept_tables import keep_no_tables
    from kd_sweep.tables.reader import open_results

    keep_no_tables()
    threading.Thread(target=_give_back, daemon=True).start()
    pooled = {"effects": pooled_effects, "correlations": pooled_correlations}
    folder = Path(tables)
    try:
        analysis = analyse(open_results(study))
    except KdSweepError as error:
        line = str(error).replace("\n", "\\n")
        print(f"kd-sweep: {line}", file=sys.stderr)
        return error.exit_code
    for name, table in analysis.tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
        if name in pooled:
            pq.write_table(pooled[name](table), folder / f"{name}-pooled.parquet")
    pq.write_table(pooled_contrasts(analysis.tables["effects"]), folder / "arms.parquet")
    Path(notes).write_text(json.dumps(explained(analysis)))
    return 0


def _give_back() -> None:
    """Give back again and again what the table of trials, its rows as objects and the like have left: 30 MB."""
    while True:
        time.sleep(_PAUSE_S)
        trim()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
