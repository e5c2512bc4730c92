"""A plug-in with an entry of each kind, and studies that select them all.

The stopping rule is in a module of its own: a study that has begun does not go on with another source of its rule, and
an entry's source is its whole file.
"""

LEARNING = """
import kd_sweep
import numpy as np
from pydantic import Field
from torch import nn


class Noise(kd_sweep.Parameters):
    noise: float = Field(0.4, ge=0, le=1)


class Width(kd_sweep.Parameters):
    channels: int = Field(8, ge=1)


class Margin(kd_sweep.Parameters):
    margin: float = Field(0.5, ge=0)
    power: int = Field(2, ge=1)


@kd_sweep.dataset("stripes", parameters=Noise, image_size=8)
def stripes(parameters):
    labels = np.arange(240) % 3
    across = np.tile(np.arange(8) % 4 < 2, (8, 1))
    noise = np.random.default_rng(0).random((240, 8, 8)) * parameters.noise
    return kd_sweep.Arrays(np.stack([across, across.T, np.eye(8)])[labels] * (1 - parameters.noise) + noise, labels)


@kd_sweep.network("tiny", parameters=Width)
class Tiny(nn.Module):
    def __init__(self, num_classes, channels, image_size, parameters):
        super().__init__()
        width = parameters.channels
        self.features = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images_BDHW):
        return self.classifier(self.features(images_BDHW).mean((2, 3)))


@kd_sweep.loss("margin", parameters=Margin)
def margin(inputs, parameters):
    distance_MBC = (inputs.student_logits_BC - inputs.teacher_logits_MBC).abs() - parameters.margin
    loss_M = (distance_MBC.clamp(min=0) ** parameters.power).mean((1, 2))
    return (inputs.shares_M * loss_M).sum()


@kd_sweep.pipeline("dimmed", num_draws=1)
def dimmed(inputs, parameters):
    return inputs.images_BDHW * (1 - inputs.strength * inputs.draws_BP[:, 0])[:, None, None, None]


@kd_sweep.attention_map("brightness")
def brightness(model, images_BDHW, parameters):
    return model(images_BDHW), images_BDHW.mean(1)


@kd_sweep.metric("confidence", meaning="Mean top-1 probability on `val`.", low=0, high=1, better="max")
def confidence(outputs, parameters):
    return float(outputs.student_logits_VC.softmax(1).amax(1).mean())
"""

SEARCH = """
import kd_sweep


class Gap(kd_sweep.Parameters):
    gap: float = 0.3


@kd_sweep.stopping_rule("far_behind", parameters=Gap)
class FarBehind:
    def __init__(self, parameters, longest):
        self.gap = parameters.gap

    def stops(self, history, trial_id):
        scores = history.at_epoch(history.last_epoch(trial_id))
        return scores[trial_id][0] < max(score[0] for score in scores.values()) - self.gap


@kd_sweep.sampler("modelled")
def modelled(parameters, request):
    import optuna
    return optuna.samplers.TPESampler(seed=request.seed, n_startup_trials=2, multivariate=True)
"""

MODULES = {"mykd/__init__": "", "mykd/learning": LEARNING, "mykd/search": SEARCH}


def study(name: str, search: str, *, num_points: int, epochs: int = 3, channels: int = 8) -> str:
    """Return a study that selects an entry of each kind.

    Args:
        name: of the study.
        search: its sections `search` and, where wanted, `seeds`.
        num_points: of the search, all of which are suggested.
        epochs: of each student.
        channels: of each student.
    """
    return f"""
name: {name}
plugins: [mykd.learning, mykd.search]
data: {{name: "mykd:stripes", noise: 0.5, image_size: 32}}
augmentation: {{pipeline: "mykd:dimmed"}}
teacher: {{model: "mykd:tiny", channels: 6, epochs: 2}}
student: {{model: "mykd:tiny", channels: {channels}, epochs: {epochs}}}
distillation: {{loss: "mykd:margin", margin: 0.2}}
metrics: {{attention: "mykd:brightness", extra: [{{name: "mykd:confidence"}}]}}
scheduler: {{name: "mykd:far_behind", gap: 0.9}}
objectives: [{{metric: mykd_confidence}}]
sampler: {{name: "mykd:modelled", num_trials: {num_points}}}
{search}
"""


STUDY = study(
    "own",
    "search: {augmentation_strength: {grid: [0.0, 0.5]}, distillation.power: {grid: [1, 2]}}",
    num_points=4,
)
