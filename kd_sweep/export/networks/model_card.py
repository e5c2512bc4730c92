"""The model card of an exported network: what it is, how it is loaded, its metrics with intervals, its limits."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_sweep.export.finished_study import FinishedTrial
from kd_sweep.export.request import STUDENT, Request
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Bootstrap
from kd_sweep.statistics.resolution import resolutions
from kd_sweep.statistics.shapes import least_std
from kd_sweep.study.file.yaml_writer import yaml_text
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.recipe import RANDOM_WEIGHTS
from kd_sweep.tables.schema import FINISHED

if TYPE_CHECKING:
    from kd_sweep.export.networks.trained_network import TrainedNetwork

_LEFT_OUT = ("_at_", "_chance", "_shuffled", "_rethinkkd")
"""In names of metrics: variants of others."""
_BY_TIMM = """```python
import timm

network = timm.create_model("local-dir:THIS_FOLDER", pretrained=True).eval()  # on the Hub: "hf-hub:OWNER/NAME"
```

`load.py` loads it without its configuration of timm, and has the preprocessing:
"""
_BY_LOADER = """```python
from load import load, preprocess  # load.py of this folder

network = load()
logits = network(preprocess(image))  # an image of Pillow, of 8 bits per channel
```
"""


def model_card(request: Request, network: "TrainedNetwork", *, of_timm: bool) -> str:
    """Return the card as Markdown, with the metadata that the Hub reads.

    Args:
        request: its study has the trials of other seeds.
        network: which.
        of_timm: whether timm builds it by its name.
    """
    rows = _metric_rows(request, network)
    accuracy = next((row for row in rows if row[0] == "val_accuracy"), None)
    origin = network.origin
    what = "student" if network.name == STUDENT else f"teacher {network.name.removeprefix('teacher-')}"
    lines = [
        f"# {network.learner.model}, {what} of trial {network.trial.trial_id}",
        "",
        f"The {what} of a trial of ensemble knowledge distillation: study `{origin['study']}`, trial "
        f"`{origin['trial']}`" + (f", after epoch {network.epoch}." if network.epoch else "."),
        "",
        "## Use",
        "",
        (_BY_TIMM if of_timm else "") + _BY_LOADER,
        *_preprocessing(network.preprocessing),
        "## How it was trained",
        "",
        *_settings(network),
        "",
        "## Metrics",
        "",
        *_table(rows, network),
        "",
        "## Limits",
        "",
        f"The licence of the images (`{origin['dataset']}`) is not known to kd_sweep, nor what they allow of a network "
        "that was trained on them: ask where they come from. The metrics are of validation images of the same source.",
    ]
    metadata = _metadata(network, accuracy[1] if accuracy else None, of_timm=of_timm)
    return "\n".join([*metadata, *lines]) + "\n"


def _preprocessing(data: dict[str, Any]) -> list[str]:
    size = f"{data['channels']} x {data['image_size']} x {data['image_size']}"
    return [
        "## Preprocessing",
        "",
        f"An image becomes {size} float32: {data['crop']}, resized ({data['resize']}); {data['scale']}, less the mean "
        f"{_numbers(data['mean'])}, divided by {_numbers(data['std'])}, a number for each channel.",
        "",
        f"Classes, in the order of the logits: {', '.join(data['class_names'])}.",
        "",
    ]


def _metadata(network: "TrainedNetwork", accuracy: float | None, *, of_timm: bool) -> list[str]:
    name = f"{network.learner.model}-{network.trial.trial_id}"
    told: dict[str, Any] = {
        "license": "unknown",
        "library_name": "timm" if of_timm else "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "knowledge-distillation", "kd-sweep"],
    }
    if accuracy is not None:
        task = {"type": "image-classification"}
        dataset = {"name": network.config.data.name, "type": network.config.data.name, "split": "validation"}
        metric = {"type": "accuracy", "value": accuracy}
        told["model-index"] = [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": [metric]}]}]
    return ["---", yaml_text(told).rstrip(), "---", ""]


def _settings(network: "TrainedNetwork") -> list[str]:
    config, learner = network.config, network.learner
    strengths = ", ".join(f"{strength:g}" for strength in config.teacher_strengths)
    control, view = config.distillation.teacher_control, config.distillation.teacher_view
    is_trained = network.name == STUDENT or control != RANDOM_WEIGHTS
    trained = (
        f"{learner.epochs} epochs, batches of {learner.batch_size}" if is_trained else "random weights, not trained"
    )
    return [
        f"- seed {config.seed}, {trained}",
        f"- augmentation `{config.augmentation.pipeline}`: teachers at strength {strengths}, student at "
        f"{config.student_strength:g}",
        f"- teachers: {', '.join(config.teacher_models)}; loss `{config.distillation.loss}`; control `{control}`; view "
        f"`{view}`",
    ]


def _metric_rows(request: Request, network: "TrainedNetwork") -> list[tuple[str, float, str]]:
    """Return name, value and interval of each metric of the network."""
    if network.name != STUDENT:
        wanted = network.config.teachers[int(network.name.removeprefix("teacher-")) - 1].teacher_id
        rows = [row for row in request.study.results.table("teachers").to_pylist() if row["teacher_id"] == wanted]
        of_teachers = ("val_accuracy", "train_accuracy")
        return [(name, rows[0][name], "") for name in of_teachers if rows and rows[0][name] is not None]
    trials = [trial for trial in request.study.trials if trial.status in FINISHED]
    this = next((trial for trial in trials if trial.trial_id == network.trial.trial_id), None)
    metrics = this.metrics if this else {}
    names = [name for name in REPORTED_METRICS if name in metrics and not any(part in name for part in _LEFT_OUT)]
    names += [name for name in metrics if name not in REPORTED_METRICS]
    alike = [trial for trial in trials if this and _point(trial) == _point(this)]
    steps = resolutions([trial.metrics for trial in trials], names)
    return [(name, metrics[name], _interval(name, alike, steps[name])) for name in names]


def _interval(name: str, trials: list[FinishedTrial], step: float) -> str:
    values = np.array([trial.metrics[name] for trial in trials if name in trial.metrics])
    if len(values) < MIN_CLUSTERS:
        return f"{len(values)} seed{'s' * (len(values) > 1)}: none"
    estimate = Bootstrap().estimate(values, least_std(np.ones(1), step))
    if estimate.interval is None:
        return f"{estimate.value:.4f}, {len(values)} seeds do not differ"
    low, high = estimate.interval.low, estimate.interval.high
    return f"{estimate.value:.4f} [{low:.4f}, {high:.4f}], {len(values)} seeds"


def _point(trial: FinishedTrial) -> dict[str, Any]:
    return {name: value for name, value in trial.settings.items() if name != "seed"}


def _table(rows: list[tuple[str, float, str]], network: "TrainedNetwork") -> list[str]:
    if network.name != STUDENT:
        return ["| metric | value |", "| --- | --- |", *(f"| `{name}` | {value:.4f} |" for name, value, _ in rows)]
    return [
        "Shares are fractions. The last column is the mean over the seeds of the same setting, with a 95 % interval of "
        "the bootstrap over seeds.",
        "",
        "| metric | this network | mean over seeds |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {value:.4f} | {interval} |" for name, value, interval in rows if math.isfinite(value)),
    ]


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
