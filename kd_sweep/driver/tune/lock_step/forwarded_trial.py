"""A trial whose student learns in the process that it shares with others: this one asks there for each epoch.

It loads no torch, unless it has teachers to train, or a plug-in does.
"""

from collections.abc import Iterator

from kd_sweep.distill.teacher_records import teacher_record
from kd_sweep.driver.ray.worker_plugins import with_plugins
from kd_sweep.driver.ray.worker_start import look_for_cycles
from kd_sweep.driver.tune.lock_step.joint_training import last_epoch
from kd_sweep.driver.tune.lock_step.shared_process import Caller
from kd_sweep.driver.worker_messages import Assignment, Message, WorkerSettings
from kd_sweep.study.trial import TrialConfig


def forwarded_messages(assignment: Assignment, caller: Caller) -> Iterator[Message]:
    """Yield what the trial reports: that it wants a process, where there is none; then epochs.

    Args:
        assignment: the trial.
        caller: this process.
    """
    look_for_cycles()
    trial = with_plugins(assignment.trial, assignment.settings)
    train_missing_teachers(trial, assignment.settings)
    if (wanted := caller.find_process()) is not None:
        yield wanted
        caller.wait_for_process()
    stream_id, num_known = trial.stream.stream_id, assignment.known_epochs
    while True:
        told = caller.next_epoch(assignment, stream_id, num_known)
        num_known = last_epoch(told)
        yield told


def train_missing_teachers(trial: TrialConfig, settings: WorkerSettings) -> None:
    """Train the teachers that nobody has trained here, where nobody but this trial waits for them."""
    missing = [one for one in trial.needed_teachers if teacher_record(settings.root, one.teacher_id) is None]
    if not missing:
        return
    from kd_sweep.distill.teachers import ensure_teacher

    for teacher in missing:
        ensure_teacher(teacher, settings.root, device=settings.device, num_threads=settings.num_threads)
    leave_gpu_memory()


def leave_gpu_memory() -> None:
    """Give the memory of a GPU that torch keeps for this process to others. CUDA's own stays."""
    import torch

    torch.cuda.empty_cache()
