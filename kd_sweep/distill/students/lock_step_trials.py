"""Several trials of one stream in lock step, from beginning to end, in smaller groups where memory does not suffice."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from kd_sweep.distill.students.lock_step import LockStepGroup, Outcome, is_out_of_memory
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

    One whose device runs out of memory goes on, from its checkpoint, in a smaller group when the others are done; only
    where it has been alone is that its failure.

    Args:
        configs: the trials.
        checkpoint_dir: returns a trial's own folder, or None where nothing is kept.
        best_by: keep the checkpoint of a trial's epoch that is best by this, too.
        options: those of `LockStepGroup`.
    """
    waiting = list(configs)
    num_fitting = len(waiting)
    num_known: dict[str, int] = {}
    while waiting:
        chosen, waiting = waiting[:num_fitting], waiting[num_fitting:]
        again: list[TrialConfig] = []
        for config, outcome in _epochs_of_group(chosen, checkpoint_dir, best_by, options):
            if len(chosen) > 1 and isinstance(outcome, Exception) and is_out_of_memory(outcome):
                again.append(config)
            elif isinstance(outcome, Exception):
                yield config, outcome
            elif outcome["epoch"] > num_known.get(config.trial_id, 0):  # without a checkpoint it has begun anew
                num_known[config.trial_id] = outcome["epoch"]
                yield config, outcome
        if again:
            num_fitting = len(chosen) - len(again) or len(chosen) // 2
            waiting = again + waiting
            torch.cuda.empty_cache()


def _epochs_of_group(
    configs: Sequence[TrialConfig],
    checkpoint_dir: Callable[[TrialConfig], Location | None],
    best_by: Objective | None,
    options: Mapping[str, Any],
) -> Iterator[tuple[TrialConfig, Outcome]]:
    group = LockStepGroup(configs[0].stream, **options)
    by_id = {config.trial_id: config for config in configs}
    for config in configs:
        try:
            group.join(config, checkpoint_dir(config), best_by)
        except Exception as error:
            yield config, error
    while group.trial_ids:
        for trial_id, outcome in group.run_epoch().items():
            yield by_id[trial_id], outcome
