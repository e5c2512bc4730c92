"""Checkpoints under a limit: which ones go, and what is on disk by then. A sweep under one is in test_garbage.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.distill.checkpoints import BEST, CHECKPOINTS, LAST
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.storage.terms import of_term
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.reader import open_results
from tests.driver.reports import report_of

STUDY = """
name: limited
student: {epochs: 2}
search:
  seed: {grid: [0, 1, 2, 3, 4]}
objectives: [{metric: val_loss, mode: min}]
checkpoints: {max_bytes: 2500}
"""
SIZE = 1000


@pytest.fixture
def spec() -> StudySpec:
    return parse_spec(STUDY, "limited.yaml")


@pytest.fixture
def state(spec: StudySpec, tmp_path: Path) -> Iterator[StudyState]:
    with StudyState(spec, StudyFolder(tmp_path, "limited")) as state:
        yield state


def planned(state: StudyState) -> list[TrialConfig]:
    return [trial.config for trial in state.work.new]


def put_checkpoint(state: StudyState, config: TrialConfig, name: str = LAST, size: int = SIZE) -> None:
    state.folder.study.write_bytes(f"{CHECKPOINTS}/{config.trial_id}/{of_term(name, 1)}", bytes(size))


def start(state: StudyState, config: TrialConfig) -> None:
    state.recorder.started(config)
    put_checkpoint(state, config)


def finish(state: StudyState, config: TrialConfig, val_loss: float, status: str = "completed") -> None:
    for epoch in (1, 2):
        state.recorder.epoch(config.trial_id, report_of(epoch, val_loss=val_loss))
    state.recorder.ended(config.trial_id, status)
    state.checkpoints.trial_ended(config.trial_id)


def kept(state: StudyState) -> set[str]:
    return set(state.folder.study.folders(CHECKPOINTS))


def test_the_worst_finished_trials_lose_theirs(state: StudyState) -> None:
    first, second, third, fourth, fifth = planned(state)
    for config in (first, second):
        start(state, config)
    finish(state, first, val_loss=0.3)
    assert kept(state) == {first.trial_id, second.trial_id}
    start(state, third)
    finish(state, second, val_loss=0.1)
    assert kept(state) == {second.trial_id, third.trial_id}, "the larger loss went, the running trial's stayed"
    start(state, fourth)
    finish(state, third, val_loss=0.2, status="stopped")
    assert kept(state) == {second.trial_id, fourth.trial_id}
    start(state, fifth)
    finish(state, fourth, val_loss=0.05)
    assert kept(state) == {fourth.trial_id, fifth.trial_id}
    assert state.checkpoints.shortage() is None


def test_what_unfinished_trials_need_stays(state: StudyState) -> None:
    first, second, third, _, _ = planned(state)
    for config in (first, second, third):
        start(state, config)
    put_checkpoint(state, first, BEST)
    state.recorder.ended(first.trial_id, "failed", "RuntimeError: no")
    state.checkpoints.trial_ended(first.trial_id)
    assert kept(state) == {config.trial_id for config in (first, second, third)}
    finish(state, third, val_loss=0.1)
    assert kept(state) == {first.trial_id, second.trial_id}
    shortage = state.checkpoints.shortage()
    assert shortage == "checkpoints.max_bytes: what unfinished trials go on from takes 3.0KB, more than 2.5KB"


def test_the_tables_are_on_disk_before_a_checkpoint_goes(state: StudyState, tmp_path: Path) -> None:
    configs = planned(state)[:3]
    for config in configs:
        start(state, config)
    for loss, config in enumerate(configs):
        finish(state, config, val_loss=float(loss))
    (gone,) = {config.trial_id for config in configs} - kept(state)
    found = open_results(tmp_path).sql(f"SELECT count(*) AS n FROM epochs WHERE trial_id = '{gone}'")
    assert found.to_pylist() == [{"n": 2}]


def test_a_smaller_limit_holds_from_the_next_launch(spec: StudySpec, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "limited")
    unlimited = spec.model_copy(update={"checkpoints": spec.checkpoints.model_copy(update={"max_bytes": None})})
    with StudyState(unlimited, folder) as state:
        configs = planned(state)
        for loss, config in enumerate(configs):
            start(state, config)
            finish(state, config, val_loss=float(loss))
        assert len(kept(state)) == 5
    with StudyState(spec, folder) as state:
        assert not state.work
        assert kept(state) == {config.trial_id for config in configs[:2]}
