"""Teachers' answers under a limit: which go, and which stay for the trials that will read them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.distill.logit_files import LOGITS
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from tests.driver.reports import report_of

STUDY = """
name: limited
student: {epochs: 4}
search:
  seed: {grid: [0, 1]}
  distillation.alpha: {grid: [0.1, 0.5]}
caches: {max_bytes: 5000}
"""
SIZE = 1000


@pytest.fixture
def spec() -> StudySpec:
    return parse_spec(STUDY, "limited.yaml")


@pytest.fixture
def state(spec: StudySpec, tmp_path: Path) -> Iterator[StudyState]:
    with StudyState(spec, StudyFolder(tmp_path, "limited")) as state:
        yield state


def answer(state: StudyState, config: TrialConfig, *epochs: int) -> None:
    """Keep a teacher's answers to some epochs of the images of a trial's student."""
    stream = f"{LOGITS}/{config.teachers[0].teacher_id}/{config.stream.stream_id}"
    for epoch in epochs:
        state.folder.storage.write_bytes(f"{stream}/epoch-{epoch:05}.safetensors", bytes(SIZE))


def kept(state: StudyState, config: TrialConfig) -> list[int]:
    stream = f"{LOGITS}/{config.teachers[0].teacher_id}/{config.stream.stream_id}"
    return [int(name[6:11]) for name in state.folder.storage.files(stream)]


def run(state: StudyState, config: TrialConfig, epochs: int) -> None:
    for epoch in range(state.recorder.last_epoch(config.trial_id) + 1, epochs + 1):
        state.recorder.epoch(config.trial_id, report_of(epoch))


def begin(state: StudyState) -> list[TrialConfig]:
    """Start the two trials of seed 0, which share one stream of images; return all four."""
    configs = [trial.config for trial in state.work.new]
    assert [config.seed for config in configs] == [0, 0, 1, 1]
    assert configs[0].stream == configs[1].stream
    for config in configs[:2]:
        state.recorder.started(config)
    return configs


def test_answers_that_fit_stay(state: StudyState) -> None:
    first, _, third, _ = begin(state)
    answer(state, first, 1, 2, 3)
    answer(state, third, 1, 2)
    state.caches.enforce()
    assert (kept(state, first), kept(state, third)) == ([1, 2, 3], [1, 2])


def test_the_last_epochs_that_every_running_trial_has_behind_it_go_first(state: StudyState) -> None:
    first, second, _, _ = begin(state)
    run(state, first, 4)
    run(state, second, 3)
    answer(state, first, 1, 2, 3, 4, 5, 6, 7)
    state.caches.enforce()
    # Two of seven are too much. Epoch 4 and those after lie before the second trial.
    assert kept(state, first) == [1, 4, 5, 6, 7]


def test_what_running_trials_are_about_to_read_stays_whatever_the_limit(state: StudyState) -> None:
    first, _, third, _ = begin(state)
    answer(state, first, 1, 2, 3, 4, 5, 6)
    state.caches.enforce()
    assert kept(state, first) == [1, 2, 3, 4, 5, 6]
    answer(state, third, 1, 2)
    state.caches.enforce()
    assert (kept(state, first), kept(state, third)) == ([1, 2, 3, 4, 5, 6], [])  # no trial of seed 1 runs yet


def test_answers_that_no_trial_will_read_go_before_all_others(state: StudyState) -> None:
    first, second, third, _ = begin(state)
    for config in (first, second):
        run(state, config, 4)
        state.recorder.ended(config.trial_id, "completed")
    answer(state, first, 1, 2, 3, 4)
    answer(state, third, 1, 2, 3)
    state.caches.enforce()
    assert (kept(state, first), kept(state, third)) == ([3, 4], [1, 2, 3])
    other = f"{LOGITS}/of-another-study/stream/epoch-00001.safetensors"
    state.folder.storage.write_bytes(other, bytes(5 * SIZE))
    state.caches.enforce()
    assert (kept(state, first), kept(state, third)) == ([], [1, 2, 3])
    assert not state.folder.storage.exists(other)


def test_answers_on_clean_images_and_files_of_others_stay(state: StudyState) -> None:
    first = begin(state)[0]
    folder = f"{LOGITS}/{first.teachers[0].teacher_id}"
    names = [f"{folder}/clean-grad_cam.safetensors", f"{folder}/note.txt", f"{folder}/stream/epoch-one.safetensors"]
    for name in names:
        state.folder.storage.write_bytes(name, bytes(9 * SIZE))
    state.caches.enforce()
    assert all(state.folder.storage.exists(name) for name in names)


def test_a_limit_holds_from_the_next_launch_and_after_a_run(spec: StudySpec, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "limited")
    unlimited = spec.model_copy(update={"caches": spec.caches.model_copy(update={"max_bytes": None})})
    with StudyState(unlimited, folder) as state:
        first, *_ = configs = begin(state)
        for config in configs:
            state.recorder.started(config)
            run(state, config, 4)
            state.recorder.ended(config.trial_id, "completed")
        answer(state, first, *range(1, 9))
        state.caches.enforce()
        assert len(kept(state, first)) == 8
    with StudyState(spec, folder) as state:
        assert not state.work
        assert kept(state, first) == [4, 5, 6, 7, 8]
        answer(state, first, 1, 2)
        state.finish()
        assert len(kept(state, first)) == 5
