"""The scheduler that carries a stopping rule to Tune."""

import pickle
import random
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.replay import Judge
from kd_sweep.driver.stopping.rules.asha import Asha
from kd_sweep.driver.tune.stopping import InOrder, RuleScheduler
from kd_sweep.driver.tune.tune_trial import result_of
from kd_sweep.driver.worker_messages import EpochDone, EpochsInCheckpoint, TrialFailed
from kd_sweep.errors import StoppingRuleError
from kd_sweep.study.spec import Objective
from tests.driver.reports import report_of

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def scheduler() -> tuple[RuleScheduler, Judge]:
    """ASHA with rungs at epochs 1 and 3, which knows trial `earlier`."""
    judge = Judge(Asha((1, 3), 2.0), [Objective()])
    for epoch in (1, 2, 3):
        judge.add("earlier", {"epoch": epoch, "val_accuracy": 0.5})
    return RuleScheduler(judge), judge


def result(epoch: int, value: float | None) -> dict[str, Any]:
    """Return Tune's result of a trial that has finished this epoch."""
    return result_of(EpochDone(report_of(epoch, val_accuracy=value)))


def tune_trial(trial_id: str, seed: int = 0) -> Trial:
    assigned = SimpleNamespace(trial=SimpleNamespace(seed=seed))
    return Trial("unused", stub=True, config={"trial_id": trial_id, "assignment": assigned})


def test_in_a_study_with_seeds_a_trial_is_judged_against_those_of_its_own() -> None:
    """A lucky seed is no reason to stop the trials of the others."""
    ours = RuleScheduler(Judge(Asha((1, 3), 2.0), [Objective()], by_seed=True))
    assert ours.on_trial_result(None, tune_trial("a, lucky", 0), result(1, 0.9)) == CONTINUE
    assert ours.on_trial_result(None, tune_trial("a, unlucky", 1), result(1, 0.2)) == CONTINUE
    assert ours.on_trial_result(None, tune_trial("b, lucky", 0), result(1, 0.8)) == STOP
    assert ours.on_trial_result(None, tune_trial("b, unlucky", 1), result(1, 0.3)) == CONTINUE


def test_a_trial_is_judged_against_those_of_earlier_runs() -> None:
    ours, _ = scheduler()
    assert ours.on_trial_result(None, tune_trial("good"), result(1, 0.6)) == CONTINUE
    assert ours.on_trial_result(None, tune_trial("bad"), result(1, 0.1)) == STOP


def test_trials_go_by_their_own_id_and_not_by_tunes() -> None:
    """A trial of an earlier run comes back under a new id of Tune's: it counts once."""
    ours, judge = scheduler()
    assert ours.on_trial_result(None, tune_trial("earlier"), result(3, 0.1)) == CONTINUE  # it starts over
    assert ours.on_trial_result(None, tune_trial("earlier"), result(4, 0.1)) == CONTINUE
    assert judge.last_epoch("earlier") == 4


def test_the_last_epoch_of_a_trial_counts() -> None:
    ours, judge = scheduler()
    trial = tune_trial("short")
    ours.on_trial_result(None, trial, result(1, 0.5))
    ours.on_trial_complete(None, trial, result(2, 0.5))
    assert judge.last_epoch("short") == 2
    stopped = tune_trial("bad")
    assert ours.on_trial_result(None, stopped, result(1, 0.1)) == STOP
    ours.on_trial_complete(None, stopped, result(1, 0.1))
    assert judge.last_epoch("bad") == 1


def test_a_rule_that_fails_ends_the_sweep_and_not_the_trial() -> None:
    """Tune takes what a scheduler raises for a failure of the trial: it is raised where signals are checked."""

    class Failing:
        def stops(self, history: History, trial_id: str) -> bool:
            raise StoppingRuleError(f"failed at {trial_id}")

    ours = RuleScheduler(Judge(Failing(), [Objective()]))
    ours.check()
    for trial in ("first", "second"):
        assert ours.on_trial_result(None, tune_trial(trial), result(1, 0.6)) == CONTINUE
    with pytest.raises(StoppingRuleError, match="failed at first"):
        ours.check()


