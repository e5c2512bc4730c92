"""The operation that launch and resume are: list what a study asks for, subtract what its tables hold, run the rest.

Nothing that Ray Tune or Optuna saved is needed; the study folder is the only state.
"""

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kd_sweep.data.dataset_cache import dataset_cache_dir
from kd_sweep.data.fingerprints import store_fingerprint
from kd_sweep.driver.events import Announcer, LastWords, Progress, RunBegan, Told
from kd_sweep.driver.interrupts import Interrupt, SweepInterrupted, watching_signals
from kd_sweep.driver.recorder import UNSUCCESSFUL
from kd_sweep.driver.study_folder import SPEC_FILE, StudyFolder
from kd_sweep.driver.study_state import StudyState, Work
from kd_sweep.errors import ClusterLostError, SamplerError, StoppingRuleError, StorageError, StudyStoppedError
from kd_sweep.study.spec import StudySpec
from kd_sweep.waiting import doing

if TYPE_CHECKING:
    from kd_sweep.driver.ray.connection import Cluster


NO_SIGNALS = "not in the main thread, so no signal ends this run; it ends in order when what follows it raises"


@dataclass(frozen=True)
class Outcome:
    """How a launch or a resume ended."""

    study: str
    """The study's folder: a path or a URI."""
    counts: Counter[str]
    """Trials of the study by status."""
    ran: bool
    """Whether there was anything to run."""
    interrupted: str | None = None
    """The signal that ended the run early; the study goes on from there when it is resumed."""
    left: int = 0
    """Trials that have not started."""
    why_left: str = ""
    """What kept them out, where the run ended by itself."""
    paused: int = 0
    """Trials that have begun and go on once `budget.max_hours` is raised."""
    errors: dict[str, str] = field(default_factory=dict)
    """Status and error of each trial that failed or was lost, by trial id."""

    @property
    def exit_code(self) -> int:
        """0: everything is done. 1: the run was interrupted. 3: it ran to its end, and a trial failed for good."""
        if self.interrupted:
            return 1
        return 3 if any(self.counts[status] for status in UNSUCCESSFUL) else 0


