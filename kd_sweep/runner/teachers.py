"""Trains the teachers that a finite study needs, each once, as Ray tasks ahead of the trials."""

from typing import Any

import ray

from kd_sweep.distill.records import TeacherRecord, teacher_record
from kd_sweep.errors import StorageError
from kd_sweep.results.storage import Location
from kd_sweep.runner.cluster import ray_options
from kd_sweep.runner.interrupts import Interrupt
from kd_sweep.runner.progress import Display
from kd_sweep.runner.recorder import Recorder
from kd_sweep.runner.retries import MAX_LOSSES
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TeacherConfig

POLL_S = 0.25


def train_teacher(teacher_json: str, settings: dict[str, Any]) -> str:
    """Train one teacher, or find it trained; return its record as JSON. Runs in a worker."""
    from kd_sweep.distill.teachers import ensure_teacher

    teacher = TeacherConfig.model_validate_json(teacher_json)
    record = ensure_teacher(teacher, settings["root"], device=settings["device"], num_threads=settings["num_threads"])
    return record.model_dump_json()


def train_missing(
    teachers: list[TeacherConfig],
    spec: StudySpec,
    settings: dict[str, Any],
    recorder: Recorder,
    display: Display,
    interrupt: Interrupt,
) -> None:
    """Train the teachers that are not there yet. One that fails is left to its trials, whose rows then say why.

    Args:
        teachers: every teacher that a trial still to run needs.
        spec: the study, whose `resources` hold for teachers too.
        settings: root, device and num_threads, for the workers.
        recorder: where the rows go.
        display: what the user sees.
        interrupt: set by a signal.

    Raises:
        StorageError: a worker could not write; the message has the path and the reason.
    """
    missing = [teacher for teacher in teachers if not _record_finished(teacher, settings["root"], recorder)]
    display.teachers_begin(len(teachers), len(teachers) - len(missing))
    task = ray.remote(train_teacher).options(
        **ray_options(spec.resources), max_retries=MAX_LOSSES, retry_exceptions=[OSError]
    )
    waiting = {task.remote(teacher.model_dump_json(), settings): teacher for teacher in missing}
    while waiting:
        interrupt.check()
        done, _ = ray.wait(list(waiting), timeout=POLL_S)
        for reference in done:
            teacher = waiting.pop(reference)
            try:
                record = TeacherRecord.model_validate_json(ray.get(reference))
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, StorageError):  # what one teacher cannot write, none can
                    raise StorageError(str(cause)) from None
                display.note(f"teacher {describe(teacher)} failed: {_first_line(error)}")
                continue
            recorder.teacher(record)
            display.teacher_done(describe(teacher), record.val_accuracy)
        recorder.write_due()
        display.refresh()


def record_teachers(teachers: tuple[TeacherConfig, ...], root: Location, recorder: Recorder) -> None:
    """Record the teachers of a trial that has trained them by itself."""
    for teacher in teachers:
        if not recorder.knows_teacher(teacher.teacher_id):
            _record_finished(teacher, root, recorder)


def describe(teacher: TeacherConfig) -> str:
    """Return a teacher's place in the study as a person would say it."""
    return f"strength {teacher.augmentation_strength:g}, seed {teacher.seed}, member {teacher.member}"


def _record_finished(teacher: TeacherConfig, root: Location, recorder: Recorder) -> bool:
    record = teacher_record(root, teacher.teacher_id)
    if record is not None:
        recorder.teacher(record)
    return record is not None


def _first_line(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {(str(cause).strip() or 'no message').splitlines()[0]}"
