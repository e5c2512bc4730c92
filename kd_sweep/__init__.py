"""Distributed hyperparameter sweeps for ensemble knowledge distillation.

What is public is listed here, and nowhere else: `docs/python.md` describes it. Importing the package loads none of it.
"""

from typing import TYPE_CHECKING, Any

from kd_sweep.version import __version__

if TYPE_CHECKING:
    from kd_sweep import errors as errors
    from kd_sweep.api.single_trial import run_trial as run_trial
    from kd_sweep.api.study import Study as Study
    from kd_sweep.augmentation.pipeline_inputs import PipelineInputs as PipelineInputs
    from kd_sweep.catalogue.decorators import attention_map as attention_map
    from kd_sweep.catalogue.decorators import dataset as dataset
    from kd_sweep.catalogue.decorators import loss as loss
    from kd_sweep.catalogue.decorators import metric as metric
    from kd_sweep.catalogue.decorators import network as network
    from kd_sweep.catalogue.decorators import pipeline as pipeline
    from kd_sweep.catalogue.decorators import sampler as sampler
    from kd_sweep.catalogue.decorators import stopping_rule as stopping_rule
    from kd_sweep.catalogue.parameters import Parameters as Parameters
    from kd_sweep.client.remote_results import RemoteResults as RemoteResults
    from kd_sweep.client.remote_results import connect as connect
    from kd_sweep.client.remote_study import RemoteStudy as RemoteStudy
    from kd_sweep.data.arrays import Arrays as Arrays
    from kd_sweep.distill.loss_inputs import LossInputs as LossInputs
    from kd_sweep.driver import events as events
    from kd_sweep.driver.converge import Outcome as Outcome
    from kd_sweep.driver.estimate import Estimate as Estimate
    from kd_sweep.driver.estimate import StudyPlan as StudyPlan
    from kd_sweep.driver.launch import resume as resume
    from kd_sweep.driver.stopping.history import History as History
    from kd_sweep.driver.tune.sampler_request import SamplerRequest as SamplerRequest
    from kd_sweep.handles.attention_results import AttentionResults as AttentionResults
    from kd_sweep.handles.preprocessing import Preprocessing as Preprocessing
    from kd_sweep.handles.root_results import RootResults as RootResults
    from kd_sweep.handles.root_results import open_results as open_results
    from kd_sweep.handles.study_results import StudyResults as StudyResults
    from kd_sweep.handles.trial_results import TrialResults as TrialResults
    from kd_sweep.metrics.epoch_outputs import EpochOutputs as EpochOutputs
    from kd_sweep.networks.classifier_interface import Classifier as Classifier
    from kd_sweep.study.scheduler import OneMetricParameters as OneMetricParameters
    from kd_sweep.tables.comparison import StudyComparison as StudyComparison
    from kd_sweep.tables.comparison import TrialComparison as TrialComparison
    from kd_sweep.tables.reader import Results as Results

_HOMES = {
    "Arrays": "kd_sweep.data.arrays:Arrays",
    "AttentionResults": "kd_sweep.handles.attention_results:AttentionResults",
    "Classifier": "kd_sweep.networks.classifier_interface:Classifier",
    "EpochOutputs": "kd_sweep.metrics.epoch_outputs:EpochOutputs",
    "Estimate": "kd_sweep.driver.estimate:Estimate",
    "History": "kd_sweep.driver.stopping.history:History",
    "LossInputs": "kd_sweep.distill.loss_inputs:LossInputs",
    "OneMetricParameters": "kd_sweep.study.scheduler:OneMetricParameters",
    "Outcome": "kd_sweep.driver.converge:Outcome",
    "Parameters": "kd_sweep.catalogue.parameters:Parameters",
    "PipelineInputs": "kd_sweep.augmentation.pipeline_inputs:PipelineInputs",
    "Preprocessing": "kd_sweep.handles.preprocessing:Preprocessing",
    "RemoteResults": "kd_sweep.client.remote_results:RemoteResults",
    "RemoteStudy": "kd_sweep.client.remote_study:RemoteStudy",
    "Results": "kd_sweep.tables.reader:Results",
    "RootResults": "kd_sweep.handles.root_results:RootResults",
    "SamplerRequest": "kd_sweep.driver.tune.sampler_request:SamplerRequest",
    "Study": "kd_sweep.api.study:Study",
    "StudyComparison": "kd_sweep.tables.comparison:StudyComparison",
    "StudyPlan": "kd_sweep.driver.estimate:StudyPlan",
    "StudyResults": "kd_sweep.handles.study_results:StudyResults",
    "TrialComparison": "kd_sweep.tables.comparison:TrialComparison",
    "TrialResults": "kd_sweep.handles.trial_results:TrialResults",
    "attention_map": "kd_sweep.catalogue.decorators:attention_map",
    "connect": "kd_sweep.client.remote_results:connect",
    "dataset": "kd_sweep.catalogue.decorators:dataset",
    "errors": "kd_sweep.errors:",
    "events": "kd_sweep.driver.events:",
    "loss": "kd_sweep.catalogue.decorators:loss",
    "network": "kd_sweep.catalogue.decorators:network",
    "metric": "kd_sweep.catalogue.decorators:metric",
    "open_results": "kd_sweep.handles.root_results:open_results",
    "pipeline": "kd_sweep.catalogue.decorators:pipeline",
    "resume": "kd_sweep.driver.launch:resume",
    "run_trial": "kd_sweep.api.single_trial:run_trial",
    "sampler": "kd_sweep.catalogue.decorators:sampler",
    "stopping_rule": "kd_sweep.catalogue.decorators:stopping_rule",
}
"""The module of each public name, and its name there; a module is public as a whole."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kd_sweep' has no attribute {name!r}; public: {', '.join(sorted(_HOMES))}")
    from importlib import import_module

    module, _, inner = _HOMES[name].partition(":")
    value = getattr(import_module(module), inner) if inner else import_module(module)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
