"""The training of one teacher in a worker: the task that Ray runs, which loads no more than a worker needs."""

import os
from collections.abc import Iterator

from kd_sweep.distill.teacher_records import TeacherRecord
from kd_sweep.driver.ray.worker_plugins import with_plugins
from kd_sweep.driver.worker_messages import TeacherEpochDone, TeacherStarted, WorkerSettings
from kd_sweep.study.trial import TeacherConfig

TeacherMessage = TeacherStarted | TeacherEpochDone | TeacherRecord


def train_teacher(teacher: TeacherConfig, settings: WorkerSettings) -> Iterator[TeacherMessage]:
    """Train one teacher, or find it trained.

    Yields:
        That it has started, each epoch that is trained here, at last the teacher's record.
    """
    yield TeacherStarted(os.getpid())
    from kd_sweep.distill.teachers import ensure_teacher, teacher_epochs

    device, num_threads = settings.device, settings.num_threads
    teacher = with_plugins(teacher, settings)
    for row in teacher_epochs(teacher, settings.root, device=device, num_threads=num_threads):
        yield TeacherEpochDone(row["epoch"])
    yield ensure_teacher(teacher, settings.root, device=device, num_threads=num_threads).record
