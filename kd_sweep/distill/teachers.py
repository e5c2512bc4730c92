"""Teachers: trained once for everyone under a results root, checked whenever they are loaded.

A teacher's folder ``<root>/teachers/<teacher_id>/`` holds, while it is trained, a checkpoint and a lease; once it is
finished, its weights and its record (`distill.teacher_records`). That is written last: with a record it is finished.
"""

import datetime
import hashlib
import os
import platform
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from importlib.metadata import version

import torch
from torch import Tensor, nn

from kd_sweep.augmentation.stream import AugmentationStream, Batch
from kd_sweep.data.dataset import Dataset
from kd_sweep.distill.checkpoints import LAST, CheckpointHeader, Row, load_checkpoint, save_checkpoint, take_over
from kd_sweep.distill.compute import EpochRandomness, reproducible, resolve_device, to_device
from kd_sweep.distill.distillation_loss import label_loss
from kd_sweep.distill.optimizers import build_optimizer, learning_rate_at
from kd_sweep.distill.teacher_records import (
    BEGUN,
    RECORD,
    TEACHER_LEASE,
    WEIGHTS,
    TeacherRecord,
    read_record,
    teacher_folder,
    weights_file,
    write_record,
)
from kd_sweep.distill.training import StepsOf, train_epoch
from kd_sweep.distill.worker_memory import RecentlyUsed, resident_dataset
from kd_sweep.errors import CorruptFileError, StudyLockedError
from kd_sweep.metrics.predictions import accuracy
from kd_sweep.networks.classifiers import build_model, initial_model
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.root import Location, Root
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.storage.tensor_files import read_tensors, set_aside, write_atomic, write_tensors
from kd_sweep.storage.terms import of_term, terms_of, unfinished
from kd_sweep.study.trial import TeacherConfig
from kd_sweep.version import __version__

MAX_LOADED = 8
_POLL_S = 0.5
_KIND = "teacher"

_loaded: RecentlyUsed[tuple[str, str, str], nn.Module] = RecentlyUsed(MAX_LOADED)


class TrainedTeacher:
    """A finished teacher: its record, and its network, which is loaded when it is first needed.

    Args:
        teacher: which one.
        record: of it.
        root: the results root.
        device: where the network runs; as for `ensure_teacher`.
        num_threads: for training it again, where its weights are damaged.
    """

    def __init__(
        self, teacher: TeacherConfig, record: TeacherRecord, root: Location, device: str, num_threads: int | None
    ) -> None:
        self.record = record
        self._teacher, self._root, self._device, self._num_threads = teacher, Root.open(root), device, num_threads

    @property
    def network(self) -> nn.Module:
        """The network, frozen, in evaluation mode; this process keeps it in memory for others.

        Damaged weights are set aside and the teacher is trained again.
        """
        key = (self._root.location, self.record.teacher_id, str(resolve_device(self._device)))
        network = _loaded.get(key)
        if network is None:
            try:
                network = self._load()
            except CorruptFileError:
                self.record = _trained(
                    _train_under_lease(self._teacher, self._root, self._device, self._num_threads, check_weights=True)
                )
                network = self._load()
            _loaded.put(key, network)
        return network

    def _load(self) -> nn.Module:
        return _network(self._teacher, self.record, self._root, self._device)


