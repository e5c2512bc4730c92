"""The decorators that register entries, one for each kind."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import create_model

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import ATTENTION_MAP, DATASET, LOSS, METRIC, NETWORK, PIPELINE, SAMPLER, STOPPING_RULE
from kd_sweep.catalogue.parameters import NoParameters, Parameters, SamplerParameters
from kd_sweep.catalogue.traits import DatasetTraits, MetricTraits, PipelineTraits, SamplerTraits
from kd_sweep.errors import PluginError

T = TypeVar("T")


def loss(name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1") -> Callable[[T], T]:
    """Register what a student learns from its teachers, for `distillation.loss`.

    The function gets a `LossInputs` and the parameters, and returns a scalar tensor that depends on the student's
    logits. `distillation.alpha` weighs it against the cross-entropy with the labels.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: another one makes other trials.
    """
    return register(LOSS, name, parameters=parameters, version=version)


def network(name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1") -> Callable[[T], T]:
    """Register a network, for `teacher.model` and `student.model`.

    The function or class gets the number of classes C, the channels of the images, their height and width in pixels,
    and the parameters. It returns an untrained `nn.Module` with parameters, which gives logits (B, C) for float32
    images (B, channels, height, width), as well in training as in evaluation mode. Its random weights come from torch,
    whose state is a function of the trial's seed.

    Attention maps need a feature map. It is recognised where the last layer is an `nn.Linear` that reads the map's mean
    over its pixels. Other networks have the attributes of `Classifier` (`networks/classifier_interface.py`):
    `features`, `features_channels_last`, `classifier_weight` and `forward_with_features`.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: another one makes other teachers and trials.
    """
    return register(NETWORK, name, parameters=parameters, version=version)


def dataset(
    name: str,
    *,
    parameters: type[Parameters] = NoParameters,
    version: str = "1",
    image_size: int | None = None,
    horizontal_flip: bool = False,
) -> Callable[[T], T]:
    """Register a dataset, for `data.name`.

    The function gets the parameters and returns `Arrays`: images and labels in NumPy. It is called once in each process
    and has to return the same every time: a study's dataset is known by the digest of its images and labels, which is
    in the ids of trials in place of its parameters, its version and its source.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: for people.
        image_size: `data.image_size` where a study leaves it out; with None it has to say it.
        horizontal_flip: whether mirroring an image keeps its label.
    """
    traits = DatasetTraits(image_size=image_size, horizontal_flip=horizontal_flip)
    return register(DATASET, name, parameters=parameters, version=version, traits=traits)


def pipeline(
    name: str,
    *,
    num_draws: int | Callable[[Any], int],
    parameters: type[Parameters] = NoParameters,
    version: str = "1",
    clean_at_zero: bool = True,
) -> Callable[[T], T]:
    """Register what a strength does to images, for `augmentation.pipeline`.

    The function gets a `PipelineInputs` and the parameters, and returns images of the same shape, float32, on the same
    device, finite and in [0, 1] where they are to look like images; they are normalised afterwards. It has to be a
    pure function of its inputs: what is random comes from `PipelineInputs.draws_BP`, the strength scales it, and
    numbers that it draws by itself are an error.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        num_draws: random numbers for each image, or a function of the parameters that returns how many.
        parameters: their class.
        version: another one makes other trials.
        clean_at_zero: images at strength 0 are clean: the function is not called there. Otherwise it is, and what needs
            clean images, as affinity, has those of pipeline `strength`.
    """
    traits = PipelineTraits(num_draws, clean_at_zero)
    return register(PIPELINE, name, parameters=parameters, version=version, traits=traits)


def metric(
    name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1", **traits: Any
) -> Callable[[T], T]:
    """Register a metric that trials report after each epoch beside those that every trial has, for `metrics.extra`.

    The function gets an `EpochOutputs` (`metrics/epoch_outputs.py`) and the parameters. It returns a finite number in
    the range that it declares, or None where it declares that. Its column is `package_name`.

    Args:
        name: lower-case letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: another one makes other trials.
        traits: fields of `catalogue.traits.MetricTraits`; ``meaning`` is needed.
    """
    try:
        declared = MetricTraits(**traits)
    except TypeError as error:
        raise PluginError(f"metric {name!r}: {error}") from None
    return register(METRIC, name, parameters=parameters, version=version, traits=declared)


def stopping_rule(name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1") -> Callable[[T], T]:
    """Register what decides which trials end early, for `scheduler.name`.

    The function or class gets the parameters and the epochs of the study's longest trial, and returns a `StoppingRule`
    (`driver/stopping/rule.py`): an object whose method `stops(history, trial_id)` returns whether a trial ends with its
    newest epoch, from the history and nothing else. None is returned where no trial ends early.

    Trials are judged by all objectives of the study, or, where the parameters are a subclass of
    `kd_sweep.OneMetricParameters`, by one metric that the study can name.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: with another one a study that has begun does not go on.
    """
    return register(STOPPING_RULE, name, parameters=parameters, version=version)


def sampler(
    name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1", **traits: Any
) -> Callable[[T], T]:
    """Register what suggests the points of a study one after another, for `sampler.name`.

    The function or class gets the parameters and a `SamplerRequest` (`driver/tune/sampler_request.py`), and returns a
    sampler of Optuna's (`optuna.samplers.BaseSampler`), which suggests one point and is thrown away. What it suggests
    has to be a function of parameters, request and the trials of Optuna's study: random numbers come from
    `SamplerRequest.seed`, and nothing is kept from one suggestion to the next.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class. Every sampler has `num_trials` and `seed` beside.
        version: for people: a study may go on with another sampler.
        traits: fields of `catalogue.traits.SamplerTraits`, such as ``max_objectives``.
    """
    try:
        declared = SamplerTraits(**traits)
    except TypeError as error:
        raise PluginError(f"sampler {name!r}: {error}") from None
    return register(SAMPLER, name, parameters=_with_trials(name, parameters), version=version, traits=declared)


def _with_trials(name: str, parameters: type[Parameters]) -> type[Parameters]:
    """Return the class of parameters with those that every sampler has."""
    if not (isinstance(parameters, type) and issubclass(parameters, Parameters)):
        return parameters  # refused where it is registered
    if issubclass(parameters, SamplerParameters):
        return parameters
    if taken := parameters.model_fields.keys() & SamplerParameters.model_fields:
        raise PluginError(f"sampler {name!r}: its parameter {min(taken)!r} is a key of every sampler")
    both = (parameters, SamplerParameters)
    make: Any = create_model  # mypy knows no base classes that are computed
    made: type[Parameters] = make(parameters.__name__, __base__=both, __module__=parameters.__module__)
    return made


def attention_map(name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1") -> Callable[[T], T]:
    """Register how it is measured where a network attends to, for `metrics.attention`.

    The function gets a network with a feature map (a `Classifier`: `networks/classifier_interface.py`), in evaluation
    mode, float32 images (B, channels, H, W), and the parameters. It returns logits (B, C) and maps (B, h, w) of any
    height and width, which are enlarged to the images and scaled to [0, 1] for each of them. Gradients are off where it
    is called, it may enable them; it leaves the network as it was.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: another one makes other trials.
    """
    return register(ATTENTION_MAP, name, parameters=parameters, version=version)
