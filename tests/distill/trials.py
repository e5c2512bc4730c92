"""Trials that take a fraction of a second per epoch, in this process or one of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_sweep.distill.trial import trial_epochs
from kd_sweep.study.metric_catalogue import LIST_METRICS, REPORTED_METRICS
from kd_sweep.study.recipe import Data, Learner
from kd_sweep.study.trial import TrialConfig
from tests.warm_python import WarmProcess

REPOSITORY = Path(__file__).resolve().parents[2]
Row = dict[str, Any]
DIVERGES: Row = {"learning_rate": 100.0, "weight_decay": 10.0, "warmup_epochs": 0.0, "batch_size": 4}
"""Weights grow a thousandfold with every step."""


def tiny_trial(
    *,
    teacher: Row | None = None,
    student: Row | None = None,
    augmentation_strength: float = 0.5,
    ensemble_size: int = 1,
    **fields: Any,
) -> TrialConfig:
    """Return a trial on 200 digits of 8 x 8 pixels, with teachers and student at one strength."""
    learner = Learner(model="resnet8", width=4)  # a width is of such networks alone
    return TrialConfig(
        data=Data(image_size=8, max_train_images=200, max_val_images=100),
        teacher=learner.changed({"epochs": 2, **(teacher or {})}),
        student=learner.changed({"epochs": 3, **(student or {})}),
        teacher_strengths=(augmentation_strength,) * ensemble_size,
        student_strength=augmentation_strength,
        **fields,
    )


def run(config: TrialConfig, root: Path, checkpoint_dir: Path | None = None, **options: Any) -> list[Row]:
    """Return the rows of ``config`` on one thread of the CPU."""
    options = {"device": "cpu", "num_threads": 1, **options}
    return list(trial_epochs(config, root=root, checkpoint_dir=checkpoint_dir, **options))


def metrics_of(rows: list[Row]) -> list[Row]:
    """Return ``rows`` without times."""
    return [{name: row[name] for name in ("epoch", "learning_rate", *REPORTED_METRICS, *LIST_METRICS)} for row in rows]


def fork_python(program: str, *arguments: str) -> WarmProcess:
    """Run ``program`` in a process of its own that has loaded what trains, but nothing of an earlier test."""
    given = f"import sys\nsys.argv[1:] = {arguments!r}\n"
    return WarmProcess(given + program, {**os.environ, "CUDA_VISIBLE_DEVICES": ""})


def start_python(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``program`` in a process of its own with the repository on its path."""
    own = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**own, **(environment or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
