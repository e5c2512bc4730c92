"""Finished studies, trained in this process without a driver and its Ray; what they leave on disk is the real thing."""

from pathlib import Path

from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.distill.teacher_records import read_record
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.storage.root import Root
from kd_sweep.study.extra_metrics import extra_columns
from kd_sweep.study.file.frozen import SPEC_FILE, frozen_yaml
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.writer import StudyWriter
from tests.distill.trials import run


def train_study(root: Path, text: str) -> StudySpec:
    """Train every trial of a study, one after another, and write its tables; return the study as it was launched."""
    spec = checked(parse_spec(text, "s.yaml"), say=print)
    planned = planned_trials(spec)
    best_by = spec.objectives[0] if spec.checkpoints.best else None
    with StudyWriter(Root.open(root), spec.name, metrics=extra_columns(spec.metrics.extra)) as writer:
        recorder = Recorder(writer, spec, lambda config: [])
        frozen = frozen_yaml(spec, {})
        recorder.frozen(frozen)
        recorder.study(len(planned), "completed")
        for trial in planned:
            config = trial.config
            recorder.started(config)
            for row in run(config, root, root / spec.name / CHECKPOINTS / config.trial_id, best_by=best_by):
                recorder.epoch(config.trial_id, EpochReport.of_row(row))
            recorder.ended(config.trial_id, "completed")
            for record in [read_record(root, teacher.teacher_id) for teacher in config.needed_teachers]:
                assert record is not None
                recorder.teacher(record)
    StudyFolder(root, spec.name).write_plugins(spec)
    (root / spec.name / SPEC_FILE).write_text(frozen)
    return spec
