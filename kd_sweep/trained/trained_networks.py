"""The trained networks of a trial, read back from a root: its student as a checkpoint has it, and its teachers."""

from functools import lru_cache
from numbers import Integral
from typing import Literal, NoReturn

from torch import nn

from kd_sweep.data.dataset import Dataset
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST, checkpoints_in, load_checkpoint, read_header
from kd_sweep.distill.compute import resolve_device, to_device
from kd_sweep.distill.teachers import load_teacher
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import QueryError, StorageError
from kd_sweep.networks.classifiers import build_model
from kd_sweep.storage.root import Root
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.study.recipe import Data
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.trial_lookup import StoredTrial
from kd_sweep.trained.stored_configuration import stored_configuration

Epoch = Literal["last", "best"] | int
"""Of a trial: its newest, the one with the best value of its study's first objective, or one by its number."""
_ATTEMPTS = 20


def readable_dataset(data: Data, root: Root) -> Dataset:
    """Return a dataset, of which this process keeps the last two in memory.

    Where the root cannot be written, the images are decoded in each process anew.

    Raises:
        DataError: they are not where they were at the launch, or others.
    """
    try:
        return resident_dataset(data, root)
    except OSError:
        return _decoded(data)


@lru_cache(maxsize=2)
def _decoded(data: Data) -> Dataset:
    return load_dataset(data)


class TrainedNetworks:
    """Reads the networks of one trial. Each call returns networks of its own, frozen and in evaluation mode.

    Args:
        trial: its row, which says which epoch is the best, and its folders.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …

    Raises:
        PluginError: the trial selects an entry of a plug-in that cannot be found.
        StorageError: a version with other fields wrote the trial, or a plug-in cannot be imported.
    """

    def __init__(self, trial: StoredTrial, device: str = "auto") -> None:
        self.config: TrialConfig = stored_configuration(trial)
        self._trial = trial
        self._device = device

    @property
    def dataset(self) -> Dataset:
        """The trial's images; raises as `readable_dataset`."""
        return readable_dataset(self.config.data, self._trial.root)

    def student(self, epoch: Epoch = "last") -> tuple[nn.Module, int]:
        """Return the student after an epoch, and the number of that.

        Raises:
            QueryError: there is no such epoch.
            StorageError: there is no checkpoint of it.
            CorruptFileError: the checkpoint is damaged.
            DataError: as `dataset`.
            SpecError: the network cannot be built, as where its library is missing.
        """
        return self._restored(epoch, {})

    def teachers(self, epoch: Epoch = "last") -> list[nn.Module]:
        """Return the teachers, member 1 first.

        Where `distillation.teacher_batchnorm` is `train` they are as they were after an epoch of the student.

        Raises:
            CorruptFileError: a teacher is not finished, damaged or gone.
            Exception: as `student` where they drift; else DataError and SpecError alone.
        """
        teachers = self._finished_teachers()
        if self.config.distillation.teacher_batchnorm == "train":
            self._restored(epoch, teachers)
        return list(teachers.values())

    def all(self, epoch: Epoch = "last") -> tuple[list[nn.Module], int]:
        """Return the teachers and, last, the student, and the student's epoch. Raises as both."""
        teachers = self._finished_teachers()
        drift = self.config.distillation.teacher_batchnorm == "train"
        student, number = self._restored(epoch, teachers if drift else {})
        return [*teachers.values(), student], number

    def _finished_teachers(self) -> dict[str, nn.Module]:
        """Return the teachers as they are trained, by the name that a checkpoint of drifting ones has for each."""
        root = self._trial.root
        return {
            f"teacher-{teacher.teacher_id}": load_teacher(teacher, root, device=self._device)
            for teacher in self.config.teachers
        }

    def _restored(self, epoch: Epoch, drifting: dict[str, nn.Module]) -> tuple[nn.Module, int]:
        """Return the student after an epoch, and bring the statistics of drifting teachers to that."""
        wanted = _number(self._trial, epoch)
        model = build_model(self.config.student, self.dataset, self.config.init_seed)
        student = to_device(model, resolve_device(self._device)).eval().requires_grad_(False)
        for _ in range(_ATTEMPTS):  # a running trial replaces its checkpoints
            file = _checkpoint(self._trial, wanted)
            header = load_checkpoint(file, self._trial.trial_id, student, None, drifting or None)
            if header is not None and wanted in (None, header.epoch):
                return student, header.epoch
        raise StorageError(f"trial: {self._trial.trial_id} replaces its checkpoints faster than they can be read")


def _number(trial: StoredTrial, epoch: Epoch) -> int | None:
    """Return the number of an epoch; None for the newest one."""
    if epoch == "last":
        return None
    if epoch == "best":
        epoch = trial.row["best_epoch"] or "best"
    last = trial.row["last_epoch"]
    if last is None:
        _no_checkpoint(trial)
    if isinstance(epoch, bool) or not isinstance(epoch, Integral) or not 1 <= epoch <= last:
        is_best = epoch == "best"
        why = "its study's objective has no value in" if is_best else "is no epoch of"
        possible = f"last, 1 to {last}" if is_best else f"last, best, 1 to {last}"
        raise QueryError(f"epoch: {epoch!r} {why} trial {trial.trial_id}; possible: {possible}")
    return int(epoch)


def _checkpoint(trial: StoredTrial, wanted: int | None) -> StoredFile:
    checkpoints = checkpoints_in(_folder(trial))
    if wanted is None:
        return checkpoints.get(LAST) or _no_checkpoint(trial)
    epochs = {}
    for file in checkpoints.values():
        header = read_header(file)
        if header is not None:
            epochs[header.epoch] = file
    if wanted in epochs:
        return epochs[wanted]
    if not epochs:
        _no_checkpoint(trial)
    best = ", its best one" if wanted == trial.row["best_epoch"] else ""
    raise StorageError(
        f"trial: {trial.trial_id} has no checkpoint of epoch {wanted}{best}; possible: "
        f"{', '.join(map(str, sorted(epochs)))} (checkpoints.best: true keeps the best epoch's beside the newest)"
    )


def _no_checkpoint(trial: StoredTrial) -> NoReturn:
    """Raise `StorageError`: the trial has none, and why that may be."""
    begun = trial.row["last_epoch"] is not None
    why = "checkpoints.max_bytes or a user deleted it" if begun else "its first epoch is not done"
    raise StorageError(
        f"trial: {trial.trial_id} is {trial.row['status']} and has no checkpoint "
        f"({StoredFile(_folder(trial), LAST)} is missing: {why}); possible: its configuration, epochs and teachers"
    )


def _folder(trial: StoredTrial) -> Root:
    return trial.study.child(f"{CHECKPOINTS}/{trial.trial_id}")
