"""One process that runs trials, without Ray around it."""

from pathlib import Path
from typing import Any

from kd_sweep.driver.tune.searcher import PlannedSource, TuneSearcher
from kd_sweep.driver.tune.trainable import TrialActor
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.trial import TrialConfig
from tests.distill.trials import tiny_trial


def settings(root: Path) -> dict[str, Any]:
    return {"root": str(root), "study": "s", "device": "cpu", "num_threads": 1, "best_by": None}


class Listener(PlannedSource):
    def __init__(self, trial: TrialConfig) -> None:
        super().__init__([trial])
        self.told: list[tuple[float, ...] | None] = []

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        self.told.append(values)


def test_a_trial_whose_checkpoint_has_every_epoch_reports_its_last_one_again(tmp_path: Path) -> None:
    """An attempt can die between its last checkpoint and its report; then samplers must not hear of a failure."""
    trial = tiny_trial()
    listener = Listener(trial)
    searcher = TuneSearcher(listener, settings(tmp_path), ("val_accuracy", "train_loss"))
    config = searcher.suggest("t1")
    first = TrialActor(config)
    reported = [first.step() for _ in range(trial.student.epochs)]
    assert [row["done"] for row in reported] == [False, False, True]
    again = TrialActor(config).step()
    assert again["done"]
    assert {name: again[name] for name in ("epoch", *REPORTED_METRICS)} == {
        name: reported[-1][name] for name in ("epoch", *REPORTED_METRICS)
    }
    searcher.on_trial_complete("t1", again)
    assert listener.told == [(reported[-1]["val_accuracy"], reported[-1]["train_loss"])]
