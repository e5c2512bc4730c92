"""What `launch` and `resume` check before anything is written, and the way into `converge` from there."""

import contextlib
import itertools
from typing import Any

from kd_sweep.errors import ClusterError, SpecError, StorageError
from kd_sweep.results.storage import Location
from kd_sweep.runner.cluster import check_local_resources
from kd_sweep.runner.converge import Outcome, converge
from kd_sweep.runner.study_folder import StudyFolder
from kd_sweep.study.spec import Choice, Grid, StudySpec
from kd_sweep.vision.checks import check_data, check_model, with_weights_digest


def launch(spec: StudySpec, root: Location, address: str | None = None) -> Outcome:
    """Run a study, or go on with it where it exists already.

    Args:
        spec: the study as `kd_sweep.study.load.load_spec` returns it.
        root: the results root; made if missing.
        address: a Ray cluster; None starts Ray on this machine.

    Raises:
        UserError: the study, its dataset, its models, the root or the cluster is not what it must be.
    """
    spec = checked(spec)
    folder = StudyFolder(root, spec.name)
    folder.check_extends(spec)
    existed = folder.storage.exists()
    try:
        folder.storage.check_writable()
        if address is None:
            check_local_resources(spec.resources)
        return converge(spec, folder, address)
    except (ClusterError, StorageError):
        if not existed and folder.storage.is_local:
            with contextlib.suppress(OSError):  # something else may have been written meanwhile
                folder.storage.local_path().rmdir()
        raise


def resume(study: Location, address: str | None = None) -> Outcome:
    """Go on with the study in this folder as its frozen spec says.

    Raises:
        StorageError: the folder is not a study.
        UserError: as for `launch`.
    """
    folder = StudyFolder.at(study)
    spec = folder.spec()
    if spec.name != folder.name:
        raise StorageError(f"{folder.study}: holds the study {spec.name!r}; name the folder so again to resume it")
    return launch(spec, folder.storage, address)


def checked(spec: StudySpec, *, download: bool = True) -> StudySpec:
    """Return the spec with its dataset found and fingerprinted, after checking every model that it names.

    Without ``download``, published weights are not looked at.
    """
    data = check_data(spec.data)
    if spec.data.fingerprint not in (None, data.fingerprint):
        raise SpecError(
            f"data.path: the images in {spec.data.path} are not those of the study's launch; results would mix "
            "(bring the old images back, or give the study another name)"
        )
    check_models(spec, download=download)
    weights = {role: with_weights_digest(getattr(spec, role), f"{role}.weights") for role in ("teacher", "student")}
    return spec.model_copy(update={"data": data, **weights})


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
