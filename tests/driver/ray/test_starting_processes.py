"""Which process Tune gives a trial that waits: that of one that has ended, unless the trial's own is starting."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController

from kd_sweep.driver.ray.private import starting_actors_kept

STARTING, WAITING_FOR_ROOM = "starting", "waiting for room"


@pytest.fixture
def reused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials to which Tune gives the process of another."""
    trials: list[str] = []

    def reuse(self: Any, trial: str) -> bool:
        trials.append(trial)
        return True

    monkeypatch.setattr(TuneController, "_maybe_reuse_cached_actor", reuse)
    return trials


@pytest.mark.parametrize(
    ("own", "is_resetting", "takes_over"),
    [
        (None, False, True),
        (WAITING_FOR_ROOM, False, True),
        (STARTING, False, False),
        (STARTING, True, True),
    ],
)
def test_a_process_that_starts_is_waited_for(
    own: str | None, is_resetting: bool, takes_over: bool, reused: list[str]
) -> None:
    controller = SimpleNamespace(
        _trial_to_actor={} if own is None else {"trial": own},
        _actor_manager=SimpleNamespace(live_actors=[STARTING]),
        _resetting_trials={"trial"} if is_resetting else set(),
    )
    with starting_actors_kept():
        assert TuneController._maybe_reuse_cached_actor(controller, "trial") is takes_over  # type: ignore[arg-type]
    assert reused == (["trial"] if takes_over else [])