def test_results_without_an_epoch_or_a_value_change_nothing() -> None:
    ours, judge = scheduler()
    trial = tune_trial("failing")
    assert ours.on_trial_result(None, trial, result_of(TrialFailed("ValueError", "x"))) == CONTINUE
    ours.on_trial_complete(None, trial, result_of(TrialFailed("ValueError", "x")))
    assert judge.last_epoch("failing") == 0
    assert ours.on_trial_result(None, trial, result(1, None)) == CONTINUE


def in_checkpoint(*values: float) -> dict[str, Any]:
    """Return Tune's result of a trial whose checkpoint has these epochs."""
    reports = [report_of(epoch, val_accuracy=value) for epoch, value in enumerate(values, start=1)]
    return result_of(EpochsInCheckpoint(tuple(reports)))


def test_epochs_that_only_a_checkpoint_has_count_and_the_newest_is_judged() -> None:
    """Whether a worker died before its report or a driver before it wrote it down."""
    ours, judge = scheduler()
    # It was let pass at the first rung, where it would stop today.
    assert ours.on_trial_result(None, tune_trial("passed"), in_checkpoint(0.2, 0.1)) == CONTINUE
    assert judge.last_epoch("passed") == 2
    assert ours.on_trial_result(None, tune_trial("other"), result(1, 0.34)) == STOP  # the median of 0.5 and 0.2 is 0.35
    assert ours.on_trial_result(None, tune_trial("behind"), in_checkpoint(0.1)) == STOP
    assert ours.on_trial_result(None, tune_trial("later"), in_checkpoint(0.9, 0.9, 0.1)) == STOP
    assert ours.on_trial_result(None, tune_trial("later"), in_checkpoint(0.9, 0.9, 0.1)) == CONTINUE  # known by now


def test_else_it_is_tunes_own_first_in_first_out() -> None:
    ours, _ = scheduler()
    assert isinstance(ours, FIFOScheduler)
    trials = [tune_trial(name) for name in "abc"]
    statuses = [Trial.RUNNING, Trial.PENDING, Trial.PENDING]
    for trial, status in zip(trials, statuses, strict=True):
        trial.status = status
        ours.on_trial_add(None, trial)
    controller = SimpleNamespace(get_trials=lambda: trials)
    assert ours.choose_trial_to_run(controller) is trials[1]
    ours.on_trial_error(None, trials[0])
    ours.on_trial_remove(None, trials[2])
    trials[1].status = trials[2].status = Trial.TERMINATED
    assert ours.choose_trial_to_run(controller) is None
    assert ours.set_search_properties(None, None)
    pickle.dumps(ours)  # Tune does when a sweep begins


@pytest.mark.parametrize("seed", range(5))
def test_trials_start_in_the_order_in_which_tunes_own_scheduler_starts_them(seed: int) -> None:
    """Of a random course of events, in which trials are added, start, end and are tried again at the end of the row."""
    rng = random.Random(seed)
    trials: list[Trial] = []
    controller = SimpleNamespace(get_trials=lambda: trials)
    ours, tunes = InOrder(), FIFOScheduler()
    chosen = []
    for number in range(300):
        running = [trial for trial in trials if trial.status == Trial.RUNNING]
        event = rng.choice(("add", "start", "end", "retry"))
        if event == "add":
            trials.append(tune_trial(str(number)))
            ours.on_trial_add(controller, trials[-1])
        elif event == "start" and (waiting := ours.choose_trial_to_run(controller)) is not None:
            waiting.set_status(Trial.RUNNING)
        elif event == "end" and running:
            rng.choice(running).set_status(rng.choice((Trial.TERMINATED, Trial.ERROR)))
        elif event == "retry" and running:
            again = rng.choice(running)
            again.set_status(Trial.PENDING)
            trials.remove(again)
            trials.append(again)
            ours.on_trial_add(controller, again)
        chosen.append(ours.choose_trial_to_run(controller))
        assert chosen[-1] is tunes.choose_trial_to_run(controller)
    assert len(set(chosen)) > 20
