"""Students of one stream in lock step: a batch is made once for all of them, and each teacher answers it once.

Each student's weights, optimiser, random numbers, metrics, checkpoint and failures are its own, and its rows are equal
bit for bit to those that it would have alone: one student alone is a group of one.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.checkpoints import Row, TrialCheckpoints
from kd_sweep.distill.compute import reproducible, resolve_device
from kd_sweep.distill.ensembles.shared_epoch import SharedEpoch
from kd_sweep.distill.students.student_training import StudentEpoch, StudentTraining
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import StreamConfig, TrialConfig

Outcome = Row | Exception
"""What an epoch was for a trial: its row, or what has ended the trial."""


class LockStepGroup:
    """Trials of one stream in this process, of which each call trains an epoch. They may come and go between epochs.

    Args:
        stream: what all of their students see.
        root: the results root, where teachers and cached logits lie.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …
        num_threads: of the CPU; as many as now when None.
        cache_logits: keep the teachers' outputs for other trials.
    """

    def __init__(
        self,
        stream: StreamConfig,
        *,
        root: Location,
        device: str = "auto",
        num_threads: int | None = None,
        cache_logits: bool = True,
    ) -> None:
        self._root, self._num_threads, self._cache_logits = root, num_threads, cache_logits
        self._device = resolve_device(device)
        with reproducible(num_threads):
            self._stream = AugmentationStream(stream, resident_dataset(stream.data, root), self._device)
        self._students: dict[str, StudentTraining] = {}

    @property
    def trial_ids(self) -> Sequence[str]:
        """The trials that have an epoch left."""
        return list(self._students)

    def join(
        self, config: TrialConfig, checkpoint_dir: Location | None = None, best_by: Objective | None = None
    ) -> list[Row]:
        """Take a trial in, after its newest checkpoint; missing teachers are trained first.

        Args:
            config: the trial.
            checkpoint_dir: the trial's own folder; nothing is kept when None.
            best_by: keep the checkpoint of the epoch that is best by this, too.

        Returns:
            The rows of the epochs that its checkpoint has. Where those are all, it has none left and is not here.

        Raises:
            ValueError: its student sees another stream.
        """
        if config.stream != self._stream.stream:
            raise ValueError(f"trial {config.trial_id} sees another stream than its group")
        with reproducible(self._num_threads):
            folder = None if checkpoint_dir is None else Root.open(checkpoint_dir)
            student = StudentTraining(
                config,
                self._stream,
                None if folder is None else TrialCheckpoints(folder, config.trial_id, best_by),
                root=self._root,
                device=self._device,
                num_threads=self._num_threads,
                cache_logits=self._cache_logits,
            )
            student.begin()
        if not student.is_done:
            self._students[config.trial_id] = student
        return student.history

    def leave(self, trial_id: str) -> None:
        """Let go of a trial. What its checkpoint has stays."""
        self._students.pop(trial_id, None)

    def run_epoch(self) -> dict[str, Outcome]:
        """Train and evaluate the next epoch of the trials that have done the fewest; the others wait for them.

        One that fails, or has done its last epoch, leaves. Rows come after their checkpoints are on disk.

        Returns:
            What the epoch was for each of these trials, by its id.
        """
        fewest = min(student.epochs_done for student in self._students.values())
        behind = [student for student in self._students.values() if student.epochs_done == fewest]
        with reproducible(self._num_threads):
            outcomes = _LockStepEpoch(self._stream, fewest + 1).of(behind)
        has_others = len(self._students) > 1
        for trial_id, outcome in outcomes.items():
            if has_others and isinstance(outcome, Exception) and is_out_of_memory(outcome):
                forget_traceback(outcome)
            if isinstance(outcome, Exception) or self._students[trial_id].is_done:
                self.leave(trial_id)
        return outcomes


class _LockStepEpoch:
    """One epoch of several students: one that raises is out, and the others go on."""

    def __init__(self, stream: AugmentationStream, epoch: int) -> None:
        self._stream, self._epoch = stream, epoch
        self._running: dict[str, StudentEpoch] = {}
        self._outcomes: dict[str, Outcome] = {}

    def of(self, students: Sequence[StudentTraining]) -> dict[str, Outcome]:
        """Return each trial's outcome by its id."""
        shared = SharedEpoch(len(students))
        began = time.perf_counter()
        # A large ensemble often has the teachers of the smaller ones, which then find all answers computed.
        for student in sorted(students, key=lambda student: -student.config.ensemble_size):
            with self._failure_of(student.config.trial_id):
                self._running[student.config.trial_id] = StudentEpoch(student, shared)
        started = time.perf_counter()
        self._learn()
        trained = time.perf_counter()
        share = len(self._running)  # of the time, an equal one each
        for trial_id, running in self._each():
            with self._failure_of(trial_id):
                row = running.evaluate((trained - started) / share, (trained - began) / share)
                self._outcomes[trial_id] = row
        return self._outcomes

    def _learn(self) -> None:
        try:
            for batch in self._stream.batches(self._epoch) if self._running else ():
                for trial_id, running in self._each():
                    with self._failure_of(trial_id):
                        running.step(batch)
                if not self._running:
                    return
        except Exception as error:  # of the batches, which all of them need
            self._outcomes |= dict.fromkeys(self._running, error)
            self._running.clear()
        for trial_id, running in self._each():
            with self._failure_of(trial_id):
                running.end_steps()

    def _each(self) -> list[tuple[str, StudentEpoch]]:
        return list(self._running.items())

    @contextmanager
    def _failure_of(self, trial_id: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._outcomes[trial_id] = error
            self._running.pop(trial_id, None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had no memory left, though the call of a plug-in may have been what asked for it."""
    return any(isinstance(one, torch.OutOfMemoryError) for one in _chain_of(error))


def forget_traceback(error: BaseException) -> None:
    """Forget where ``error`` was raised: the variables there hold memory that others need."""
    for one in list(_chain_of(error)):
        one.__traceback__ = None


def _chain_of(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
