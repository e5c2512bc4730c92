"""`seeds`: a point is run with each of them, and judged by the mean."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kd_sweep.driver.stopping.replay import replay
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.driver.tune.sweep import source_of
from kd_sweep.driver.tune.trial_sources import KnownTrial
from kd_sweep.errors import SpecError
from kd_sweep.study.file.frozen import check_extension, freeze, parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_teachers, planned_trials
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from tests.driver.reports import report_of

RATES = {"student.learning_rate": {"uniform": [0.01, 0.1]}}
TPE = {"name": "tpe", "num_trials": 4}


def study(seeds: Any, search: dict[str, Any] | None = None, sampler: Any = TPE, **others: Any) -> StudySpec:
    content = {"name": "s", "search": RATES if search is None else search, "sampler": sampler, "seeds": seeds}
    return parse_spec(json.dumps(content | others), "s.yaml")


def taken(source: OptunaSource) -> TrialConfig:
    suggestion = source.next()
    assert suggestion is not None
    return suggestion.trial


def test_the_sampler_learns_the_mean_over_the_seeds_once_all_have_ended() -> None:
    source = OptunaSource(study(3), [], 12)
    trials = [taken(source) for _ in range(3)]
    assert [trial.seed for trial in trials] == [0, 1, 2]
    assert len({trial.student.learning_rate for trial in trials}) == 1
    source.tell(trials[2], (0.9,))
    source.tell(trials[0], (0.5,))
    source.tell(trials[0], (0.1,))  # said twice
    assert [trial.state.name for trial in source.optuna_trials()] == ["RUNNING"]
    source.tell(trials[1], (0.4,))
    assert source.optuna_trials()[0].value == pytest.approx((0.5 + 0.4 + 0.9) / 3)
    following = taken(source)
    assert following.student.learning_rate != trials[0].student.learning_rate


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [([(0.5,), None, (0.8,)], 0.65), ([None, None, (0.8,)], 0.8), ([None, None, None], None)],
)
def test_of_trials_that_failed_the_others_count(outcomes: list[Any], expected: float | None) -> None:
    source = OptunaSource(study(3), [], 3)
    for outcome in outcomes:
        source.tell(taken(source), outcome)
    (point,) = source.optuna_trials()
    assert point.state.name == ("FAIL" if expected is None else "COMPLETE")
    assert expected is None or point.value == pytest.approx(expected)
    assert source.next() is None


def test_several_objectives_have_a_mean_each() -> None:
    spec = study(2, objectives=[{"metric": "val_accuracy"}, {"metric": "val_loss"}])
    source = OptunaSource(spec, [], 2)
    for outcome in ((0.5, 2.0), (0.7, 1.0)):
        source.tell(taken(source), outcome)
    assert source.optuna_trials()[-1].values == pytest.approx([0.6, 1.5])


def test_more_seeds_keep_the_old_trials_and_complete_the_points_first() -> None:
    source, known = OptunaSource(study(3), [], 12), list[KnownTrial]()
    while (suggestion := source.next()) is not None:
        values = (suggestion.trial.student.learning_rate + suggestion.trial.seed,)
        source.tell(suggestion.trial, values)
        known.append(KnownTrial(suggestion.trial, True, values, suggestion.number))
    assert [trial.number for trial in known] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    more = OptunaSource(study(5), known, 8 + 5)
    suggestions = [more.next() for _ in range(13)]
    assert more.next() is None
    added = [(one.number, one.trial.seed) for one in suggestions if one is not None]
    assert added == [(number, seed) for number in range(4) for seed in (3, 4)] + [(4, seed) for seed in range(5)]
    rates = {trial.number: trial.config.student.learning_rate for trial in known}
    assert all(one is None or rates.get(one.number, 0) in (0, one.trial.student.learning_rate) for one in suggestions)


def test_a_study_of_one_seed_goes_on_with_several() -> None:
    source = OptunaSource(study(None), [], 2)
    known = [KnownTrial(taken(source), True, (0.5,), number) for number in range(2)]
    more = OptunaSource(study(2), known, 2)
    assert [(one.number, one.trial.seed) for one in iter(more.next, None)] == [(0, 1), (1, 1)]  # type: ignore[union-attr]


@pytest.mark.parametrize("sampler", [{"name": "grid"}, {"name": "random", "num_trials": 5}])
def test_ids_are_those_of_the_seeds_in_the_search(sampler: dict[str, Any]) -> None:
    search = {"student.width": {"grid": [4, 8]}, "ensemble_size": {"grid": [1, 2, 3]}}
    expected = {
        trial.trial_id
        for seed in (0, 1, 2)
        for trial in planned_trials(study(None, search | {"seed": seed}, sampler))  # draws do not depend on it
    }
    spec = study(3, search, sampler)
    trials = planned_trials(spec)
    assert {trial.trial_id for trial in trials} == {trial.config.trial_id for trial in trials} == expected
    assert [trial.config.seed for trial in trials] == [0, 1, 2] * (len(trials) // 3)
    assert planned_trials(study([0, 1, 2], search, sampler)) == trials
    distinct = {teacher.teacher_id for trial in trials for teacher in trial.config.teachers}
    assert {teacher.teacher_id for teacher in planned_teachers(spec, trials)} == distinct


def test_a_plan_counts_trials() -> None:
    assert plan(study(3)).num_trials == 12
    assert plan(study(3)).num_teachers == 3  # one network a seed, whatever the student's rate is
    assert plan(study(3, budget={"max_trials": 7})).num_trials == 7
    assert plan(study([5, 9], {"student.width": {"grid": [4, 8]}}, {"name": "grid"})).num_trials == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"seeds": 0}, "seeds: 0 is not from 1 to 1000, the seeds that a point can be run with"),
        ({"seeds": [1, 1]}, "seeds: 1 is in the list twice"),
        ({"seeds": []}, "seeds: the list is empty"),
        ({"seeds": "3"}, "seeds: '3' is not a list, such as"),
        ({"seeds": [0.5]}, r"seeds\[0\]: 0.5 is not a whole number"),
        ({"seeds": 2, "search": {"seed": 0}}, "search.seed: stands beside seeds, which each point is run with"),
    ],
)
def test_mistakes_are_one_line(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message + r".*\(s.yaml, line 1\)$"):
        parse_spec(json.dumps({"name": "s"} | content), "s.yaml")


def test_seeds_may_change_when_a_study_goes_on_and_are_frozen_as_a_list() -> None:
    check_extension(study(3), study(5))
    check_extension(study(None), study(5))
    frozen = freeze(study(2), {})
    assert "seeds: [0, 1]" in frozen.text
    assert parse_frozen(frozen.text, "study.yaml").spec == study(2)


def test_a_replay_compares_trials_of_one_seed() -> None:
    """The hand's account: at epoch 1 "d" is below "b" of its seed; "c" is below "a" alone, which has the other."""
    spec = study(2, student={"epochs": 9}, scheduler={"name": "asha"})
    begin = datetime(2026, 11, 28, tzinfo=UTC)
    rows = [("a", 0, 0.9), ("b", 1, 0.4), ("c", 1, 0.5), ("d", 1, 0.1)]
    columns: dict[str, Any] = {
        "trial_id": [row[0] for row in rows],
        "epoch": [1] * 4,
        "seed": [row[1] for row in rows],
        "val_accuracy": [row[2] for row in rows],
        "finished_at": pa.array([begin + timedelta(seconds=index) for index in range(4)], pa.timestamp("us", "UTC")),
    }
    table: Callable[..., pa.Table] = lambda names: pa.table({name: columns[name] for name in names})  # noqa: E731
    found = replay(spec, table, {"a", "b", "c", "d"})
    assert found is not None
    assert found.stopped == ["d"]