def converge(
    spec: StudySpec,
    folder: StudyFolder,
    address: str | None = None,
    contents: Sequence[str] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Bring the study to what its spec asks for.

    Args:
        spec: the study, checked, with its dataset resolved.
        folder: where it lives; a new one is made only once the cluster is known to be able to run it.
        address: a Ray cluster; None starts Ray on this machine.
        contents: lines that say what the dataset holds, and what to beware of.
        progress: is told of every event. What it raises ends the run in order, and is raised here then.

    Returns:
        What the tables hold at the end.

    Raises:
        StudyLockedError: another driver runs the study.
        StudyStoppedError: a file could not be written, Ray died, or the sampler or stopping rule of a plug-in failed
            while it ran, or a second signal came; the message says which, why and how to go on.
        ClusterError: the cluster cannot be reached, or is too small.
        RayStartError: Ray cannot be started on this machine.
    """
    announcer = Announcer(progress)
    try:
        outcome = _converge(spec, folder, address, contents, announcer)
    except (SweepInterrupted, KeyboardInterrupt) as stop:
        begun = folder.study.exists(SPEC_FILE)
        advice = f"go on with: kd-sweep resume {folder.study}" if begun else "launch the study again"
        raise StudyStoppedError(f"stopped at once by {str(stop) or 'SIGINT'}; {advice}") from None
    except (SamplerError, StoppingRuleError) as error:
        raise StudyStoppedError(f"{error}; the study has stopped: mend that, and launch its own file again") from None
    if announcer.failure is not None:
        raise announcer.failure
    return outcome


def _converge(
    spec: StudySpec, folder: StudyFolder, address: str | None, contents: Sequence[str], announcer: Announcer
) -> Outcome:
    with ExitStack() as stack:
        state: StudyState | None = None
        if folder.exists():
            with doing("reading the study's tables", plainly=True):
                state = stack.enter_context(StudyState(spec, folder))
            if not state.work:
                return _outcome(state, state.work, ran=False)
        announcer(RunBegan(spec.name, str(folder.study), spec.objectives[0]))
        if threading.current_thread() is not threading.main_thread():
            announcer.tell(NO_SIGNALS)
        interrupted = None
        try:
            interrupt = stack.enter_context(watching_signals())
            interrupt.watch(announcer.check)
            cluster = _connect(stack, spec, folder, address, announcer, interrupt)
            for line in contents:
                announcer.tell(line)
            with doing("asking the nodes what they have", plainly=True):
                from kd_sweep.driver.ray.preflight import check_cluster

                check_cluster(cluster, spec, folder.storage)
            if state is None:
                with doing("making the study's tables", plainly=True):
                    state = stack.enter_context(StudyState(spec, folder))
            _sweep(state, cluster, announcer, interrupt)
        except (SweepInterrupted, KeyboardInterrupt) as stop:
            interrupted = str(stop) or "SIGINT"
        if state is None:
            return Outcome(str(folder.study), Counter(), ran=False, interrupted=interrupted)
        return _outcome(state, state.finish(), ran=True, interrupted=interrupted)


def _connect(
    stack: ExitStack,
    spec: StudySpec,
    folder: StudyFolder,
    address: str | None,
    announcer: Announcer,
    interrupt: Interrupt,
) -> "Cluster":
    """Start or join Ray until the stack is left."""

    def last_words(why: str) -> None:
        words = f"{why}; go on with: kd-sweep resume {folder.study}"
        announcer(LastWords(words))
        print(f"kd-sweep: {words}", file=sys.stderr, flush=True)  # whoever listens: the process is killed after this

    beginning = "starting Ray" if address is None else f"joining the cluster at {address}"
    announcer(Told(beginning, is_routine=True))
    with doing(beginning):
        # Ray takes seconds to import; a finished study needs none of it.
        from kd_sweep.driver.ray.connection import connected

        cluster = stack.enter_context(connected(address, spec.resources, interrupt, announcer.tell, last_words))
    announcer.tell(f"Ray {cluster.describe(spec.resources)}")
    return cluster


def _sweep(state: StudyState, cluster: "Cluster", announcer: Announcer, interrupt: Interrupt) -> None:
    with doing("preparing the sweep", plainly=True):
        from kd_sweep.driver.tune.sweep import sweep

    resume = f"kd-sweep resume {state.folder.study}"
    store_fingerprint(state.spec.data.fingerprint, dataset_cache_dir(state.folder.storage))
    try:
        if change := state.note_versions():
            announcer.tell(change)
        sweep(state, cluster, announcer, interrupt)
    except StoppingRuleError:
        state.rule_failed()
        raise
    except StorageError as error:
        raise StudyStoppedError(f"{error}; mend that, then: {resume}") from None
    except ClusterLostError as error:
        raise StudyStoppedError(f"{error}; go on with: {resume}") from None


def _outcome(state: StudyState, rest: Work, *, ran: bool, interrupted: str | None = None) -> Outcome:
    rows = state.recorder.trials()
    return Outcome(
        study=str(state.folder.study),
        counts=Counter(row["status"] for row in rows.values()),
        ran=ran,
        interrupted=interrupted,
        left=len(rest.new) + rest.adaptive + rest.left,
        why_left=_why_left(rest),
        paused=len(rest.unfinished) if rest.hours_are_up else 0,
        errors={
            trial_id: f"{row['status']}: {row['error']}"
            for trial_id, row in rows.items()
            if row["status"] in UNSUCCESSFUL
        },
    )


def _why_left(rest: Work) -> str:
    reasons = []
    if rest.left:
        reasons.append("budget.max_trials keeps them out")
    if rest.new or rest.adaptive:
        reasons.append(
            "budget.max_hours are over" if rest.hours_are_up else "the sampler found no other point to suggest"
        )
    return ", and ".join(reasons)
