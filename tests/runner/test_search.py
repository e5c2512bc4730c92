import json

import pytest

from kd_sweep.runner.search import KnownTrial, OptunaSource
from kd_sweep.study.load import parse_spec
from kd_sweep.study.spec import StudySpec


def study(
    search: str, sampler: str = "{name: tpe, num_trials: 30, num_startup_trials: 5}", more: str = ""
) -> StudySpec:
    return parse_spec(f"name: s\nsearch: {search}\nsampler: {sampler}\n{more}", "s.yaml")


def drain(source: OptunaSource, value: float = 0.5) -> list[str]:
    ids = []
    while (trial := source.next()) is not None:
        ids.append(trial.trial_id)
        source.tell(trial, (value,))
    return ids


def test_a_small_space_is_exhausted_without_repeats() -> None:
    ids = drain(
        OptunaSource(study("{ensemble_size: {grid: [1, 2, 3]}, augmentation_strength: {choice: [0, 1]}}"), [], 30)
    )
    assert len(ids) == len(set(ids)) == 6


def test_num_trials_counts_distinct_trials_known_ones_included() -> None:
    spec = study("{augmentation_strength: {uniform: [0, 1]}}")
    first = OptunaSource(spec, [], 4)
    known = []
    while (trial := first.next()) is not None:
        first.tell(trial, (trial.augmentation_strength,))
        known.append(KnownTrial(trial, finished=True, values=(trial.augmentation_strength,)))
    assert len(known) == 4
    assert OptunaSource(spec, known, 4).next() is None
    more = drain(OptunaSource(spec, known, 7))
    assert len(more) == 3
    assert not set(more) & {trial.config.trial_id for trial in known}


def test_unfinished_trials_come_first() -> None:
    spec = study("{augmentation_strength: {uniform: [0, 1], step: 0.05}, ensemble_size: {int: [1, 3]}}")
    trial = OptunaSource(spec, [], 1).next()
    assert trial is not None
    again = OptunaSource(spec, [KnownTrial(trial, finished=False, values=None)], 2)
    assert again.next() == trial


def test_a_known_trial_outside_the_narrowed_space_is_run_to_its_end() -> None:
    wide, narrow = (
        study("{augmentation_strength: {uniform: [0.5, 1]}}"),
        study("{augmentation_strength: {uniform: [0, 0.1]}}"),
    )
    trial = OptunaSource(wide, [], 1).next()
    assert trial is not None
    source = OptunaSource(narrow, [KnownTrial(trial, finished=False, values=None)], 2)
    assert source.next() == trial
    source.tell(trial, (0.1,))
    following = source.next()
    assert following is not None
    assert following.augmentation_strength <= 0.1


def test_an_unfinished_trial_outside_the_space_counts_among_num_trials() -> None:
    wide, narrow = (
        study("{augmentation_strength: {uniform: [0.5, 1]}}"),
        study("{augmentation_strength: {uniform: [0, 0.1]}}"),
    )
    left = OptunaSource(wide, [], 1).next()
    assert left is not None
    known = [KnownTrial(spec_trial(narrow, index / 100), True, (0.5,)) for index in range(9)]
    source = OptunaSource(narrow, [*known, KnownTrial(left, finished=False, values=None)], 10)
    assert source.next() == left
    assert source.next() is None
    source.tell(left, (0.1,))
    assert source.next() is None


def test_tpe_learns_from_the_tables() -> None:
    """After 25 known trials whose value peaks at 0.8, suggestions crowd there; random ones would not."""
    spec = study("{augmentation_strength: {uniform: [0, 1]}}", "{name: tpe, num_trials: 60, num_startup_trials: 5}")
    known = [
        KnownTrial(trial, True, (-abs(trial.augmentation_strength - 0.8),))
        for trial in (spec_trial(spec, index / 25) for index in range(25))
    ]
    source = OptunaSource(spec, known, 37)
    strengths = []
    while (trial := source.next()) is not None:
        strengths.append(trial.augmentation_strength)
        source.tell(trial, (-abs(trial.augmentation_strength - 0.8),))
    assert len(strengths) == 12
    assert sum(abs(strength - 0.8) < 0.2 for strength in strengths) >= 8


def spec_trial(spec: StudySpec, strength: float):
    from kd_sweep.study.space import trial_config

    return trial_config(spec, {"augmentation_strength": strength})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_several_objectives(sampler: str) -> None:
    more = "objectives: " + json.dumps(
        [{"metric": "val_accuracy", "mode": "max"}, {"metric": "train_loss", "mode": "min"}]
    )
    spec = study("{augmentation_strength: {uniform: [0, 1]}}", f"{{name: {sampler}, num_trials: 8}}", more)
    source = OptunaSource(spec, [], 8)
    count = 0
    while (trial := source.next()) is not None:
        source.tell(trial, (trial.augmentation_strength, 1 - trial.augmentation_strength) if count % 3 else None)
        count += 1
    assert count == 8


def test_teachers_and_student_with_strengths_of_their_own() -> None:
    lists = "teacher_strengths: {choice: [[0.0], [1.0], [0.0, 1.0]]}"
    spec = study(f"{{{lists}, student_strength: {{grid: [0.0, 1.0]}}}}")
    ids = drain(OptunaSource(spec, [], 30))
    assert len(ids) == len(set(ids)) == 6
    source = OptunaSource(spec, [], 30)
    done = [KnownTrial(source.next(), True, (0.5,)) for _ in range(4)]  # type: ignore[arg-type]
    rest = drain(OptunaSource(spec, done, 30))
    assert sorted(rest) == sorted(set(ids) - {trial.config.trial_id for trial in done})
