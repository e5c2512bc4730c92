"""Seconds that a trial costs beyond its training, against the same trainable under Ray Tune's defaults.

The trial is a real `kd_sweep` trial, as short as one can be: two epochs of a tiny network on 64 digits, with one
teacher that all trials share. Both sides run the same trials on as many slots as there are cores. Counted is the time
between the first and the last trial's end, so that neither side pays for starting Ray; the epochs' own time
(`epoch_s`) is taken off both.

Run: python benchmarks/runner_overhead.py
"""

import contextlib
import io
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}

import ray
from ray import tune
from rich.console import Console
from rich.table import Table

from kd_sweep.distill.teachers import ensure_teacher
from kd_sweep.driver.launch import launch
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.reader import open_results

STUDY = """
name: overhead
data: {name: digits, image_size: 8, max_train_images: 64, max_val_images: 20}
teacher: {model: resnet8, width: 1, epochs: 1}
student: {model: resnet8, width: 1, epochs: 2}
search: {distillation.temperature: {uniform: [1, 10]}}
sampler: {name: random, num_trials: NUM_TRIALS}
"""
SLOTS = os.cpu_count() or 1


def overhead_s(finished_s: list[float], training_s: float) -> float:
    """Return wall seconds per trial beyond training.

    Args:
        finished_s: when each trial ended.
        training_s: mean seconds of training in a trial.
    """
    per_trial = (max(finished_s) - min(finished_s)) / (len(finished_s) - 1)
    return per_trial - training_s / SLOTS


def ours(root: Path, num_trials: int) -> float:
    """Return the overhead of `kd_sweep`."""
    spec = parse_spec(STUDY.replace("NUM_TRIALS", str(num_trials)), "benchmark")
    with contextlib.redirect_stderr(io.StringIO()):
        launch(spec, root)
    trials = open_results(root).table("trials").to_pylist()
    assert all(trial["status"] == "completed" for trial in trials)
    finished = [trial["finished_at"].timestamp() for trial in trials]
    return overhead_s(finished, sum(trial["train_s"] for trial in trials) / len(trials))


def tunes(root: Path, num_trials: int, **options: Any) -> float:
    """Return the overhead of Tune running the same trials, with these further settings."""
    spec = parse_spec(STUDY.replace("NUM_TRIALS", str(num_trials)), "benchmark")
    trials = [trial.config.model_dump_json() for trial in planned_trials(spec)]
    ensure_teacher(planned_trials(spec)[0].config.teachers[0], root, device="cpu", num_threads=1)

    def tune_function(config: dict[str, str]) -> None:
        from kd_sweep.distill.trial import trial_epochs

        trial = TrialConfig.model_validate_json(config["trial"])
        folder = Path(config["root"]) / "tune" / trial.trial_id
        for row in trial_epochs(trial, root=Path(config["root"]), checkpoint_dir=folder, device="cpu", num_threads=1):
            tune.report(row)

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
        grid = tune.Tuner(
            tune_function,
            param_space={"trial": tune.grid_search(trials), "root": str(root)},
            run_config=tune.RunConfig(storage_path=str(root / "ray_results")),
            tune_config=tune.TuneConfig(**options),
        ).fit()
        ray.shutdown()
    assert not grid.errors
    results = [result.metrics_dataframe for result in grid]
    training = sum(frame["epoch_s"].sum() for frame in results if frame is not None) / len(trials)
    return overhead_s([frame["timestamp"].max() for frame in results if frame is not None], training)


def apart(measure: Callable[..., float], *arguments: Any, **options: Any) -> float:
    """Measure in a process of its own, so that no side inherits the other's Ray."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments, **options).result()


def main() -> None:
    """Measure both sides in turn and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mine = apart(ours, root / "ours", 80)
        defaults = apart(tunes, root / "tune", 12)
        reused = apart(tunes, root / "reuse", 40, reuse_actors=True)
    table = Table(title=f"runner overhead, {SLOTS} slots")
    for heading in ("runner", "s per trial beyond training", "ours / theirs"):
        table.add_column(heading, justify="left" if heading == "runner" else "right")
    table.add_row("kd_sweep", f"{mine:.3f}", "")
    table.add_row("Ray Tune, defaults", f"{defaults:.3f}", f"{mine / defaults:.3f}")
    table.add_row("Ray Tune, reuse_actors=True", f"{reused:.3f}", f"{mine / reused:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
