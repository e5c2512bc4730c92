"""A study as offline runs of Weights & Biases, a folder for each trial, which `wandb sync` uploads."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_sweep.export.export_paths import write_file
from kd_sweep.export.finished_study import Curves, FinishedTrial
from kd_sweep.export.histories import Histories, begin_histories
from kd_sweep.export.request import Request, Written
from kd_sweep.export.silenced import without_reports
from kd_sweep.storage.local_files import TEMPORARY_SUFFIX

VERSION_FILE = "kd-sweep-trial.json"
"""In a run's folder: which state of the trial it holds."""


def write_runs(request: Request) -> Written:
    """Write a run for each finished trial that has none yet, or was run again since; others are left as they are."""
    study, out = request.study, request.out
    histories, changed = begin_histories(request)
    missing = {one.trial_id for one in study.trials if not _is_there(out / _folder(one), histories.version_of(one))}
    if missing:
        staging = Path(tempfile.mkdtemp(prefix=".", suffix=TEMPORARY_SUFFIX, dir=out))
        try:
            with without_reports():
                _write(study.curves(missing, histories), histories, study.name, staging, out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return Written(changed or bool(missing), histories.words(study))


def _write(
    trials: Iterator[tuple[FinishedTrial, Curves]], histories: Histories, project: str, staging: Path, out: Path
) -> None:
    """Let wandb write each run aside, and move it to its place when it is whole."""
    import wandb

    own = wandb.run is None
    for trial, curves in trials:
        _log(trial, curves, project, staging)
        (written,) = staging.glob(f"wandb/offline-run-*-{trial.trial_id}/*.wandb")
        whole = staging / trial.trial_id
        whole.mkdir()
        written.rename(whole / written.name)
        write_file(whole / VERSION_FILE, json.dumps({"version": histories.version_of(trial)}).encode() + b"\n")
        shutil.rmtree(written.parent)  # logs of how it was written
        place = out / _folder(trial)
        if place.exists():
            shutil.rmtree(place)
        whole.rename(place)
    if own:
        wandb.teardown()


def _log(trial: FinishedTrial, curves: Curves, project: str, folder: Path) -> None:
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        project=project,
        id=trial.trial_id,
        name=trial.trial_id,
        dir=str(folder),
        mode="offline",
        config=trial.settings | {"kd_sweep": _about(trial)},
        tags=[trial.status],
        reinit="create_new",  # a run that somebody has open in this process goes on
        settings=settings,
    )
    times = zip(curves.epochs.tolist(), curves.finished_at_s.tolist(), strict=True)
    for index, (epoch, time_s) in enumerate(times):
        reported = {name: float(values[index]) for name, values in curves.values.items()}
        has_value = {name: value for name, value in reported.items() if value == value}  # not NaN
        run.log(has_value | {"_timestamp": time_s}, step=epoch)
    run.finish(exit_code=int(trial.status == "failed"))


def _about(trial: FinishedTrial) -> dict[str, Any]:
    times = {"started_at": trial.started_at.isoformat(), "finished_at": trial.finished_at.isoformat()}
    return trial.facts | times


def _folder(trial: FinishedTrial) -> str:
    """Return the name of a run's folder, as wandb itself would have named it when the trial began."""
    return f"offline-run-{trial.started_at:%Y%m%d_%H%M%S}-{trial.trial_id}"


def _is_there(folder: Path, version: str) -> bool:
    try:
        told = json.loads((folder / VERSION_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("version") == version
