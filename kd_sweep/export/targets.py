"""The list of what a study can be exported to, what is checked before, and the one way to do it."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_sweep.errors import QueryError, UserError, alternatives
from kd_sweep.export.export_paths import Mark, check_folder, local_path
from kd_sweep.export.histories import ALL
from kd_sweep.export.mlflow_store import check_store, write_store
from kd_sweep.export.networks.hugging_face_folder import write_hugging_face
from kd_sweep.export.networks.onnx_model import check_onnx, write_onnx
from kd_sweep.export.optuna_journal import check_journal, write_journal
from kd_sweep.export.request import STUDENT, Request, Written
from kd_sweep.export.ro_crate import write_crate
from kd_sweep.export.tensorboard_folder import write_tensorboard
from kd_sweep.export.wandb_runs import write_runs
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import metric_columns


@dataclass(frozen=True)
class Target:
    """A tool, and what writes its files."""

    write: Callable[[Request], Written]
    check: Callable[[Path, Mark], None] = check_folder
    """Raises `StorageError` where something else is at the path."""
    modules: tuple[str, ...] = ()
    """What has to be importable."""
    of_network: bool = False
    """Whether it takes a trained network, and not a study's trials."""
    has_histories: bool = False
    """Whether it has metrics epoch by epoch, of which some can be asked for."""


TARGETS = {
    "optuna": Target(write_journal, check_journal, ("optuna",)),
    "tensorboard": Target(write_tensorboard, modules=("tensorboard", "google_crc32c"), has_histories=True),
    "mlflow": Target(write_store, check_store, ("mlflow", "sqlalchemy", "alembic"), has_histories=True),
    "wandb": Target(write_runs, modules=("wandb",), has_histories=True),
    "ro-crate": Target(write_crate),
    "onnx": Target(write_onnx, check_onnx, ("onnx", "onnxruntime", "onnxscript"), of_network=True),
    "hf": Target(write_hugging_face, of_network=True),
}
"""By name; each that needs a library has an extra of that name."""


def checked_request(
    results: Results,
    study: str,
    to: str,
    out: str,
    *,
    trial: str | None = None,
    network: str = STUDENT,
    location: Mapping[str, str] | None = None,
    metrics: str | Sequence[str] | None = None,
) -> Request:
    """Return what an export is asked for. Nothing is written yet.

    Args:
        results: a root, or the study alone.
        study: its name.
        to: one of `TARGETS`.
        out: the path of the file or folder; an earlier export of the same study there is brought up to date.
        trial: of an export of a network: its id, a beginning of it, or `best`.
        network: `student`, or `teacher-1` and so on.
        location: fields of `data` that say where the images are now.
        metrics: one or several to export every epoch of, or `all`; when None as `histories.wanted_histories` says.

    Raises:
        UserError: one line: no such target or study, something else at ``out``, or a library is missing.
    """
    if to not in TARGETS:
        raise QueryError(f"--to: {to!r} is not a target; {alternatives(to, TARGETS)}")
    target = TARGETS[to]
    if not target.of_network and (trial is not None or network != STUDENT):
        networks = ", ".join(name for name, one in TARGETS.items() if one.of_network)
        raise QueryError(f"--trial, --network: {to} takes the whole study; possible with {networks}")
    missing = [name for name in target.modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--to: {to} needs {', '.join(missing)}; in the checkout: pip install '.[{to}]'")
    asked = (metrics,) if isinstance(metrics, str) else metrics
    request = Request(results, study, to, local_path(out), trial, network, location, asked)
    _check_metrics(request)
    target.check(request.out, request.mark)
    return request


def _check_metrics(request: Request) -> None:
    if request.metrics is None:
        return
    if not TARGETS[request.target].has_histories:
        possible = ", ".join(name for name, one in TARGETS.items() if one.has_histories)
        raise QueryError(f"--metrics: {request.target} has no choice of metrics by epoch; possible with {possible}")
    known = [ALL, *metric_columns(request.table("trials").schema)]
    for name in request.metrics:
        if name not in known:
            raise QueryError(f"--metrics: {name!r} is no number that trials report; {alternatives(name, known)}")


def export_request(request: Request) -> Written:
    """Write a study, or a network of one of its trials, as the files of another tool.

    Done again it changes nothing, or adds what has finished since; killed, it is finished by being done again.

    Raises:
        UserError: one line, before anything is written: no such trial or network, or nothing is finished.
        KdSweepError: what was to be written does not compute what the network does.
    """
    return TARGETS[request.target].write(request)
