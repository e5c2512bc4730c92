"""Searches by every sampler, with spaces and outcomes, for tests of what a resume changes."""

import json
from typing import Any

import optuna

from kd_sweep.catalogue.decorators import sampler as register_sampler
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.driver.tune.sampler_request import SamplerRequest
from kd_sweep.driver.worker_messages import WorkerSettings
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig

SETTINGS = WorkerSettings(root="r", study="s", device="cpu", num_threads=1)

Values = tuple[float, ...] | None

CONTINUOUS = {
    "augmentation_strength": {"uniform": [0, 1]},
    "distillation.alpha": {"uniform": [0.1, 0.95], "step": 0.07},
    "student.learning_rate": {"uniform": [1e-3, 1], "log": True},
}
SMALL = {
    "augmentation_strength": {"grid": [0, 0.25, 0.5, 0.75, 1]},
    "ensemble_size": {"int": [1, 4]},
    "distillation.loss": {"choice": ["kl", "dkd", "none"]},
}
CONDITIONAL = CONTINUOUS | {
    "distillation.loss": {"choice": ["kl", "dkd"]},
    "distillation.non_target_class_weight": {"uniform": [1, 10], "when": {"distillation.loss": "dkd"}},
    "distillation.target_class_weight": {
        "uniform": [0.5, 2],
        "when": {"distillation.loss": "dkd", "distillation.ensemble_reducer": "probabilities"},
    },
    "distillation.ensemble_reducer": {"choice": ["teachers", "probabilities"], "when": {"distillation.loss": "dkd"}},
    "ensemble_size": {"int": [2, 3]},
}
NUM_TRIALS = 24
ONE = [{"metric": "val_accuracy", "mode": "max"}]
TWO = [*ONE, {"metric": "ece", "mode": "min"}]
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {"name": "tpe", "num_startup_trials": 8},
    "nsga2": {"name": "nsga2", "population_size": 7},
    "nsga3": {"name": "nsga3", "population_size": 7},
    "gp": {"name": "gp", "num_startup_trials": 8},
    "cmaes": {"name": "cmaes"},
    "qmc": {"name": "qmc"},
    "tests:joint": {"num_startup_trials": 8},
    "tests:genetic": {},
}
OF_ONE_OBJECTIVE = "cmaes"
FINITE = ("grid", "random")
NUM_SEEDS = 20
SLOW_TO_FIT = "gp"


class Startup(Parameters):
    """Of a plug-in's sampler."""

    num_startup_trials: int = 10


def joint(parameters: Any, request: SamplerRequest) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(
        seed=request.seed, n_startup_trials=parameters.num_startup_trials, multivariate=True, group=True
    )


def genetic(parameters: Any, request: SamplerRequest) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=request.seed, population_size=7)


def register_plugin() -> None:
    """Register the samplers of a plug-in that are among `SAMPLERS`, as this test's own."""
    register_sampler("joint", parameters=Startup)(joint)
    register_sampler("genetic", generation_key="NSGAIISampler:generation")(genetic)


def study(sampler: str, search: dict[str, Any], objectives: list[dict[str, str]], seed: int = 0) -> StudySpec:
    dimensions = {name: dimension for name, dimension in search.items() if name != "seeds"}
    content = {"name": "s", "search": dimensions, "objectives": objectives, "seeds": search.get("seeds")}
    return parse_spec(
        json.dumps(content | {"sampler": SAMPLERS.get(sampler, {}) | {"name": sampler, "seed": seed}}), "s"
    )


def accuracy_and_error(trial: TrialConfig) -> tuple[float, float]:
    """Two smooth functions of every field that is searched here, with different optima."""
    size = trial.ensemble_size / 4 + 0.1 * len(trial.distillation.loss)
    rate = trial.student.learning_rate
    first = (trial.student_strength - 0.6) ** 2 + (trial.distillation.alpha - 0.3) ** 2 + (size - 0.9) ** 2
    luck = 0.05 * trial.seed * (trial.student_strength - 0.5)
    return 1 - first - 0.1 * abs(rate - 0.1) + luck, (trial.student_strength - 0.1) ** 2 + size * rate


def outcome(trial: TrialConfig, num_objectives: int) -> Values:
    """Return a trial's objectives; every ninth fails, whenever it is run."""
    return None if int(trial.trial_id, 16) % 9 == 0 else accuracy_and_error(trial)[:num_objectives]
