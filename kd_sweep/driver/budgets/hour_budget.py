"""The hours that a study may train, counted from its tables, so that a resume goes on counting."""

from kd_sweep.driver.recorder import Recorder
from kd_sweep.study.spec import StudySpec


class HoursAreUp(BaseException):
    """The sweep ends since its hours are used up. Not an `Exception`, so that nothing on the way swallows it."""


class HourBudget:
    """What a study may still train.

    Args:
        spec: the study.
        recorder: knows what its trials and teachers took.
    """

    def __init__(self, spec: StudySpec, recorder: Recorder) -> None:
        self._max_hours = spec.budget.max_hours
        self._recorder = recorder

    @property
    def is_spent(self) -> bool:
        """Whether the hours are used up."""
        return self._max_hours is not None and self._recorder.trained_s() >= self._max_hours * 3600

    def check(self) -> None:
        """Raise `HoursAreUp` where they are."""
        if self.is_spent:
            raise HoursAreUp
