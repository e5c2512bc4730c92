"""The run of a study's outstanding teachers and trials on a connected Ray, each in the processes of the others."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain, groupby
from typing import Any

from ray import tune

from kd_sweep.driver.budgets.hour_budget import HoursAreUp
from kd_sweep.driver.events import Progress, SeedsJudged, TeachersBegan, TrialsBegan, WorkCounted
from kd_sweep.driver.interrupts import Interrupt
from kd_sweep.driver.ray.connection import Cluster, ray_resources
from kd_sweep.driver.ray.lost_processes import MAX_LOSSES
from kd_sweep.driver.ray.private import other_deaths_are_an_actors, starting_actors_kept, uncounted_callbacks
from kd_sweep.driver.ray.ray_settings import MAX_PENDING_TRIALS, environment
from kd_sweep.driver.study_state import StudyState, Work
from kd_sweep.driver.tune.callbacks import SweepCallback
from kd_sweep.driver.tune.lock_step.shared_process import SharedProcesses
from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.tune.stopping import InOrder, RuleScheduler
from kd_sweep.driver.tune.teachers_first import TeacherQueue, missing_teachers, record_teachers
from kd_sweep.driver.tune.trainable import TrialActor
from kd_sweep.driver.tune.trial_sources import GrowingSource, KnownTrial, PlannedSource, Source, beside_each_other
from kd_sweep.driver.worker_messages import WorkerSettings
from kd_sweep.storage.temporary_folders import scratch_folder
from kd_sweep.study.space.points import is_finite
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TeacherConfig, TrialConfig
from kd_sweep.tables.schema import ENDED, FINISHED
from kd_sweep.waiting import doing


def sweep(state: StudyState, cluster: Cluster, progress: Progress, interrupt: Interrupt) -> None:
    """Run everything that is outstanding, or as much as the hours allow; what has ended is recorded on return.

    Args:
        state: the locked study.
        cluster: the Ray that this process is connected to.
        progress: is told of every event.
        interrupt: set by a signal; then `SweepInterrupted` comes out of here at the next safe point.
    """
    with suppress(HoursAreUp):
        _run(state, cluster, progress, interrupt)


def _run(state: StudyState, cluster: Cluster, progress: Progress, interrupt: Interrupt) -> None:
    spec, recorder, work = state.spec, state.recorder, state.work
    settings = _settings(state)
    with doing("searching for trained teachers"):
        finished = sum(recorder.status(trial_id) in FINISHED for trial_id in recorder.trials())
        progress(WorkCounted(work.trial_epochs(spec, recorder.last_epoch), recorder.trial_cost()))
        teachers = work.teachers
        missing = missing_teachers(teachers, state.folder.storage.location, recorder)
    interrupt.watch(state.hours.check)
    progress(TeachersBegan(len(teachers), tuple(teacher.epochs for teacher in missing)))
    queue = TeacherQueue(lambda: progress(TrialsBegan(total=finished + work.size, done=finished)))
    objectives = tuple(objective.metric for objective in spec.objectives)
    if state.added_seeds is None:
        queue.add(missing)
        source = source_of(state)
    else:
        source = growing_source(state, queue, missing, progress)
    searcher = TuneSearcher(source, settings, objectives, recorder.last_epoch, queue)
    processes = SharedProcesses(spec.resources, min(work.size, spec.max_concurrent_trials or work.size))
    callback = SweepCallback(
        recorder,
        progress,
        interrupt,
        spec.retries,
        state.checkpoints,
        state.caches,
        lambda config: record_teachers(config.needed_teachers, state.folder.storage, recorder),
        processes.start,
    )
    interrupt.watch(searcher.check)
    scheduler = InOrder()
    if state.judge is not None:
        scheduler = RuleScheduler(state.judge)
        interrupt.watch(scheduler.check)
    _tune(spec, cluster, searcher, scheduler, callback)


def _tune(
    spec: StudySpec, cluster: Cluster, searcher: TuneSearcher, scheduler: InOrder, callback: SweepCallback
) -> None:
    at_once = cluster.at_once(spec.resources, spec.max_concurrent_trials)
    # Where Ray finds out how many there is room for, so many may wait for a free slot; a sampler that learns should
    # not run ahead of results.
    waiting = {MAX_PENDING_TRIALS: "16" if is_finite(spec) else "1"} if at_once is None else {}
    with ExitStack() as stack:
        stack.enter_context(environment(waiting))
        stack.enter_context(other_deaths_are_an_actors())
        stack.enter_context(starting_actors_kept())
        stack.enter_context(uncounted_callbacks())
        # Tune keeps logs of its own while it runs; nothing of ours is in them.
        scratch = stack.enter_context(scratch_folder("tune"))
        tune.Tuner(
            tune.with_resources(TrialActor, _request(spec.resources)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=spec.name,
                storage_path=str(scratch),
                callbacks=[callback],
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MAX_LOSSES),
                verbose=0,
                progress_reporter=tune.CLIReporter(),  # else Tune shows an empty table in a notebook
            ),
        ).fit()


def _settings(state: StudyState) -> WorkerSettings:
    spec = state.spec
    return WorkerSettings(
        root=state.folder.storage.location,
        study=spec.name,
        device="cuda" if spec.resources.gpus else "cpu",
        num_threads=spec.resources.cpus,
        plugins=spec.plugins,
        plugins_digest=spec.plugins_digest,
        best_by=spec.objectives[0] if spec.checkpoints.best else None,
        lock_step=spec.resources.lock_step,
    )


def source_of(state: StudyState) -> Source:
    """Return where the study's outstanding trials come from."""
    spec, work = state.spec, state.work
    if is_finite(spec):
        return PlannedSource(_in_order(spec, chain(work.unfinished, (trial.config for trial in work.new))))
    from kd_sweep.driver.tune.optuna_source import OptunaSource  # loads Optuna, which a grid does without

    rows = state.recorder.trials()
    known = [
        KnownTrial(
            config,
            finished=rows[trial_id]["status"] in FINISHED,
            values=state.recorder.objectives_of(trial_id),
            number=rows[trial_id].get("suggestion"),
            generation=rows[trial_id].get("generation"),
        )
        for trial_id, config in state.known.items()
    ]
    return OptunaSource(spec, known, work.adaptive)


