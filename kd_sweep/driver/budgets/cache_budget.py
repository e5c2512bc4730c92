"""The budget of what teachers answered, `caches.max_bytes`: what no trial will read goes first."""

import time
from collections.abc import Callable, Iterator

from kd_sweep.distill.logit_files import LOGITS, epoch_of_file
from kd_sweep.driver.recorder import Recorder
from kd_sweep.storage.root import Root
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.schema import FINISHED

PAUSE_S = 10.0
"""Between two looks at the folder: each is a listing of it."""

Stream = tuple[str, str]
"""The ids of a teacher and of the images that it answers to."""
_ALL = 2**63
"""More epochs than there are: of a stream that no running trial reads."""


class CacheBudget:
    """What the outputs of all teachers in a results root take, and the limit of it.

    Answers to an epoch go, those first that no unfinished trial of the study will read, then those of the last epochs
    that every running trial has behind it: trials that wait begin with the first. What lies before a running trial
    stays, and so do outputs on clean images, which are few.

    Args:
        spec: the study.
        storage: the results root.
        recorder: knows how far trials are.
        waiting: returns the trials that have not started, as far as they are known.
    """

    def __init__(
        self, spec: StudySpec, storage: Root, recorder: Recorder, waiting: Callable[[], Iterator[TrialConfig]]
    ) -> None:
        self._max_bytes = spec.caches.max_bytes
        self._logits, self._recorder, self._waiting = storage.child(LOGITS), recorder, waiting
        self._streams_of: dict[str, set[Stream]] = {}
        self._due = 0.0

    def enforce_due(self) -> None:
        """Delete what is too much, unless it was looked at a moment ago."""
        if self._max_bytes is not None and time.monotonic() >= self._due:
            self.enforce()
            self._due = time.monotonic() + PAUSE_S

    def enforce(self) -> None:
        """Delete outputs until the rest fit, as far as they may go."""
        if self._max_bytes is None:
            return
        sizes = self._logits.sizes()
        excess = sum(sizes.values()) - self._max_bytes
        for name in self._order(list(sizes)) if excess > 0 else ():
            if excess <= 0:
                break
            self._logits.delete(name)
            excess -= sizes[name]

    def _order(self, names: list[str]) -> list[str]:
        """Return the files that may go, those first that are missed least."""
        behind = self._epochs_behind()
        unread, passed = [], []
        for name in names:
            teacher_id, _, rest = name.partition("/")
            stream_id, _, file = rest.partition("/")
            epoch, stream = epoch_of_file(file), (teacher_id, stream_id)
            if epoch is None:
                continue
            if stream not in behind:
                unread.append(name)
            elif epoch <= behind[stream]:
                passed.append((-epoch, name))
        return [*sorted(unread), *(name for _, name in sorted(passed))]

    def _epochs_behind(self) -> dict[Stream, int]:
        """Return how many epochs of each stream that is still needed all running trials have behind them."""
        rows = self._recorder.trials()
        behind: dict[Stream, int] = {}
        for trial_id, row in rows.items():
            if row["status"] not in FINISHED:
                is_running = row["status"] == "running"
                for stream in self._streams(self._recorder.config(trial_id)):
                    known = behind.setdefault(stream, _ALL)
                    behind[stream] = min(known, self._recorder.last_epoch(trial_id)) if is_running else known
        for config in self._waiting():
            if config.trial_id not in rows:
                for stream in self._streams(config):
                    behind.setdefault(stream, _ALL)
        return behind

    def _streams(self, config: TrialConfig) -> set[Stream]:
        known = self._streams_of.get(config.trial_id)
        if known is None:
            stream_id = config.teacher_stream.stream_id
            known = self._streams_of[config.trial_id] = {(teacher.teacher_id, stream_id) for teacher in config.teachers}
        return known
