"""The search of a study as Ray Tune asks for it: what carries a source's trials to Tune, and their ends back."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from kd_sweep.driver.tune.teachers_first import TeacherQueue
from kd_sweep.driver.tune.trial_sources import Later, Source, Suggestion
from kd_sweep.driver.tune.tune_trial import config_of, reports_in
from kd_sweep.driver.worker_messages import Assignment, TeacherAssignment, WorkerSettings
from kd_sweep.errors import KdSweepError
from kd_sweep.study.trial import TeacherConfig, TrialConfig


class TuneSearcher(Searcher):
    """Carries the teachers that are missing and then a source's trials to Tune, and their ends back.

    Trials start in the source's order, each once its teachers are there.

    Args:
        source: where trials come from.
        settings: for the workers.
        objectives: the metrics that the source learns the values of.
        last_epoch: returns how many epochs of a trial the tables hold, by its id.
        teachers: those that are missing.
    """

    def __init__(
        self,
        source: Source,
        settings: WorkerSettings,
        objectives: tuple[str, ...],
        last_epoch: Callable[[str], int],
        teachers: TeacherQueue | None = None,
    ) -> None:
        super().__init__()
        self._last_epoch = last_epoch
        self._source = source
        self._settings = settings
        self._objectives = objectives
        self._teachers = teachers or TeacherQueue()
        self._training: dict[str, TeacherConfig] = {}
        self._next: Suggestion | None = None
        self._running: dict[str, TrialConfig] = {}
        self._failure: KdSweepError | None = None

    def suggest(self, trial_id: str) -> Any:
        """Return Tune's configuration of the next teacher or trial, that there is none, or None where it waits."""
        if (teacher := self._teachers.next()) is not None:
            self._training[trial_id] = teacher
            return config_of(TeacherAssignment(teacher, self._settings))
        if self._next is None:
            suggested = self._suggested()
            if suggested is None:
                return Searcher.FINISHED
            if isinstance(suggested, Later):
                return None
            self._next = suggested
        if self._teachers.holds_up(self._next.trial):
            return None
        suggestion, self._next = self._next, None
        trial = self._running[trial_id] = suggestion.trial
        known_epochs = self._last_epoch(trial.trial_id)
        return config_of(Assignment(trial, self._settings, suggestion.number, suggestion.generation, known_epochs))

    def _suggested(self) -> Suggestion | Later | None:
        try:
            return self._source.next()
        except KdSweepError as failure:  # which Tune would wrap into an error of its own
            self._failure = failure
            return None

    def check(self) -> None:
        """Raise what kept the source from suggesting: a sampler that failed, or tables that could not be judged."""
        if self._failure is not None:
            raise self._failure

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the source how the trial ended. Tune may say it twice; the second time changes nothing."""
        if (teacher := self._training.pop(trial_id, None)) is not None:
            self._teachers.settle(teacher)
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        reports = reports_in(result or {})
        values = tuple(reports[-1].metrics[metric] if reports else None for metric in self._objectives)
        self._source.tell(trial, None if error or None in values else values)  # type: ignore[arg-type]

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study's tables are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the study's tables are the state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; nothing ever reads that copy
