"""Every view of a study of 10,000 trials x 200 epochs: CPU seconds and bytes, beside plain DuckDB on the same files.

The study is that of `generated_study.py`, written by the real writer. The peer is a short statement that answers the
same question from the Parquet files of one study, without what kd_sweep adds: checksums, parts that are being merged,
several studies, searched fields by name, checks of metrics. Bytes are those of JSON, compressed by gzip; *all* is the
metric of all epochs, which a page would need without views. Each line is measured in a process of its own; seconds are
the median of 5 answers, the first dropped, with all threads.

Run: python benchmarks/views.py [--root FOLDER]. Without a root of generated_study.py's, one is written first.
"""

import argparse
import gzip
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import generated_study

REPEATS = 5
MOST_CPU_S, MOST_BYTES = 1.0, 300_000
NAME = "generated"

_GROUPS = "study, augmentation_strength, ensemble_size"
_BEST = "SELECT trial_id FROM trials ORDER BY objective DESC LIMIT 100"
_LAST = """FROM epochs AS e JOIN trials AS t ON e.trial_id = t.trial_id AND e.epoch = t.last_epoch
            WHERE t.status = 'completed'"""
PEERS = {
    "curves": f"SELECT trial_id, epoch, val_accuracy FROM epochs WHERE trial_id IN ({_BEST}) ORDER BY ALL",
    "bands": f"""SELECT {_GROUPS}, epoch, count(*), quantile_cont(val_accuracy, [0.1, 0.5, 0.9])
        FROM epochs GROUP BY ALL ORDER BY ALL""",
    "density": """SELECT epoch, least(floor((val_accuracy - low) / (high - low) * 200), 199) AS y, count(*)
        FROM epochs, (SELECT min(val_accuracy) AS low, max(val_accuracy) AS high FROM epochs)
        GROUP BY ALL ORDER BY ALL""",
    "dose_response": f"""SELECT {_GROUPS}, avg(val_accuracy), stddev_samp(val_accuracy), list(val_accuracy), count(*)
        FROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY ALL""",
    "agreement": f"""SELECT {_GROUPS}, avg(fidelity_train), avg(fidelity_val), avg(fidelity_val_augmented),
        avg(1 - diversity_teachers), avg(attention_iou_student), avg(attention_iou_teachers)
        FROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY ALL""",
    "agreement_matrix": f"""SELECT augmentation_strength, ensemble_size, place, avg(value) FROM (
        SELECT t.augmentation_strength, t.ensemble_size, unnest(agreement_student) AS value,
            generate_subscripts(agreement_student, 1) AS place {_LAST}) GROUP BY ALL ORDER BY ALL""",
    "reliability": f"""SELECT augmentation_strength, ensemble_size, bin, sum(number), sum(number * share) / sum(number)
        FROM (SELECT t.augmentation_strength, t.ensemble_size, unnest(reliability_count_student) AS number,
            unnest(reliability_accuracy_student) AS share, generate_subscripts(reliability_count_student, 1) AS bin
            {_LAST}) GROUP BY ALL ORDER BY ALL""",
    "affinity_plane": f"""SELECT {_GROUPS}, avg(affinity), avg(diversity), avg(val_accuracy)
        FROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY ALL""",
    "dominated_area": """SELECT trial_id, finished_at, val_accuracy, ece FROM trials
        WHERE status IN ('completed', 'stopped') ORDER BY finished_at""",
    "parallel": """SELECT * FROM (SELECT trial_id, status, augmentation_strength, ensemble_size, seed, val_accuracy,
        ece, row_number() OVER (ORDER BY objective DESC) AS rank FROM trials) WHERE rank % 5 = 0 ORDER BY rank""",
    "neighbours": """SELECT trials.* FROM trials, (FROM trials ORDER BY objective DESC LIMIT 1) AS best
        WHERE (trials.augmentation_strength <> best.augmentation_strength)::INTEGER
            + (trials.ensemble_size <> best.ensemble_size)::INTEGER + (trials.seed <> best.seed)::INTEGER <= 1""",
    "progress": "SELECT status, count(*), sum(last_epoch), sum(train_s), avg(train_s) FROM trials GROUP BY ALL",
    "timeline": """SELECT trial_id, attempt, any_value(host), min(finished_at) AS began, max(finished_at), count(*)
        FROM epochs GROUP BY ALL ORDER BY began DESC LIMIT 2000""",
    "stops": "SELECT last_epoch, count(*) FROM trials WHERE status = 'stopped' GROUP BY ALL",
    "all": "SELECT trial_id, epoch, val_accuracy FROM epochs ORDER BY ALL",
}