def growing_source(
    state: StudyState, queue: TeacherQueue, missing: Iterable[TeacherConfig], progress: Progress
) -> GrowingSource:
    """Return the outstanding trials of a study with adaptive seeds, and those of seeds that are added later.

    Args:
        state: the locked study.
        queue: where the missing teachers of a seed go, once all trials of the seed before are handed out.
        missing: those of the outstanding trials.
        progress: is told of what is decided.
    """
    spec, work, recorder, added = state.spec, state.work, state.recorder, state.added_seeds
    assert added is not None

    def grow() -> Iterable[TrialConfig]:
        new = state.more_work().new
        teachers = Work([], new, 0, 0).teachers
        missing = missing_teachers(teachers, state.folder.storage.location, recorder)
        queue.add(missing)
        epochs = tuple(teacher.epochs for teacher in missing)
        progress(SeedsJudged(str(added.decision), len(new), len(teachers), epochs))
        return _in_order(spec, (trial.config for trial in new))

    begun = chain(work.unfinished, (trial.config for trial in work.new))
    outstanding = _seed_by_seed(spec, begun, missing, queue, added.say_complete)
    return GrowingSource(outstanding, grow, lambda trial_id: recorder.status(trial_id) in ENDED)


def _seed_by_seed(
    spec: StudySpec,
    trials: Iterable[TrialConfig],
    missing: Iterable[TeacherConfig],
    queue: TeacherQueue,
    before_each: Callable[[], None],
) -> Iterator[TrialConfig]:
    """Yield trials in their order; the missing teachers of a seed are queued before its first."""
    waiting = {teacher.teacher_id: teacher for teacher in missing}
    for _, group in groupby(trials, lambda trial: trial.seed):
        of_seed = list(group)
        needed = {teacher.teacher_id for trial in of_seed for teacher in trial.needed_teachers}
        queue.add([waiting.pop(teacher_id) for teacher_id in list(waiting) if teacher_id in needed])
        for trial in _in_order(spec, of_seed):
            before_each()
            yield trial


def _in_order(spec: StudySpec, trials: Iterable[TrialConfig]) -> Iterable[TrialConfig]:
    """Return trials in the order in which they start: those of one stream together where their students learn so."""
    return beside_each_other(trials) if spec.resources.lock_step else trials


def _request(resources: Any) -> dict[str, float]:
    requested = ray_resources(resources)
    return {"cpu": requested.pop("CPU", 0.0), "gpu": requested.pop("GPU", 0.0)} | requested
