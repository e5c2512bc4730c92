"""What a plan says of a study that has begun, with tables and teachers on disk and no training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_sweep.distill.teacher_records import TeacherRecord, write_record
from kd_sweep.driver.estimate import make_plan
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import trial_config
from kd_sweep.study.trial import TeacherConfig, TrialConfig
from tests.driver.reports import report_of

GRID = {"augmentation_strength": {"grid": [0, 0.5]}, "ensemble_size": {"grid": [1, 2]}}
SHORT: dict[str, Any] = {"name": "s", "student": {"epochs": 1}, "teacher": {"epochs": 1}}


def record_of(teacher: TeacherConfig) -> TeacherRecord:
    numbers = {
        "epochs": 1,
        "val_accuracy": 0.5,
        "train_accuracy": 0.5,
        "num_parameters": 1,
        "train_s": 3600.0,
        "pid": 1,
    }
    texts = {"finished_at": "2030-01-01T00:00:00+00:00", "host": "a", "sha256": ""}
    return TeacherRecord(teacher_id=teacher.teacher_id, config=teacher, history=(), versions={}, **numbers, **texts)  # type: ignore[arg-type]


def finish(state: StudyState, trial: TrialConfig) -> None:
    state.recorder.started(trial)
    state.recorder.epoch(trial.trial_id, report_of(1, epoch_s=7200.0))
    state.recorder.ended(trial.trial_id, "completed")


def described(content: dict[str, Any], root: Path) -> list[str]:
    return list(make_plan(parse_spec(json.dumps(SHORT | content), "s"), root, 1, probe=False).lines())


def test_a_plan_subtracts_what_the_root_has(tmp_path: Path) -> None:
    content = {"search": GRID}
    assert not [line for line in described(content, tmp_path) if line.startswith("done already")]
    spec = checked(parse_spec(json.dumps(SHORT | content), "s"), say=print)
    with StudyState(spec, StudyFolder(tmp_path, "s")) as state:
        trials = [planned.config for planned in state.work.new]
        for trial in trials[:2]:
            finish(state, trial)
        state.recorder.started(trials[2])
        for teacher in trials[1].teachers:
            write_record(state.folder.storage, record_of(teacher), term=1)
            state.recorder.teacher(record_of(teacher))
    lines = described(content, tmp_path)
    assert lines[0] == "study s: 4 trials, 4 teachers"
    assert lines[1] == "done already: 2 of the trials, 2 of the teachers"
    # Two teachers of an hour, two trials of two hours.
    assert lines[-1].startswith("time: about 6.0 hours for the rest with 1 at a time")
    shared = parse_spec(json.dumps(SHORT | content | {"resources": {"lock_step": True}}), "s")
    planned = make_plan(shared, tmp_path, 4, probe=False)
    assert "time: about 5.0 hours for the rest with 4 at a time, students in lock step in 1 process (" in str(planned)
    assert described(content | {"name": "other"}, tmp_path)[1] == "done already: 0 of the trials, 2 of the teachers"


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_of_a_sampler_that_adapts_only_trials_in_the_space_are_done(sampler: str, tmp_path: Path) -> None:
    content = {"search": {"augmentation_strength": {"uniform": [0, 1]}}, "sampler": {"name": sampler, "num_trials": 5}}
    spec = checked(parse_spec(json.dumps(SHORT | content), "s"), say=print)
    with StudyState(spec, StudyFolder(tmp_path, "s")) as state:
        for strength in (0.2, 0.4, 0.9):
            finish(state, trial_config(spec, {"augmentation_strength": strength}))
    assert described(content, tmp_path)[1].startswith("done already: 3 of the trials")
    content["search"] = {"augmentation_strength": {"uniform": [0, 0.5]}}
    assert described(content, tmp_path)[1].startswith("done already: 2 of the trials")


def test_a_study_without_gpus_is_tried_on_the_cpu_as_a_launch_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"width": 2, "epochs": 1}
    data = {"image_size": 8, "max_train_images": 20, "max_val_images": 20}
    content = {"name": "s", "data": data, "teacher": small, "student": small}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    tried = make_plan(parse_spec(json.dumps(content), "s"), tmp_path, 1, probe=True).estimate
    assert tried is not None
    assert tried.source == "from a short probe on this machine"
    assert tried.hours > 0