def measured(question: Callable[[], Any]) -> dict[str, Any]:
    """Return the median CPU and wall seconds of a question, the first one dropped, and its last answer's size."""
    cpu, wall = [], []
    for _ in range(REPEATS + 1):
        began, used = time.perf_counter(), time.process_time()
        answer = question()
        cpu.append(time.process_time() - used)
        wall.append(time.perf_counter() - began)
    from kd_sweep.tables.rendering.output_formats import render

    sink = io.BytesIO()
    render(answer, "json", sink)
    sizes = {"rows": answer.num_rows, "bytes": len(gzip.compress(sink.getvalue()))}
    return {"cpu_s": statistics.median(cpu[1:]), "wall_s": statistics.median(wall[1:]), **sizes}


def of_view(root: Path, view: str) -> dict[str, Any]:
    """Measure a view."""
    from kd_sweep.tables.queries.named_queries import answer
    from kd_sweep.tables.reader import open_results

    results = open_results(root / NAME)
    return measured(lambda: answer(results, view))


def of_duckdb(root: Path, view: str) -> dict[str, Any]:
    """Measure the peer's statement."""
    import duckdb

    connection = duckdb.connect()
    for table in ("epochs", "trials"):
        connection.execute(f"CREATE VIEW {table} AS FROM read_parquet('{root}/{NAME}/{table}/*.parquet')")
    return measured(lambda: connection.sql(PEERS[view]).fetch_arrow_table())


SIDES = {"view": of_view, "duckdb": of_duckdb}


def in_process(side: str, root: Path, view: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--part", side, view, "--root", str(root)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{view} failed: {done.stderr[-2_000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(root: Path) -> bool:
    """Print a line per view; return whether all are within their limits."""
    from rich.console import Console
    from rich.table import Table

    table = Table("view", "rows", "CPU s", "wall s", "kB gzipped", "DuckDB CPU s", "its kB", title="Views")
    within = True
    for view in PEERS:
        peer = in_process("duckdb", root, view)
        ours = in_process("view", root, view) if view != "all" else None
        own = ["-"] * 4
        if ours:
            own = [f"{ours['rows']:,}", f"{ours['cpu_s']:.2f}", f"{ours['wall_s']:.2f}", f"{ours['bytes'] / 1_000:.0f}"]
            within &= ours["cpu_s"] <= MOST_CPU_S and ours["bytes"] <= MOST_BYTES
        table.add_row(view, *own, f"{peer['cpu_s']:.2f}", f"{peer['bytes'] / 1_000:,.0f}")
    console = Console(width=100)
    console.print(table)
    limits = f"{MOST_CPU_S:g} CPU s and {MOST_BYTES / 1_000:.0f} kB"
    console.print(f"every view within {limits}" if within else f"NOT every view within {limits}", highlight=False)
    return within


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="of a study that generated_study.py has written")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        side, view = arguments.part
        print(json.dumps(SIDES[side](arguments.root, view)))
        return 0
    if arguments.root is not None:
        return 0 if report(arguments.root) else 1
    with tempfile.TemporaryDirectory(prefix="kd-sweep-bench-") as folder:
        generated_study.write(Path(folder), NAME, arguments.trials, arguments.epochs)
        return 0 if report(Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