def test_the_tables_have_what_is_asked_for_and_the_budget_counts_trials(tmp_path: Path) -> None:
    def run(spec: StudySpec) -> tuple[int, int, int]:
        """Run what is asked for, and return how many trials there are, how many it says there are, and what is left."""
        with StudyState(checked(spec, say=str), StudyFolder(tmp_path, "s")) as state:
            source = source_of(state)
            while (suggestion := source.next()) is not None:
                trial = suggestion.trial
                state.recorder.started(trial, suggestion.number, suggestion.generation)
                state.recorder.epoch(trial.trial_id, report_of(1, val_accuracy=0.1 * trial.seed))
                state.recorder.ended(trial.trial_id, "completed")
                source.tell(trial, (0.1 * trial.seed,))
            rest = state.finish()
            return len(state.recorder.trials()), state._num_trials, rest.left

    one = {"student": {"epochs": 1}}
    assert run(study(3, **one, budget={"max_trials": 7})) == (7, 12, 5)
    assert run(study(3, **one)) == (12, 12, 0)
    assert run(study(5, **one)) == (20, 20, 0)
    assert run(study(5, sampler=TPE | {"num_trials": 5}, **one)) == (25, 25, 0)
    with StudyState(checked(study(5, **one), say=str), StudyFolder(tmp_path, "s")) as state:
        source = source_of(state)
        assert isinstance(source, OptunaSource)
        values = [trial.value for trial in source.optuna_trials()]
        assert values == pytest.approx([0.1 * (0 + 1 + 2 + 3 + 4) / 5] * 5)
