"""The results store at 10,000 trials x 200 epochs, and beside Optuna's SQLite storage and Ray Tune's ResultGrid.

Every store holds the same rows: a trial's epoch with the reported metrics (Optuna's holds one value per epoch, the
objective: it has no place for more). Asked of each, after opening it anew, and their answers are compared:

    leaderboard   the best 10 trials by their last val_accuracy
    means         of val_accuracy, by epoch and augmentation strength

and of kd_sweep what users ask, `kd-sweep query ROOT trend`: means of six metrics by epoch and every searched field.

The full size goes through `StudyWriter` only; the others take minutes for a thousandth of it, so all three are also
compared at 20 trials x 200 epochs. One flush per 2,000 epochs: what a cluster that ends 400 epochs a second gives in
5 s. Each line is measured in a process of its own; seconds of a question are the median of 5, the first one dropped.

Run: python benchmarks/results_store.py
"""

import argparse
import datetime
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}

FULL = (10_000, 200)
SMALL = (20, 200)
ROWS_PER_FLUSH = 2_000
TRIALS_AT_A_TIME = 50
NUM_VAL_IMAGES = 10_000
REPEATS = 5
SHARES = ("accuracy", "fidelity", "gap")


def strength_of(trial: int) -> float:
    return trial % 11 / 10


def metrics_of(trial: int, epoch: int) -> dict[str, float]:
    """The same in every store. Accuracies are counts over images, as real ones are; losses take any value."""
    from kd_sweep.study.metric_catalogue import REPORTED_METRICS

    generator = random.Random(trial * 100_000 + epoch)
    return {
        name: generator.randrange(NUM_VAL_IMAGES) / NUM_VAL_IMAGES
        if any(word in name for word in SHARES)
        else generator.random()
        for name in REPORTED_METRICS
    }


def schedule(num_trials: int, num_epochs: int) -> Iterator[tuple[int, int]]:
    """Trials in groups that run side by side, epoch by epoch."""
    for first in range(0, num_trials, TRIALS_AT_A_TIME):
        for epoch in range(1, num_epochs + 1):
            for trial in range(first, min(first + TRIALS_AT_A_TIME, num_trials)):
                yield trial, epoch


def seconds(question: Callable[[], Any]) -> float:
    """Median time of a question, without the first."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        question()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000


def answers_of(best: list[float], means: dict[tuple[int, float], float], size: tuple[int, int]) -> dict[str, Any]:
    """What every store must answer alike."""
    assert (len(best), len(means)) == (10, size[1] * 11)
    rounded = [[epoch, round(strength, 1), round(mean, 9)] for (epoch, strength), mean in sorted(means.items())]
    return {"answers": [best, rounded]}


def files_and_bytes(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def write_kd_sweep(folder: Path, num_trials: int, num_epochs: int) -> dict[str, Any]:
    """As the driver does: every epoch a row, and the trial's row brought up to date with it."""
    from kd_sweep.storage.root import Root
    from kd_sweep.tables.writer import StudyWriter

    spent_s = slowest_s = half_mb = 0.0
    most_files = written = 0
    with StudyWriter(Root.open(folder), "study") as writer:
        writer.set_study(objectives='[{"metric": "val_accuracy", "mode": "max"}]', num_planned=num_trials)
        for trial, epoch in schedule(num_trials, num_epochs):
            identity = {"trial_id": f"{trial * 0x9E3779B97F4A7C15 % 2**64:016x}", "seed": trial % 5}
            identity |= {"augmentation_strength": strength_of(trial), "ensemble_size": trial % 3 + 1}
            metrics = metrics_of(trial, epoch)
            times = {"epoch_s": 1.5, "learning_rate": 0.1, "finished_at": datetime.datetime.now(datetime.UTC)}
            began = time.perf_counter()
            writer.add_epoch(identity | metrics | times | {"host": "node-1", "pid": 4242, "attempt": 1, "epoch": epoch})
            status = "completed" if epoch == num_epochs else "running"
            last = {"last_epoch": epoch, "status": status, "objective": metrics["val_accuracy"]}
            writer.upsert_trial(identity | metrics | last)
            added = time.perf_counter()
            spent_s += added - began
            written += 1
            if written % ROWS_PER_FLUSH == 0:
                writer.flush()
                flush_s = time.perf_counter() - added
                spent_s, slowest_s = spent_s + flush_s, max(slowest_s, flush_s)
                most_files = max(most_files, files_and_bytes(folder)[0])
                half_mb = half_mb if 2 * written > num_trials * num_epochs else peak_mb()
        began = time.perf_counter()
    spent_s += time.perf_counter() - began
    num_files, num_bytes = files_and_bytes(folder)
    figures = {"rows_per_s": written / spent_s, "num_files": num_files, "bytes_per_row": num_bytes / written}
    peaks = {"half_mb": half_mb, "peak_mb": peak_mb()}
    return figures | {"most_files": most_files, "slowest_flush_s": slowest_s} | peaks


