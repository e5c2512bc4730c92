"""Several trials of one stream in lock step, from beginning to end, in smaller groups where memory does not suffice."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kd_sweep.distill.students.lock_step import Outcome
from kd_sweep.distill.students.student_groups import AskingTrial, FoundEpochs, StudentGroups
from kd_sweep.storage.root import Location
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig


def epochs_in_lock_step(
    configs: Iterable[TrialConfig],
    *,
    checkpoint_dir: Callable[[TrialConfig], Location | None] = lambda _: None,
    best_by: Objective | None = None,
    **options: Any,
) -> Iterator[tuple[TrialConfig, Outcome]]:
    """Train several trials of one stream to their ends, and yield what each epoch was for each of them.

    Args:
        configs: the trials.
        checkpoint_dir: returns a trial's own folder, or None where nothing is kept.
        best_by: keep the checkpoint of a trial's epoch that is best by this, too.
        options: those of `LockStepGroup`.
    """
    groups = StudentGroups(**options)
    asking = {config.trial_id: AskingTrial(config, checkpoint_dir(config), best_by) for config in configs}
    num_known = dict.fromkeys(asking, 0)
    while asking:
        for trial_id, answer in groups.answers(asking).items():
            config = asking[trial_id].config
            if isinstance(answer, FoundEpochs):  # it had done all before
                del asking[trial_id]
                continue
            if isinstance(answer, Exception) or answer["epoch"] > num_known[trial_id]:
                yield config, answer  # one that left without a checkpoint has begun anew
            if isinstance(answer, Exception) or answer["epoch"] >= config.student.epochs:
                del asking[trial_id]
            else:
                num_known[trial_id] = max(num_known[trial_id], answer["epoch"])
