"""Checkpoints: weights, optimiser and metric history after an epoch, in one file without pickle.

The learning rate and every random draw are pure functions of the epoch, so the epoch itself is the state of both.
A trial keeps the checkpoint of its newest epoch, to go on from, and that of its best one, to use its weights.

Every attempt at a trial has a term of its own (`storage.terms`), which is in the names of its files: a worker that
wakes up after its trial has moved on elsewhere cannot replace or delete what the later attempt has saved.
"""

import contextlib
import dataclasses
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Root
from kd_sweep.storage.stored_file import FileLocation, StoredFile
from kd_sweep.storage.tensor_files import (
    damage_as_corrupt,
    read_content,
    read_tensors,
    set_aside,
    write_tensors,
)
from kd_sweep.storage.terms import claim_term, of_term, terms_of, unfinished
from kd_sweep.study.spec import Objective

if TYPE_CHECKING:
    import torch
    from torch import nn

Row = dict[str, Any]
"""What an epoch has measured, by name, as JSON holds it."""

CHECKPOINTS = "checkpoints"
"""The folder of all trials' checkpoints in a study's folder."""
LAST = "last.safetensors"
BEST = "best.safetensors"
"""Of each, the file has the attempt's term in its name: ``last-00000002.safetensors``."""
ATTEMPT = "attempt"
"""What the name of the file begins with by which an attempt claims its term."""
_KIND = "checkpoint"
_MODEL = "model/"
_OPTIMIZER = "optimizer/"
_DRIFTING = "drifting/"


@dataclasses.dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says about itself."""

    owner: str
    """Digest of the trial or teacher that was trained."""
    epoch: int
    """Epochs done; the epoch to go on with is the next."""
    history: list[Row]
    """One row per epoch done, in order."""


def checkpoints_in(folder: Root) -> dict[str, StoredFile]:
    """Return the checkpoints that count in the folder of a trial or teacher, by `LAST` and `BEST`.

    They are those of the latest attempt; one of `BEST` from before the attempt that wrote `LAST` does not count.
    """
    files = folder.files()
    newest = {name: terms[-1] for name in (LAST, BEST) if (terms := terms_of(name, files))}
    if newest.get(BEST, 0) < newest.get(LAST, 0):
        newest.pop(BEST, None)
    return {name: StoredFile(folder, of_term(name, term)) for name, term in newest.items()}


def take_over(folder: Root, term: int) -> None:
    """Make the checkpoints that count this term's own, and delete the others: they count no more."""
    while True:
        try:
            counting = checkpoints_in(folder)
            for name in (BEST, LAST):  # with the newest epoch's, this term's count
                if name in counting:
                    folder.copy(counting[name].name, of_term(name, term))
            break
        except FileNotFoundError:  # the attempt before still goes on, and has replaced its best epoch's
            continue
    files = folder.files()
    earlier = [of_term(name, other) for name in (LAST, BEST) for other in terms_of(name, files) if other < term]
    for name in [*earlier, *unfinished(files, before=term)]:
        folder.delete(name)


class TrialCheckpoints:
    """The checkpoints of one attempt at a trial: of its newest epoch in `LAST`, of its best one in `BEST`.

    While the newest epoch is the best one, there is no `BEST`: nothing is on disk twice. At every moment one of the two
    holds the best epoch's weights.

    Args:
        folder: the trial's own.
        trial_id: the trial.
        objective: what best means; None keeps the newest epoch alone.
    """

    def __init__(self, folder: Root, trial_id: str, objective: Objective | None) -> None:
        self._trial_id = trial_id
        self._objective = objective
        folder.ensure_folder()
        term = claim_term(folder, ATTEMPT, secrets.token_hex(8))
        take_over(folder, term)
        self._last, self._best = (StoredFile(folder, of_term(name, term)) for name in (LAST, BEST))
        self._has_best = False

    def restore(
        self, model: "nn.Module", optimizer: "torch.optim.Optimizer", drifting: "Mapping[str, nn.Module]"
    ) -> list[Row]:
        """Bring the training to its newest epoch and return its history; to its best one where that is damaged.

        A damaged checkpoint is set aside. Where there is none, the history is empty.
        """
        history: list[Row] = []
        for file in (self._last, self._best):
            try:
                header = None if history else load_checkpoint(file, self._trial_id, model, optimizer, drifting)
            except CorruptFileError:
                set_aside(file)
                continue
            history = header.history if header is not None else history
        self._has_best = self._best.exists()
        return history

    def save(
        self,
        history: list[Row],
        model: "nn.Module",
        optimizer: "torch.optim.Optimizer",
        drifting: "Mapping[str, nn.Module]",
    ) -> None:
        """Save the training after the last epoch of ``history``."""
        newest = len(history)
        best = self._objective.best_of(history) if self._objective else None
        if best is not None and best["epoch"] == newest - 1:
            with contextlib.suppress(FileNotFoundError):
                self._last.copy_to(self._best)
                self._has_best = True
        save_checkpoint(self._last, CheckpointHeader(self._trial_id, newest, history), model, optimizer, drifting)
        if self._has_best and (best is None or best["epoch"] == newest):
            self._best.delete()
            self._has_best = False


