"""Seeds that are added while verdicts are open: the same trials in whatever order they end, and after every crash."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.driver.estimate import make_plan
from kd_sweep.driver.events import Event, SeedsJudged
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.sweep import growing_source
from kd_sweep.driver.tune.teachers_first import TeacherQueue
from kd_sweep.driver.tune.trial_sources import LATER, Later
from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.reader import open_results
from tests.command_line import Run, Start
from tests.comparing_tables import comparable
from tests.driver.reports import report_of

SEEDS = {"min": 3, "max": 8, "until": "decided", "outcomes": ["val_accuracy"]}
SEARCH = {"augmentation_strength": {"grid": [0.0, 1.0]}, "ensemble_size": {"grid": [1, 2]}}

Metrics = Callable[[TrialConfig], float]
"""What a trial comes to in every metric; NaN for one that fails."""


def study(seeds: Any = None, **others: Any) -> StudySpec:
    content = {"name": "s", "search": SEARCH, "seeds": SEEDS if seeds is None else seeds, "student": {"epochs": 1}}
    return checked(
        parse_spec(json.dumps(content | {"student": {"epochs": 1, "warmup_epochs": 0}} | others), "s"), say=print
    )


def noise(trial: TrialConfig) -> float:
    return float(np.random.default_rng(derived_seed("noise", trial.trial_id)).normal(0.0, 0.01))


def strong(trial: TrialConfig) -> float:
    return 0.5 + 0.2 * trial.mean_teacher_strength + noise(trial)


def borderline(trial: TrialConfig) -> float:
    """An effect that eight seeds may decide or not, so that it is not given up."""
    return 0.5 + 0.02 * trial.mean_teacher_strength + noise(trial)


def nothing(trial: TrialConfig) -> float:
    return 0.5 + noise(trial)


def partly_failing(trial: TrialConfig) -> float:
    return float("nan") if trial.seed == 1 and trial.ensemble_size == 2 else strong(trial)


def run(
    root: Path, spec: StudySpec, metrics: Metrics, *, slots: int = 3, order: int = 0, most: int | None = None
) -> list[Event]:
    """Run the study without training anything, in some order; end the run after ``most`` trials, as a kill would."""
    events: list[Event] = []
    generator = random.Random(order)
    with StudyState(spec, StudyFolder(root, "s")) as state:
        if not state.work:
            return events
        source = growing_source(state, TeacherQueue(), [], events.append)
        running: list[TrialConfig] = []
        num_ended = 0
        while True:
            while len(running) < slots and not isinstance(suggestion := source.next(), Later | None):
                state.recorder.started(suggestion.trial)
                running.append(suggestion.trial)
            if most is not None and num_ended >= most:
                return events
            if not running:
                assert source.next() is None
                state.finish()
                return events
            trial = running.pop(generator.randrange(len(running)))
            value = metrics(trial)
            if np.isnan(value):
                state.recorder.ended(trial.trial_id, "failed", "it raised")
                source.tell(trial, None)
            else:
                state.recorder.epoch(trial.trial_id, report_of(1, value=value))
                state.recorder.ended(trial.trial_id, "completed")
                source.tell(trial, (value,))
            num_ended += 1


def trials(root: Path) -> dict[str, int]:
    rows = open_results(root).table("trials").to_pylist()
    assert {row["status"] for row in rows} <= {"completed", "failed"}
    return {row["trial_id"]: row["seed"] for row in rows}


def num_seeds(root: Path) -> int:
    found = trials(root)
    seeds = set(found.values())
    assert seeds == set(range(len(seeds)))
    assert len(found) == 4 * len(seeds)
    return len(seeds)


def judged(root: Path) -> str:
    return str(open_results(root).status()[0]["seeds_judged"])


@pytest.mark.parametrize(
    ("metrics", "expected", "said"),
    [
        (strong, 4, "4 seeds of at most 8; decided: val_accuracy"),
        (borderline, 8, "8 seeds of at most 8; undecided: val_accuracy"),
        (nothing, 4, "4 seeds of at most 8; given up: val_accuracy"),
    ],
)
def test_seeds_are_added_while_the_verdict_is_open(tmp_path: Path, metrics: Metrics, expected: int, said: str) -> None:
    events = run(tmp_path, study(), metrics)
    assert num_seeds(tmp_path) == expected
    assert judged(tmp_path) == said
    looks = [event for event in events if isinstance(event, SeedsJudged)]
    assert [look.num_trials for look in looks] == [4] * (expected - 3) + [0]
    assert looks[-1].text == said
    assert not run(tmp_path, study(), metrics)  # launched again, there is nothing to do


@pytest.mark.parametrize("metrics", [strong, partly_failing])
def test_neither_the_order_nor_an_interruption_changes_which_trials_there_are(tmp_path: Path, metrics: Metrics) -> None:
    run(tmp_path / "unbroken", study(), metrics, slots=1)
    for at, slots in enumerate((2, 50)):
        root = tmp_path / str(slots)
        while True:
            before = len(trials_begun(root))
            run(root, study(), metrics, slots=slots, order=at, most=7)
            if len(trials_begun(root)) == before and "interrupted" not in statuses(root):
                break
        assert trials(root) == trials(tmp_path / "unbroken")
        assert judged(root) == judged(tmp_path / "unbroken")
        assert verdict_rows(root) == verdict_rows(tmp_path / "unbroken")


def trials_begun(root: Path) -> list[str]:
    return open_results(root).table("trials")["trial_id"].to_pylist() if root.exists() else []


def statuses(root: Path) -> set[str]:
    return set(open_results(root).table("trials")["status"].to_pylist()) if root.exists() else set()


def verdict_rows(root: Path) -> list[dict[str, Any]]:
    return list(analyse(open_results(root)).verdicts.to_pylist())


def test_the_analysis_says_what_the_driver_decided(tmp_path: Path) -> None:
    run(tmp_path, study(), strong)
    (row,) = [row for row in verdict_rows(tmp_path) if (row["outcome"], row["mediator"]) == ("val_accuracy", None)]
    assert (row["verdict"], row["num_seeds"]) == ("supported", 4)
    assert row["p_corrected"] <= 0.05
    assert "looks at 3 to 8 seeds (this is at 4, with 12% of the error spent)" in row["sentence"]


def test_who_analyses_early_is_told_and_judges_complete_seeds_alone(tmp_path: Path) -> None:
    run(tmp_path, study(), borderline, slots=1, most=6)
    early = analyse(open_results(tmp_path))
    assert early.looked is not None
    assert early.looked.num_complete == 1
    assert {row["verdict"] for row in early.verdicts.to_pylist()} <= {"undecided", "not tested"}
    assert any(
        "there is no look before 3 seeds are complete (1 so far)" in row["sentence"]
        for row in early.verdicts.to_pylist()
    )
    run(tmp_path, study(), borderline, slots=1, most=12)
    (row,) = [row for row in verdict_rows(tmp_path) if (row["outcome"], row["mediator"]) == ("val_accuracy", None)]
    assert row["num_seeds"] == 4  # of the fifth two trials have ended


def test_a_seed_is_not_begun_before_it_is_known_to_be_needed(tmp_path: Path) -> None:
    with StudyState(study(), StudyFolder(tmp_path, "s")) as state:
        source = growing_source(state, TeacherQueue(), [], print)
        first = [source.next() for _ in range(12)]
        assert [one.trial.seed for one in first if not isinstance(one, Later | None)] == [0] * 4 + [1] * 4 + [2] * 4
        assert source.next() is LATER
        for one in first:
            assert not isinstance(one, Later | None)
            state.recorder.started(one.trial)
            state.recorder.epoch(one.trial.trial_id, report_of(1, value=borderline(one.trial)))
            assert source.next() is LATER
            source.tell(one.trial, (0.5,))
            assert source.next() is LATER  # the tables do not know of the end yet
            state.recorder.ended(one.trial.trial_id, "completed")
        following = source.next()
        assert not isinstance(following, Later | None)
        assert following.trial.seed == 3


def test_teachers_of_a_seed_are_trained_before_its_trials_and_after_those_of_the_seed_before(tmp_path: Path) -> None:
    """So what a killed study has is as many whole seeds as possible."""
    with StudyState(study(), StudyFolder(tmp_path, "s")) as state:
        queue = TeacherQueue()
        source = growing_source(state, queue, state.work.teachers, print)
        for seed in range(3):
            taken = [teacher.teacher_id for teacher in iter(queue.next, None)]
            trials_of_seed = [source.next() for _ in range(4)]
            needed: set[str] = set()
            for one in trials_of_seed:
                assert not isinstance(one, Later | None)
                assert one.trial.seed == seed
                needed |= {teacher.teacher_id for teacher in one.trial.needed_teachers}
            assert set(taken) == needed
            assert len(taken) == len(needed)
        assert queue.next() is None


def test_a_budget_ends_it_between_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "whole", study(), borderline)
    for most in (14, 18, 100):
        run(tmp_path / "parts", study(budget={"max_trials": most}), borderline)
        assert len(trials(tmp_path / "parts")) == min(most, 32)
    assert trials(tmp_path / "parts") == trials(tmp_path / "whole")


def test_a_plan_says_how_many_to_expect(tmp_path: Path) -> None:
    lines = str(make_plan(study(), tmp_path, 1, probe=False)).splitlines()
    assert lines[0].startswith("study s: at most 32 trials")
    assert lines[1].startswith("seeds: 3 to 8 until decided, on average about ")
    assert "if nothing has an effect" in lines[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"seeds": SEEDS | {"outcomes": ["val_loss"]}},
            r"seeds.outcomes\[0\]: 'val_loss' is no outcome of the paper's",
        ),
        ({"search": {"ensemble_size": {"grid": [1, 2]}}}, "seeds: are added for verdicts, and the study can have none"),
        (
            {"seeds": SEEDS | {"outcomes": ["attention_overlap_teachers"]}, "search": {"augmentation_strength": 1.0}},
            "can have none on attention_overlap_teachers; search augmentation_strength",
        ),
    ],
)
def test_a_study_without_a_verdict_to_wait_for_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(**content) if "seeds" not in content else study(content.pop("seeds"), **content)


REAL = """
name: grown
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 2, warmup_epochs: 0, batch_size: 16, learning_rate: 0.2}
student: {model: resnet8, width: 4, epochs: 2, warmup_epochs: 0, batch_size: 16, learning_rate: 0.2}
search:
  augmentation_strength: {grid: [0.0, 1.0]}
  ensemble_size: 1
seeds: {min: 3, max: 8, until: decided, outcomes: [val_accuracy]}
"""
"""Of which the strongest augmentation leaves a student that guesses: four or five seeds decide it."""


@pytest.mark.slow
def test_a_sweep_that_is_killed_before_and_after_a_look_ends_as_an_unbroken_one(
    tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start
) -> None:
    spec = tmp_path / "grown.yaml"
    spec.write_text(REAL)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    done = kd_sweep("launch", spec, "--root", unbroken)
    assert done.returncode == 0, done.stderr
    found = judged(unbroken)
    assert re.fullmatch("[4-7] seeds of at most 8; decided: val_accuracy", found)
    assert f"{found}; no further seed" in done.stderr
    for last_words in ("trial 5/6", "2 trials of another seed"):
        process = start_kd_sweep("launch", spec, "--root", broken)
        assert process.stdout is not None
        next(line for line in process.stdout if last_words in line)
        process.kill()
        process.wait()
    resumed = kd_sweep("resume", broken / "grown")
    assert resumed.returncode == 0, resumed.stderr
    for table in ("epochs", "trials", "teachers"):
        assert comparable(broken, table).equals(comparable(unbroken, table)), table
    assert judged(broken) == found