def read_kd_sweep(folder: Path, num_trials: int, num_epochs: int) -> dict[str, Any]:
    from kd_sweep.storage.root import Root
    from kd_sweep.tables.queries.named_queries import answer
    from kd_sweep.tables.reader import open_results
    from kd_sweep.tables.writer import StudyWriter

    results = open_results(folder)
    means = "SELECT epoch, augmentation_strength, avg(val_accuracy) AS mean FROM epochs GROUP BY ALL"
    best = answer(results, "leaderboard")["objective"].to_pylist()[:10]
    found = {(row["epoch"], row["augmentation_strength"]): row["mean"] for row in results.sql(means).to_pylist()}
    command = [sys.executable, "-m", "kd_sweep", "query", str(folder), "trend", "--format", "csv"]
    figures = answers_of(best, found, (num_trials, num_epochs)) | {
        "leaderboard_s": seconds(lambda: answer(results, "leaderboard")),
        "means_s": seconds(lambda: results.sql(means)),
        "trend_s": seconds(lambda: answer(results, "trend")),
        "command_s": seconds(lambda: subprocess.run(command, check=True, capture_output=True)),
        "one_trial_s": seconds(lambda: results.sql("SELECT * FROM epochs WHERE trial_id = '9e3779b97f4a7c15'")),
    }
    began = time.perf_counter()
    writer = StudyWriter(Root.open(folder), "study")
    assert len(writer.last_epochs) == num_trials
    return figures | {"reopen_s": time.perf_counter() - began, "read_peak_mb": peak_mb()}


