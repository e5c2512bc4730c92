"""The process that is a study's driver: `python -m kd_sweep.service.supervision.driver_process RUN_FOLDER`.

It needs no service while it runs, and one that is started later learns from the folder how it ended.
"""

import os
import sys
import traceback
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.api.study import Study
from kd_sweep.driver.events import Event, TeacherEpoch, TrialEpoch
from kd_sweep.driver.interrupts import SweepInterrupted, ended_by_signals
from kd_sweep.errors import ClusterError, KdSweepError, StorageError, StudyLockedError, UserError
from kd_sweep.service.supervision.driver_log import keep_bounded
from kd_sweep.service.supervision.run_folder import STUDY_FILE, RunEnd, RunFolder

if TYPE_CHECKING:
    from kd_sweep.driver.converge import Outcome

PASSING = (ClusterError, StorageError)
"""Mistakes of users that may also be a cluster that comes back, or a disk that has room again."""
MAX_ERRORS = 20
"""Of trials, in the note of how a run ended."""


def main(path: Path) -> int:
    """Run the study of this folder, and note how that ended. Returns the exit code."""
    folder = RunFolder(path)
    try:
        with ended_by_signals():
            if not folder.claim(os.getpid()):
                return 0  # its supervisor has given it up
            keep_bounded(folder.log)
            outcome = _launch(folder)
        end = end_of(outcome)
        code = outcome.exit_code
    except SweepInterrupted as stop:
        end, code = RunEnd("interrupted", f"stopped by {stop}"), 1
    except (Exception, SystemExit) as error:
        if not isinstance(error, KdSweepError):
            traceback.print_exc()
        kind = "locked" if isinstance(error, StudyLockedError) else "died"
        if isinstance(error, UserError) and not isinstance(error, PASSING):
            kind = "refused"
        text = str(error) if isinstance(error, KdSweepError) else f"{type(error).__name__}: {error}"
        end = RunEnd(kind, " ".join(text.split())[:1000])
        code = 1
    print(f"kd-sweep: {end.kind}{f': {end.message}' if end.message else ''}", flush=True)
    folder.write_end(end)
    return code


def _launch(folder: RunFolder) -> "Outcome":
    from kd_sweep.driver.progress import RunDisplay

    request = folder.request()
    study = Study.from_file(folder.path / STUDY_FILE)
    if request.slots is not None:
        own = study.spec.max_concurrent_trials
        study = study.set("max_concurrent_trials", request.slots if own is None else min(own, request.slots))
    with RunDisplay() as display:
        return study.launch(request.root, request.address, _noting(display, folder))


def _noting(display: Callable[[Event], None], folder: RunFolder) -> Callable[[Event], None]:
    """Return a function that shows every event, and notes the first epoch."""
    noted = False

    def progress(event: Event) -> None:
        nonlocal noted
        if not noted and isinstance(event, TrialEpoch | TeacherEpoch):
            folder.note_progress()
            noted = True
        display(event)

    return progress


def end_of(outcome: "Outcome") -> RunEnd:
    """Return what a run's outcome means for the queue."""
    counts = dict(outcome.counts)
    errors = dict(islice(sorted(outcome.errors.items()), MAX_ERRORS))
    if outcome.interrupted:
        return RunEnd("interrupted", f"stopped by {outcome.interrupted}", counts=counts, errors=errors)
    budget_used = outcome.paused > 0 or "budget." in outcome.why_left
    message = None
    if outcome.paused:
        message = f"{outcome.paused} trials go on from their last epoch when budget.max_hours is raised"
    elif outcome.left:
        message = f"{outcome.left} trials have not started: {outcome.why_left}"
    elif errors:
        trial_id, error = next(iter(errors.items()))
        message = f"{len(outcome.errors)} of {sum(counts.values())} trials failed, the first is {trial_id}: {error}"
    return RunEnd("done", message, budget_used, len(outcome.errors), counts, errors)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
