"""The checks of a study that need its images and networks, before anything is written."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_sweep.data.contents import inspect_data
from kd_sweep.networks.network_checks import check_model, with_weights_digest
from kd_sweep.study.spec import Choice, Grid, StudySpec


def checked(
    spec: StudySpec, cache_dir: Path | None = None, *, say: Callable[[str], None], download: bool = True
) -> StudySpec:
    """Return the spec with its dataset resolved and fingerprinted, after checking every model that it names.

    Args:
        spec: the study.
        cache_dir: where earlier processes stored fingerprints.
        say: called with each line on what the dataset holds.
        download: whether published weights are downloaded to be checked.

    Raises:
        UserError: the dataset or a model is not what it must be.
    """
    contents = inspect_data(spec.data, cache_dir)
    for line in contents.lines():
        say(line)
    check_models(spec, download=download)
    weights = {role: with_weights_digest(getattr(spec, role), f"{role}.weights") for role in ("teacher", "student")}
    return spec.model_copy(update={"data": contents.data, **weights})


def check_models(spec: StudySpec, *, download: bool = True) -> None:
    """Raise SpecError where a network that the study names cannot be built; the dataset need not be there."""
    channels = 1 if spec.data.name == "digits" else 3
    for role, learner in (("teacher", spec.teacher), ("student", spec.student)):
        named = [_possible(spec, f"{role}.{field}", getattr(learner, field)) for field in ("model", "stem")]
        for model, stem in itertools.product(*named):
            variant = learner.model_copy(update={"model": model, "stem": stem})
            check_model(variant, f"{role}.model", spec.data.image_size, channels, download=download)


def _possible(spec: StudySpec, name: str, otherwise: Any) -> tuple[Any, ...]:
    """Return the values that a searched field can have, ``otherwise`` where it is not searched."""
    dimension = spec.search.get(name)
    if isinstance(dimension, Grid):
        return dimension.grid
    return dimension.choice if isinstance(dimension, Choice) else (otherwise,)
