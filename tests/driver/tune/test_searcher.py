import json

import pytest

from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.driver.tune.trial_sources import KnownTrial, Suggestion
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import grid_points, trial_config
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig


def study(
    search: str, sampler: str = "{name: tpe, num_trials: 30, num_startup_trials: 5}", more: str = ""
) -> StudySpec:
    return parse_spec(f"name: s\nsearch: {search}\nsampler: {sampler}\n{more}", "s.yaml")


def drain(source: OptunaSource, value: float = 0.5) -> list[str]:
    ids = []
    while (suggestion := source.next()) is not None:
        ids.append(suggestion.trial.trial_id)
        source.tell(suggestion.trial, (value,))
    return ids


def first_of(spec: StudySpec) -> TrialConfig:
    suggestion = OptunaSource(spec, [], 1).next()
    assert suggestion is not None
    return suggestion.trial


def test_a_small_space_is_exhausted_without_repeats() -> None:
    ids = drain(
        OptunaSource(study("{ensemble_size: {grid: [1, 2, 3]}, augmentation_strength: {choice: [0, 1]}}"), [], 30)
    )
    assert len(ids) == len(set(ids)) == 6


def test_ensembles_and_fields_of_their_entries_are_suggested_and_known_again() -> None:
    for search, more, size in (
        ("{teacher_models: {choice: [[resnet8], [wrn-16-2], [resnet8, wrn-16-2]]}}", "", 3),
        ("{ensemble_size: {int: [2, 4]}, teachers.1.epochs: {int: [3, 5]}}", "teachers: [{}, {model: wrn-16-2}]", 9),
    ):
        spec = study(search, more=more)
        trials = []
        source = OptunaSource(spec, [], 30)
        while (suggestion := source.next()) is not None:
            trials.append(suggestion.trial)
            source.tell(suggestion.trial, (0.5,))
        assert len({trial.trial_id for trial in trials}) == size
        known = [KnownTrial(trial, True, (0.5,)) for trial in trials]
        assert OptunaSource(spec, known, 30).next() is None


def test_what_is_suggested_is_new() -> None:
    spec = study("{augmentation_strength: {grid: [0, 0.2, 0.4, 0.6, 0.8, 1]}, ensemble_size: {int: [1, 2]}}")
    known = [KnownTrial(trial_config(spec, point), True, (0.5,)) for point in list(grid_points(spec))[:4]]
    assert OptunaSource(spec, known, 0).next() is None
    more = drain(OptunaSource(spec, known, 7))
    assert len(set(more)) == 7
    assert not set(more) & {trial.config.trial_id for trial in known}
    assert len(drain(OptunaSource(spec, known, 100))) == 8


def test_a_large_space_is_exhausted_to_its_last_point() -> None:
    """Random draws would hardly find the last of 3,000 points."""
    spec = study("{ensemble_size: {int: [1, 3]}, student.epochs: {int: [1, 1000]}}")
    points = list(grid_points(spec))
    del points[1234]
    known = [KnownTrial(trial_config(spec, point), finished=True, values=None) for point in points]
    assert len(drain(OptunaSource(spec, known, 5))) == 1


def test_unfinished_trials_come_first() -> None:
    spec = study("{augmentation_strength: {uniform: [0, 1], step: 0.05}, ensemble_size: {int: [1, 3]}}")
    trial = first_of(spec)
    again = OptunaSource(spec, [KnownTrial(trial, finished=False, values=None, number=0)], 1)
    assert again.next() == Suggestion(trial, 0)
    following = again.next()
    assert following is not None
    assert following.number == 1


def test_tpe_learns_from_the_tables() -> None:
    """After 25 known trials whose value peaks at 0.8, suggestions crowd there; random ones would not."""
    spec = study("{augmentation_strength: {uniform: [0, 1]}}", "{name: tpe, num_trials: 60, num_startup_trials: 5}")
    known = [
        KnownTrial(trial, True, (-abs(trial.student_strength - 0.8),))
        for trial in (spec_trial(spec, index / 25) for index in range(25))
    ]
    source = OptunaSource(spec, known, 12)
    strengths = []
    while (suggestion := source.next()) is not None:
        trial = suggestion.trial
        strengths.append(trial.student_strength)
        source.tell(trial, (-abs(trial.student_strength - 0.8),))
    assert len(strengths) == 12
    assert sum(abs(strength - 0.8) < 0.2 for strength in strengths) >= 8


def spec_trial(spec: StudySpec, strength: float) -> TrialConfig:
    return trial_config(spec, {"augmentation_strength": strength})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_several_objectives(sampler: str) -> None:
    more = "objectives: " + json.dumps(
        [{"metric": "val_accuracy", "mode": "max"}, {"metric": "train_loss", "mode": "min"}]
    )
    spec = study("{augmentation_strength: {uniform: [0, 1]}}", f"{{name: {sampler}, num_trials: 8}}", more)
    source = OptunaSource(spec, [], 8)
    count = 0
    while (suggestion := source.next()) is not None:
        trial = suggestion.trial
        source.tell(trial, (trial.student_strength, 1 - trial.student_strength) if count % 3 else None)
        count += 1
    assert count == 8


def test_teachers_and_student_with_strengths_of_their_own() -> None:
    lists = "teacher_strengths: {choice: [[0.0], [1.0], [0.0, 1.0]]}"
    spec = study(f"{{{lists}, student_strength: {{grid: [0.0, 1.0]}}}}")
    ids = drain(OptunaSource(spec, [], 30))
    assert len(ids) == len(set(ids)) == 6
    source = OptunaSource(spec, [], 30)
    done = [KnownTrial(source.next().trial, True, (0.5,)) for _ in range(4)]  # type: ignore[union-attr]
    rest = drain(OptunaSource(spec, done, 30))
    assert sorted(rest) == sorted(set(ids) - {trial.config.trial_id for trial in done})