def ensure_teacher(
    teacher: TeacherConfig,
    root: Location,
    *,
    device: str = "auto",
    num_threads: int | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> TrainedTeacher:
    """Return ``teacher`` as it is once it is trained; train it first where nobody has.

    One process trains a teacher; others wait for it, and the next takes over, from its newest checkpoint, if it dies.

    Args:
        teacher: which one.
        root: the results root.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …
        num_threads: of the CPU; as many as now when None.
        on_epoch: called with each row trained here: epoch, train_loss, train_accuracy, val_accuracy, epoch_s.

    Raises:
        NonFiniteError: the teacher's loss became NaN or infinite.
    """
    record = _trusted_record(teacher, root)
    if record is None:
        record = _trained(_train_under_lease(teacher, root, device, num_threads, check_weights=False), on_epoch)
    return TrainedTeacher(teacher, record, root, device, num_threads)


def teacher_epochs(
    teacher: TeacherConfig, root: Location, *, device: str = "auto", num_threads: int | None = None
) -> Iterator[Row]:
    """Do what `ensure_teacher` does, and yield each row that it would call ``on_epoch`` with."""
    if _trusted_record(teacher, root) is None:
        yield from _train_under_lease(teacher, root, device, num_threads, check_weights=False)


def load_teacher(teacher: TeacherConfig, root: Location, *, device: str = "auto") -> nn.Module:
    """Return the network of a finished teacher, frozen and in evaluation mode.

    Raises:
        CorruptFileError: the weights are missing, or are not the bytes that the record speaks of; so is the record.
    """
    record = read_record(root, teacher.teacher_id)
    if record is None:
        file = StoredFile(teacher_folder(root, teacher.teacher_id), RECORD)
        raise CorruptFileError(f"{file}: missing; the teacher is not finished")
    return _network(teacher, record, root, device)


def _network(teacher: TeacherConfig, record: TeacherRecord, root: Location, device: str) -> nn.Module:
    folder = teacher_folder(root, teacher.teacher_id)
    file = weights_file(folder) or StoredFile(folder, WEIGHTS)
    try:
        weights, _ = read_tensors(file, kind=_KIND, sha256=record.sha256)
    except FileNotFoundError as error:
        raise CorruptFileError(f"{file}: missing, but the teacher's record is there") from error
    model = build_model(teacher.learner, resident_dataset(teacher.data, root), teacher.init_seed)
    model.load_state_dict(weights)
    return to_device(model, resolve_device(device)).eval().requires_grad_(False)


def forget_teachers() -> None:
    """Drop the networks that this process keeps in memory."""
    _loaded.clear()


def _trusted_record(teacher: TeacherConfig, root: Location, *, check_weights: bool = False) -> TeacherRecord | None:
    try:
        record = read_record(root, teacher.teacher_id)
    except CorruptFileError:
        return None
    if record is not None and check_weights:
        weights = weights_file(teacher_folder(root, teacher.teacher_id))
        if weights is None or not weights.exists() or hashlib.sha256(weights.read_bytes()).hexdigest() != record.sha256:
            return None
    return record


_Training = Generator[Row, None, TeacherRecord]
"""Yields a row after each epoch that is trained here, and returns the record."""


def _trained(training: _Training, on_epoch: Callable[[Row], None] | None = None) -> TeacherRecord:
    """Return what ``training`` does at its end."""
    while True:
        try:
            row = next(training)
        except StopIteration as end:
            record: TeacherRecord = end.value
            return record
        if on_epoch is not None:
            on_epoch(row)


def _train_under_lease(
    teacher: TeacherConfig, root: Location, device: str, num_threads: int | None, *, check_weights: bool
) -> _Training:
    folder = teacher_folder(root, teacher.teacher_id)
    folder.ensure_folder()
    while True:
        record = _trusted_record(teacher, root, check_weights=check_weights)
        if record is not None:
            return record
        try:
            with Lease.acquire(TEACHER_LEASE, root=folder, what=f"teacher {teacher.teacher_id}") as lease:
                return (yield from _train(teacher, root, resolve_device(device), num_threads, lease, check_weights))
        except StudyLockedError:  # somebody else trains it, perhaps after this process was suspended
            time.sleep(_POLL_S)


def _train(
    teacher: TeacherConfig,
    root: Location,
    device: torch.device,
    num_threads: int | None,
    lease: Lease,
    check_weights: bool,
) -> _Training:
    """Train the teacher under its lease. `StudyLockedError` where that was lost."""
    folder = teacher_folder(root, teacher.teacher_id)
    # From here on, records of earlier terms are too late.
    write_atomic(StoredFile(folder, of_term(BEGUN, lease.term)), b"", durable=False)
    for begun in terms_of(BEGUN, folder.files()):
        if begun < lease.term:
            folder.delete(of_term(BEGUN, begun))
    record = _kept_record(teacher, root, lease.term, check_weights=check_weights)
    if record is None:
        take_over(folder, lease.term)
        training = _TeacherTraining(teacher, root, device, lease)
        with reproducible(num_threads):
            training.restore()
            while training.epoch < teacher.epochs:
                yield training.run_epoch()
        record = training.publish()
    lease.check(afresh=True)
    _delete_earlier(folder, lease.term)
    return record


def _kept_record(teacher: TeacherConfig, root: Location, term: int, *, check_weights: bool) -> TeacherRecord | None:
    """Make a record that was there before this term began this term's own; set one aside that cannot be trusted."""
    folder = teacher_folder(root, teacher.teacher_id)
    files = folder.files()
    for earlier in reversed([other for other in terms_of(RECORD, files) if other < term]):
        for name in (WEIGHTS, RECORD):
            if folder.exists(of_term(name, earlier)):
                folder.copy(of_term(name, earlier), of_term(name, term))
        record = _trusted_record(teacher, root, check_weights=check_weights)
        if record is not None:
            return record
        for name in (RECORD, WEIGHTS):
            set_aside(StoredFile(folder, of_term(name, term)))
            folder.delete(of_term(name, earlier))
    for stray in terms_of(WEIGHTS, files):
        if stray < term:
            set_aside(StoredFile(folder, of_term(WEIGHTS, stray)))
    return None


def _delete_earlier(folder: Root, term: int) -> None:
    """Delete what earlier trainers left, and the word that this training has begun: its record counts by itself."""
    files = folder.files()
    earlier = [of_term(name, t) for name in (RECORD, WEIGHTS, LAST, BEGUN) for t in terms_of(name, files) if t < term]
    for name in [*earlier, *unfinished(files, before=term), of_term(BEGUN, term)]:
        folder.delete(name)


def taught_dataset(teacher: TeacherConfig, dataset: Dataset) -> Dataset:
    """Return the images with the labels that a teacher learns: the right ones, unless it is a control."""
    if teacher.control != "shuffled_labels":
        return dataset
    generator = torch.Generator("cpu").manual_seed(teacher.label_seed)
    order_N = torch.randperm(len(dataset.train), generator=generator)
    labels_N = dataset.train.labels_N
    return replace(dataset, train=replace(dataset.train, labels_N=labels_N[order_N.to(labels_N.device)]))


class _TeacherTraining:
    """A teacher in the making. Its folder's lease is held."""

    def __init__(self, teacher: TeacherConfig, root: Location, device: torch.device, lease: Lease) -> None:
        self._teacher = teacher
        self._lease = lease
        self._root = root
        self._device = device
        self._dataset = taught_dataset(teacher, resident_dataset(teacher.data, root))
        self._stream = AugmentationStream(teacher.stream, self._dataset, device)
        self._model = to_device(initial_model(teacher.learner, self._dataset, teacher.init_seed), device)
        self._optimizer = build_optimizer(self._model, teacher.learner)
        self._checkpoint = StoredFile(teacher_folder(root, teacher.teacher_id), of_term(LAST, lease.term))
        self._history: list[Row] = []

    @property
    def epoch(self) -> int:
        return len(self._history)

    def restore(self) -> None:
        try:
            header = load_checkpoint(self._checkpoint, self._teacher.teacher_id, self._model, self._optimizer)
        except CorruptFileError:
            set_aside(self._checkpoint)
            header = None
        if header is not None:
            self._history = header.history

    def run_epoch(self) -> Row:
        learner, epoch, steps = self._teacher.learner, self.epoch + 1, self._stream.num_batches

        correct: list[Tensor] = []

        def batch_loss(logits_BC: Tensor, batch: Batch) -> Tensor:
            correct.append((logits_BC.detach().argmax(1) == batch.labels_B).sum())
            return label_loss(logits_BC, batch.labels_B, learner.label_smoothing, batch.partners)

        started = time.perf_counter()
        with EpochRandomness(self._teacher.init_seed, epoch, self._device), StepsOf(teacher=learner):
            trained = train_epoch(
                self._model,
                self._optimizer,
                self._stream.batches(epoch),
                batch_loss,
                lambda step: learning_rate_at((epoch - 1) * steps + step, steps, learner),
                epoch,
                learner.precision,
            )
        train_s = time.perf_counter() - started
        row = {
            "epoch": epoch,
            "train_loss": trained.loss,
            "train_accuracy": int(torch.stack(correct).sum()) / trained.num_images,
            "val_accuracy": self._val_accuracy(),
            "epoch_s": train_s,
        }
        self._history.append(row)
        self._lease.check()
        header = CheckpointHeader(self._teacher.teacher_id, epoch, self._history)
        save_checkpoint(self._checkpoint, header, self._model, self._optimizer)
        return row

    def publish(self) -> TeacherRecord:
        self._lease.check()
        folder = teacher_folder(self._root, self._teacher.teacher_id)
        sha256 = write_tensors(
            StoredFile(folder, of_term(WEIGHTS, self._lease.term)), self._model.state_dict(), None, kind=_KIND
        )
        last: Row
        last = self._history[-1] if self._history else {"val_accuracy": self._val_accuracy(), "train_accuracy": None}
        record = TeacherRecord(
            teacher_id=self._teacher.teacher_id,
            config=self._teacher,
            epochs=self.epoch,
            val_accuracy=last["val_accuracy"],
            train_accuracy=last["train_accuracy"],
            num_parameters=sum(parameter.numel() for parameter in self._model.parameters()),
            train_s=sum(row["epoch_s"] for row in self._history),
            finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            host=socket.gethostname(),
            pid=os.getpid(),
            sha256=sha256,
            history=tuple(self._history),
            versions={
                "kd_sweep": __version__,
                "torch": str(torch.__version__),
                "torchvision": version("torchvision"),
                "python": platform.python_version(),
            },
        )
        write_record(self._root, record, self._lease.term)
        self._checkpoint.delete()
        return record

    def _val_accuracy(self) -> float:
        self._model.eval()
        with torch.inference_mode():
            batches = self._stream.clean_batches(self._dataset.val)
            pairs = [(self._model(batch.images_BDHW), batch.labels_B) for batch in batches]
        logits, labels = zip(*pairs, strict=True)
        return accuracy(torch.cat(logits), torch.cat(labels))
