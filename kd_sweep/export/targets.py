"""The list of what a study can be exported to, and the one way to do it."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kd_sweep.errors import QueryError, UserError, alternatives
from kd_sweep.export.export_paths import local_path
from kd_sweep.export.hugging_face_folder import write_hugging_face
from kd_sweep.export.onnx_model import write_onnx
from kd_sweep.export.optuna_journal import write_journal
from kd_sweep.export.request import STUDENT, Request, Written
from kd_sweep.export.tensorboard_folder import write_tensorboard
from kd_sweep.tables.reader import Results


@dataclass(frozen=True)
class Target:
    """A tool, and what writes its files."""

    write: Callable[[Request], Written]
    modules: tuple[str, ...] = ()
    """What has to be importable."""
    of_network: bool = False
    """Whether it takes a trained network, and not a study's trials."""


TARGETS = {
    "optuna": Target(write_journal, ("optuna",)),
    "tensorboard": Target(write_tensorboard, ("tensorboard", "google_crc32c")),
    "onnx": Target(write_onnx, ("onnx", "onnxruntime", "onnxscript"), of_network=True),
    "hf": Target(write_hugging_face, of_network=True),
}
"""By name; each that needs a library has an extra of that name."""


def export(
    results: Results,
    study: str,
    to: str,
    out: str,
    *,
    trial: str | None = None,
    network: str = STUDENT,
    location: Mapping[str, str] | None = None,
) -> Written:
    """Write a study, or a network of one of its trials, as the files of another tool.

    Done again it changes nothing, or adds what has finished since; killed, it is finished by being done again.

    Args:
        results: a root, or the study alone.
        study: its name.
        to: one of `TARGETS`.
        out: the path of the file or folder; an earlier export of the same study there is brought up to date.
        trial: of an export of a network: its id, a beginning of it, or `best`.
        network: `student`, or `teacher-1` and so on.
        location: fields of `data` that say where the images are now.

    Raises:
        UserError: one line, before anything is written: no such target, study, trial or network, nothing finished,
            something else at ``out``, or a library is missing.
        KdSweepError: what was written does not compute what the network does; it is removed.
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
    request = Request(results, study, local_path(out), trial, network, location)
    return target.write(request)
