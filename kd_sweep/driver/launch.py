"""`launch` and `resume`: the checks before anything is written, and the way into `converge` from there."""

import contextlib

from kd_sweep.data.dataset_cache import dataset_cache_dir
from kd_sweep.driver.converge import Outcome, converge
from kd_sweep.driver.events import Progress
from kd_sweep.driver.ray.connection import check_local_resources
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.warm_start import warm_start_notes, with_warm_start
from kd_sweep.errors import ClusterError, RayStartError, StorageError
from kd_sweep.storage.root import Location
from kd_sweep.study.caveats import caveats
from kd_sweep.study.file.frozen import FAILED_RULE, check_extension
from kd_sweep.study.spec import StudySpec
from kd_sweep.waiting import doing


def launch(spec: StudySpec, root: Location, address: str | None = None, progress: Progress | None = None) -> Outcome:
    """Run a study, or go on with it where it exists already.

    Args:
        spec: the study as `kd_sweep.study.file.load.load_spec` returns it.
        root: the results root; made if missing.
        address: a Ray cluster; None starts Ray on this machine.
        progress: is told of every event, as for `converge`.

    Raises:
        UserError: the study, its dataset, its models, the root or the cluster is not what it must be.
    """
    return _launch(spec, StudyFolder(root, spec.name), None, address, progress)


def _launch(
    spec: StudySpec,
    folder: StudyFolder,
    frozen: StudySpec | None,
    address: str | None,
    progress: Progress | None,
) -> Outcome:
    """Run the study in its folder.

    Args:
        spec: the study.
        folder: where it lives.
        frozen: the study as it was launched; None where that has not been read, or it is new.
        address: as for `launch`.
        progress: as for `launch`.
    """
    contents: list[str] = []
    with doing("checking the images and the networks", plainly=True):
        spec = checked(spec, dataset_cache_dir(folder.storage), say=contents.append)
        contents += caveats(spec)
        if frozen is None and folder.exists():
            frozen = folder.spec()
            _check_name(folder, frozen)
        spec = with_warm_start(spec, folder.storage, frozen)
        contents += warm_start_notes(spec)
        if frozen is not None:
            check_extension(frozen, spec, folder.frozen_study().provenance.get(FAILED_RULE))
        existed = folder.storage.exists()
    try:
        folder.storage.check_writable()
        if address is None:
            check_local_resources(spec.resources)
        return converge(spec, folder, address, contents, progress)
    except (ClusterError, RayStartError, StorageError):
        if not existed and folder.storage.is_local:
            with contextlib.suppress(OSError):  # something else may have been written meanwhile
                folder.storage.local_path().rmdir()
        raise


def _check_name(folder: StudyFolder, frozen: StudySpec) -> None:
    """Refuse a folder that has another name than its tables: somebody has renamed it, or a rename was interrupted."""
    if frozen.name != folder.name:
        raise StorageError(
            f"{folder.study}: holds the study {frozen.name!r}; name both so with: kd-sweep mv {folder.study} "
            f"{folder.name}, or kd-sweep mv {folder.study} {frozen.name}"
        )


def resume(study: Location, address: str | None = None, progress: Progress | None = None) -> Outcome:
    """Go on with the study in this folder as its frozen spec says.

    Raises:
        StorageError: the folder is not a study.
        PluginError: a plug-in of the study cannot be imported here.
        UserError: as for `launch`.
    """
    with doing("reading the study", plainly=True):
        folder = StudyFolder.at(study)
        spec = folder.load_plugins(folder.spec())
        _check_name(folder, spec)
    return _launch(spec, folder, spec, address, progress)