def write_optuna(folder: Path, num_trials: int, num_epochs: int) -> dict[str, Any]:
    """As a live study does: every value reported to the storage when it comes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{folder}/study.db", study_name="study", direction="maximize")
    began = time.perf_counter()
    for index in range(num_trials):
        trial = study.ask()
        trial.set_user_attr("augmentation_strength", strength_of(index))
        value = 0.0
        for epoch in range(1, num_epochs + 1):
            value = metrics_of(index, epoch)["val_accuracy"]
            trial.report(value, epoch)
        study.tell(trial, value)
    spent_s = time.perf_counter() - began
    num_files, num_bytes = files_and_bytes(folder)
    rows = num_trials * num_epochs
    figures = {"rows_per_s": rows / spent_s, "num_files": num_files, "bytes_per_row": num_bytes / rows}
    return figures | {"peak_mb": peak_mb()}


def read_optuna(folder: Path, num_trials: int, num_epochs: int) -> dict[str, Any]:
    import optuna

    def trials() -> list[Any]:
        study = optuna.load_study(storage=f"sqlite:///{folder}/study.db", study_name="study")
        return study.get_trials(deepcopy=False)

    def leaderboard() -> list[Any]:
        return sorted(trials(), key=lambda trial: trial.value, reverse=True)[:10]

    def means() -> dict[tuple[int, float], float]:
        values: dict[tuple[int, float], list[float]] = {}
        for trial in trials():
            for epoch, value in trial.intermediate_values.items():
                values.setdefault((epoch, trial.user_attrs["augmentation_strength"]), []).append(value)
        return {key: statistics.fmean(found) for key, found in values.items()}

    figures = answers_of([trial.value for trial in leaderboard()], means(), (num_trials, num_epochs))
    return figures | {"leaderboard_s": seconds(leaderboard), "means_s": seconds(means), "read_peak_mb": peak_mb()}


def write_tune(folder: Path, num_trials: int, num_epochs: int) -> dict[str, Any]:
    """As a sweep does: trials that report, on as many slots as there are cores, actors reused."""
    import logging

    import ray
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        for epoch in range(1, num_epochs + 1):
            tune.report(metrics_of(config["index"], epoch))

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    space = {"index": tune.grid_search(list(range(num_trials)))}
    tuner = tune.Tuner(
        trainable,
        param_space=space | {"augmentation_strength": tune.sample_from(lambda c: strength_of(c["index"]))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(name="study", storage_path=str(folder), verbose=0),
    )
    began = time.perf_counter()
    tuner.fit()
    spent_s = time.perf_counter() - began
    ray.shutdown()
    num_files, num_bytes = files_and_bytes(folder)
    rows = num_trials * num_epochs
    figures = {"rows_per_s": rows / spent_s, "num_files": num_files, "bytes_per_row": num_bytes / rows}
    return figures | {"peak_mb": peak_mb()}


def read_tune(folder: Path, num_trials: int, num_epochs: int) -> dict[str, Any]:
    import pandas
    from ray.tune import ExperimentAnalysis, ResultGrid

    def grid() -> ResultGrid:
        return ResultGrid(ExperimentAnalysis(str(folder / "study")))

    def leaderboard() -> Any:
        return grid().get_dataframe().nlargest(10, "val_accuracy")

    def means() -> Any:
        frames = [result.metrics_dataframe for result in grid()]
        groups = ["training_iteration", "config/augmentation_strength"]
        return pandas.concat(frames).groupby(groups)["val_accuracy"].mean()

    figures = answers_of(list(leaderboard()["val_accuracy"]), means().to_dict(), (num_trials, num_epochs))
    return figures | {"leaderboard_s": seconds(leaderboard), "means_s": seconds(means), "read_peak_mb": peak_mb()}


STORES = {
    "kd_sweep": (write_kd_sweep, read_kd_sweep),
    "Optuna, SQLite": (write_optuna, read_optuna),
    "Tune, ResultGrid": (write_tune, read_tune),
}


def in_process(store: str, side: int, folder: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Run one side of a store in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--part", store, str(side), str(folder), *map(str, size)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{store} failed: {done.stderr[-2_000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(store: str, size: tuple[int, int]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kd-sweep-bench-") as folder:
        written = in_process(store, 0, Path(folder), size)
        return written | in_process(store, 1, Path(folder), size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=FULL[0], help="of the full size")
    parser.add_argument("--epochs", type=int, default=FULL[1], help="of the full size")
    parser.add_argument("--part", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        store, side, folder, *size = arguments.part
        print(json.dumps(STORES[store][int(side)](Path(folder), *map(int, size))))
        return

    from rich.console import Console
    from rich.table import Table

    columns = ["store", "trials x epochs", "rows/s", "files", "bytes/row", "RSS MB", "leaderboard s", "means s"]
    table = Table(*columns, "trend s", title="Results store: writing, size, and its questions")
    full = (arguments.trials, arguments.epochs)
    runs = [("kd_sweep", full), *((store, SMALL) for store in STORES)]
    measured = [(store, size, measure(store, size)) for store, size in runs]
    answers = [m["answers"] for _, size, m in measured if size == SMALL]
    if any(other != answers[-1] for other in answers):
        raise RuntimeError("the stores do not answer alike")
    for store, size, m in measured:
        figures = [f"{m['rows_per_s']:,.0f}", str(m["num_files"]), f"{m['bytes_per_row']:.0f}", f"{m['peak_mb']:.0f}"]
        answered = [f"{m[name]:.3f}" if name in m else "-" for name in ("leaderboard_s", "means_s", "trend_s")]
        table.add_row(store, f"{size[0]:,} x {size[1]}", *figures, *answered)
    console = Console(width=120)
    console.print(table)
    m = measured[0][2]
    console.print(
        f"kd_sweep at {full[0]:,} x {full[1]}: at most {m['most_files']} files while writing, slowest flush with its "
        f"merges {m['slowest_flush_s']:.2f} s, peak memory of the writer {m['half_mb']:.0f} MB up to half of the "
        f"trials and {m['peak_mb']:.0f} MB in all, of a reader and a new driver {m['read_peak_mb']:.0f} MB; the whole "
        f"command `kd-sweep query ROOT trend` {m['command_s']:.2f} s, one trial's epochs {m['one_trial_s']:.3f} s, a "
        f"new driver is ready after {m['reopen_s']:.1f} s.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
