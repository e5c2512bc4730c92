"""Teachers come before the trials that need them, and trials in their order, each once its teachers are there."""

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.tune.teachers_first import TeacherQueue
from kd_sweep.driver.tune.trial_sources import PlannedSource
from kd_sweep.driver.tune.tune_trial import assignment_in, teacher_in
from kd_sweep.driver.worker_messages import WorkerSettings
from tests.distill.trials import tiny_trial

SETTINGS = WorkerSettings(root="/r", study="s", device="cpu", num_threads=1)
ALONE, PAIR = tiny_trial(ensemble_size=1), tiny_trial(ensemble_size=2)


def searcher_of(began: list[str]) -> TuneSearcher:
    """Return the search of two trials, of which the second needs another teacher, too."""
    queue = TeacherQueue(lambda: began.append("trials"))
    queue.add(PAIR.teachers)
    return TuneSearcher(PlannedSource([ALONE, PAIR]), SETTINGS, ("val_accuracy",), lambda _: 0, queue)


def asked(searcher: TuneSearcher, tune_id: str) -> Any:
    """Return the id of the teacher or trial that is suggested, or what else is answered."""
    config = searcher.suggest(tune_id)
    if not isinstance(config, dict):
        return config
    teacher = teacher_in(config)
    return assignment_in(config).trial.trial_id if teacher is None else teacher.teacher_id


def test_a_trial_starts_once_its_own_teachers_are_there() -> None:
    began: list[str] = []
    searcher = searcher_of(began)
    first, second = (teacher.teacher_id for teacher in PAIR.teachers)
    assert [asked(searcher, "a"), asked(searcher, "b")] == [first, second]
    assert began == []
    assert asked(searcher, "c") is None
    searcher.on_trial_complete("a", {})
    searcher.on_trial_complete("a", {})  # Tune may say it twice
    assert asked(searcher, "c") == ALONE.trial_id  # while the other teacher is in training
    assert asked(searcher, "d") is None
    searcher.on_trial_complete("b", None, error=True)  # given up: the trial tries it by itself
    assert asked(searcher, "d") == PAIR.trial_id
    assert asked(searcher, "e") == Searcher.FINISHED
    assert began == ["trials"]


def test_trials_keep_their_order_while_they_wait(tmp_path: Path) -> None:
    """A stopping rule compares a trial with those before it."""
    queue = TeacherQueue()
    queue.add(PAIR.teachers[1:])
    searcher = TuneSearcher(PlannedSource([PAIR, ALONE]), SETTINGS, ("val_accuracy",), lambda _: 0, queue)
    assert asked(searcher, "a") == PAIR.teachers[1].teacher_id
    assert asked(searcher, "b") is None  # though the second trial needs no teacher that is in training
    searcher.on_trial_complete("a", {})
    assert [asked(searcher, "b"), asked(searcher, "c")] == [PAIR.trial_id, ALONE.trial_id]
