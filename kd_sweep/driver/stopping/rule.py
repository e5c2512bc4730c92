"""The protocol of a stopping rule."""

from typing import Protocol

from kd_sweep.driver.stopping.history import History


class StoppingRule(Protocol):
    """Decides whether a trial ends early, from the epochs that trials have reported and from nothing else.

    A rule is a frozen dataclass in a file of `rules/`, beside its parameters and the function that makes the one of the
    other. It keeps no state: what it has to know is in the history. So a driver that fills a history from the tables
    decides as one that was never interrupted.
    """

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch, which is the last that came into the history.

        Called after every epoch of a trial but the last one that it was asked for. Other trials in the history may be
        running, finished, stopped or failed: all count alike.
        """
