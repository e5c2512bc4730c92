"""One trial of a study in this process, without Ray: for a debugger, a profiler, a first look."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from kd_sweep.api.study import Study
from kd_sweep.data.dataset_cache import dataset_cache_dir
from kd_sweep.driver.events import (
    Event,
    Progress,
    TeacherBegan,
    TeacherEpoch,
    TeachersBegan,
    TeacherTrained,
    Told,
    TrialBegan,
    TrialEnded,
    TrialEpoch,
    TrialsBegan,
)
from kd_sweep.driver.pace import describe_teacher
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.errors import SpecError, alternatives
from kd_sweep.storage.root import Location, Root
from kd_sweep.storage.temporary_folders import scratch_folder
from kd_sweep.study.space.points import is_finite, planned_trials, trial_config
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig

TrialName = int | str | Mapping[str, Any]
"""Which trial of a study: its index in the plan, from 0; its id, or a beginning of it; or a value for each searched
field, by its name."""


def run_trial(
    study: Study,
    trial: TrialName,
    *,
    root: Location | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run one trial in this process and return its rows. Breakpoints work: no other process takes part.

    No table and no checkpoint is written, neither here nor in a study of that name, and what a study has done of the
    trial is not used. On a CPU the metrics are those that a launch would record, bit for bit.

    Args:
        study: the study.
        trial: which of its trials.
        root: a results root whose teachers are used, and that keeps those that are missing and trained now, with their
            outputs, as a launch does. None takes a temporary folder, which is deleted at the end.
        device: `cpu`, `cuda` or `cuda:1`; what the study's `resources.gpus` asks for when None.
        progress: is told of every event (`kd_sweep.driver.events`); what it raises ends the trial.

    Returns:
        For each epoch: `epoch`, from 1, every metric (None without a meaning), `learning_rate`, `epoch_s` (seconds),
        `train_images_per_s`.

    Raises:
        UserError: the study, its dataset or its models are wrong, or it has no such trial. One line.
        NonFiniteError: a loss or a metric became NaN or infinite.
    """
    tell = progress or _silent
    with ExitStack() as stack:
        storage = Root.named(stack.enter_context(scratch_folder("trial")) if root is None else root)
        contents: list[str] = []
        spec = checked(study.spec, dataset_cache_dir(storage), say=contents.append)
        config = find_trial(spec, trial)
        device = _device(device or ("cuda" if spec.resources.gpus else "cpu"))
        for line in contents:
            tell(Told(line))
        _train_teachers(config, storage, device, spec.resources.cpus, tell)
        return _epochs(config, storage, device, spec.resources.cpus, tell, keep=root is not None)


def find_trial(spec: StudySpec, trial: TrialName) -> TrialConfig:
    """Return a trial of a study, whose dataset has been resolved: ids depend on the images.

    Raises:
        SpecError: it has no such trial, or several ids begin so. One line with what is possible.
    """
    if not isinstance(trial, int | str | Mapping):
        raise SpecError(f"trial: {trial!r} is not a trial; possible: an index, an id, a value for each searched field")
    if isinstance(trial, Mapping):
        if stranger := next((name for name in trial if name not in spec.search), None):
            raise SpecError(f"trial: {stranger!r} is not searched by study {spec.name!r}; {_searched(spec)}")
        if missing := next((name for name in spec.search if name not in trial), None):
            raise SpecError(f"trial: {missing} is missing; {_searched(spec)}")
        return trial_config(spec, trial)
    if not is_finite(spec):
        raise SpecError(
            f"trial: {trial!r} is not known, since sampler {spec.sampler.name} chooses trials as it goes; possible: a "
            f"value for each searched field, or --set sampler.name=grid or random ({_searched(spec)})"
        )
    planned = planned_trials(spec)
    if isinstance(trial, str) and trial.isdecimal() and str(int(trial)) == trial and int(trial) < len(planned):
        trial = int(trial)
    if isinstance(trial, int):
        if not 0 <= trial < len(planned):
            raise SpecError(f"trial: {trial} is not an index of study {spec.name!r}; possible: 0 to {len(planned) - 1}")
        return planned[trial].config
    matching = [one for one in planned if trial and one.trial_id.startswith(trial)]
    if len(matching) != 1:
        what = f"is the beginning of {len(matching)} trials" if matching else "is no trial"
        ids = [one.trial_id for one in matching or planned]
        raise SpecError(f"trial: {trial!r} {what} of study {spec.name!r}; {alternatives(trial, ids, limit=4)}")
    return matching[0].config


def _device(device: str) -> str:
    """Return a device as torch names it; `ClusterError` where there is none of that name."""
    from kd_sweep.distill.compute import resolve_device

    return str(resolve_device(device))


def _searched(spec: StudySpec) -> str:
    return f"searched: {', '.join(spec.search) or 'nothing'}"


def _train_teachers(config: TrialConfig, root: Root, device: str, num_threads: int, tell: Progress) -> None:
    from kd_sweep.distill.teacher_records import teacher_record
    from kd_sweep.distill.teachers import ensure_teacher

    teachers = list({teacher.teacher_id: teacher for teacher in config.needed_teachers}.values())
    missing = [teacher for teacher in teachers if teacher_record(root, teacher.teacher_id) is None]
    tell(TeachersBegan(len(teachers), tuple(teacher.epochs for teacher in missing)))
    for teacher in missing:
        teacher_id, label = teacher.teacher_id, describe_teacher(teacher)
        tell(TeacherBegan(teacher_id, label, teacher.epochs))

        def on_epoch(row: Mapping[str, Any], teacher_id: str = teacher_id) -> None:
            tell(TeacherEpoch(teacher_id, row["epoch"]))

        trained = ensure_teacher(teacher, root, device=device, num_threads=num_threads, on_epoch=on_epoch)
        tell(TeacherTrained(teacher_id, label, trained.record.val_accuracy))


def _epochs(
    config: TrialConfig, root: Root, device: str, num_threads: int, tell: Progress, *, keep: bool
) -> list[dict[str, Any]]:
    from kd_sweep.distill.trial import trial_epochs

    tell(TrialsBegan(total=1, done=0))
    tell(TrialBegan(config.trial_id, config, epochs_done=0))
    rows: list[dict[str, Any]] = []
    for row in trial_epochs(
        config, root=root, checkpoint_dir=None, device=device, num_threads=num_threads, cache_logits=keep
    ):
        rows.append(dict(row))
        tell(TrialEpoch(config.trial_id, row["epoch"], EpochReport.of_row(row).metrics))
    tell(TrialEnded(config.trial_id, "completed"))
    return rows


def _silent(event: Event) -> None:
    pass
