"""Stored studies without training: frozen, with rows of trials, epochs and a searched column."""

from pathlib import Path

from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.study.file.load import parse_spec
from tests.driver.reports import report_of

SPEC = """
student: {epochs: 2}
teacher: {epochs: 1}
search:
  seed: {grid: [0, 1]}
  distillation.temperature: {grid: [1.0, 4.0]}
"""


def store_study(root: Path, name: str) -> Path:
    """Write a study of four trials, one of them finished and one begun, and return its folder."""
    spec = checked(parse_spec(f"name: {name}{SPEC}", "s"), say=lambda _: None)
    with StudyState(spec, StudyFolder(root, name)) as state:
        first, second, *_ = (planned.config for planned in state.work.new)
        for trial, epochs in ((first, 2), (second, 1)):
            state.recorder.started(trial)
            for epoch in range(1, epochs + 1):
                state.recorder.epoch(trial.trial_id, report_of(epoch))
                state.recorder.write_now()
        state.recorder.ended(first.trial_id, "completed")
    checkpoint = root / name / "checkpoints" / second.trial_id / "last-00000001.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    return root / name