def save_checkpoint(
    path: FileLocation,
    header: CheckpointHeader,
    model: "nn.Module",
    optimizer: "torch.optim.Optimizer",
    drifting: "Mapping[str, nn.Module] | None" = None,
) -> None:
    """Replace the checkpoint at ``path`` in one step: a reader sees the old one or the new one.

    Args:
        path: where.
        header: what it says about itself.
        model: what is trained.
        optimizer: of the model.
        drifting: other networks, by name, whose buffers change along the way; their parameters do not.
    """
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}/{key}": value for key, value in state.items() if value is not None}
    tensors |= _drifting_buffers(drifting or {})
    # Not by dataclasses.asdict, which copies every value of the history: more than all else here takes.
    write_tensors(path, tensors, vars(header), kind=_KIND)


def load_checkpoint(
    path: FileLocation,
    owner: str,
    model: "nn.Module",
    optimizer: "torch.optim.Optimizer | None",
    drifting: "Mapping[str, nn.Module] | None" = None,
) -> CheckpointHeader | None:
    """Restore what `save_checkpoint` was given as it was and return the header; None where there is no checkpoint.

    ``optimizer`` and ``drifting`` are None where they are not asked for: the training will not go on.

    Raises:
        CorruptFileError: the file is damaged, or is the checkpoint of something else. Nothing was restored.
    """
    try:
        tensors, content = read_tensors(path, kind=_KIND)
    except FileNotFoundError:
        return None
    header = _parsed_header(path, content)
    weights = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    buffers = {name: value for name, value in tensors.items() if name.startswith(_DRIFTING)}
    own_buffers = _drifting_buffers(drifting or {})
    fits = _shapes(weights) == _shapes(model.state_dict())
    fits = fits and (drifting is None or _shapes(buffers) == _shapes(own_buffers))
    if header.owner != owner or not fits:
        raise CorruptFileError(f"{path}: is the checkpoint of {header.owner}, not of {owner} as it is configured now")
    model.load_state_dict(weights)
    for name, buffer in own_buffers.items():
        buffer.copy_(buffers[name])
    if optimizer is not None:
        _restore_optimizer(optimizer, tensors)
    return header


def read_header(path: FileLocation) -> CheckpointHeader | None:
    """Return a checkpoint's header, without torch and without reading the tensors; None where there is no checkpoint.

    Raises:
        CorruptFileError: the header is damaged, or the file was cut off.
    """
    try:
        return _parsed_header(path, read_content(path, kind=_KIND))
    except FileNotFoundError:
        return None


def read_history(folder: Root) -> list[Row]:
    """Return the rows of the epochs that the newest checkpoint in a folder has done; none where there is none.

    Raises:
        CorruptFileError: the header is damaged, or the file was cut off.
    """
    while True:
        file = checkpoints_in(folder).get(LAST)
        header = None if file is None else read_header(file)
        if file is None or header is not None:
            return [] if header is None else header.history


def _drifting_buffers(drifting: "Mapping[str, nn.Module]") -> "dict[str, torch.Tensor]":
    return {
        f"{_DRIFTING}{which}/{name}": buffer
        for which, network in drifting.items()
        for name, buffer in network.named_buffers()
    }


def _shapes(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Size]":
    return {name: tensor.shape for name, tensor in tensors.items()}


def _restore_optimizer(optimizer: "torch.optim.Optimizer", tensors: "dict[str, torch.Tensor]") -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, key = name.removeprefix(_OPTIMIZER).split("/")
            parameter = parameters[int(index)].detach()
            # Momentum laid out in memory as its weights are: steps are slower otherwise.
            if value.shape == parameter.shape:
                value = parameter.clone().copy_(value)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _parsed_header(path: FileLocation, content: Any) -> CheckpointHeader:
    with damage_as_corrupt(path):
        header = CheckpointHeader(**content)
    if [row.get("epoch") for row in header.history] != list(range(1, header.epoch + 1)):
        raise CorruptFileError(f"{path}: its history is not that of the epochs 1 to {header.epoch}")
    return header
