"""The budget of a study's checkpoints, `checkpoints.max_bytes`: the worst of the finished trials lose theirs."""

import math
from collections import Counter

from pydantic import ByteSize

from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.driver.recorder import Recorder
from kd_sweep.storage.root import Root
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.schema import FINISHED


class CheckpointBudget:
    """What the checkpoints of a study take, trial by trial, and the limit of it.

    Args:
        spec: the study.
        study: its folder.
        recorder: knows which trials are finished, and how good they are.
    """

    def __init__(self, spec: StudySpec, study: Root, recorder: Recorder) -> None:
        self._max_bytes = spec.checkpoints.max_bytes
        self._sign = 1 if spec.objectives[0].mode == "max" else -1
        self._study, self._recorder = study, recorder
        self._bytes: Counter[str] = Counter()
        if self._max_bytes is not None:
            for name, size in study.sizes(CHECKPOINTS).items():
                self._bytes[name.partition("/")[0]] += size

    def trial_ended(self, trial_id: str) -> None:
        """Measure the trial's checkpoints and those of the running ones, then `enforce`."""
        if self._max_bytes is None:
            return
        running = [other for other, row in self._recorder.trials().items() if row["status"] == "running"]
        for changed in (trial_id, *running):
            self._bytes[changed] = sum(self._study.sizes(f"{CHECKPOINTS}/{changed}").values())
        self.enforce()

    def enforce(self) -> None:
        """Delete checkpoints of finished trials, the worst by the first objective first, until the rest fit."""
        surplus = []
        excess = self._excess()
        for trial_id in self._worst_first() if excess > 0 else ():
            if excess > 0:
                surplus.append(trial_id)
                excess -= self._bytes[trial_id]
        if surplus:
            self._recorder.write_now()  # the tables must have what only these checkpoints would know after a crash
        for trial_id in surplus:
            self._study.delete_folder(f"{CHECKPOINTS}/{trial_id}")
            del self._bytes[trial_id]

    def shortage(self) -> str | None:
        """Return in one line what cannot be deleted and is more than the limit; None where the checkpoints fit."""
        if self._max_bytes is None or self._excess() <= 0:
            return None
        taken, limit = (ByteSize(size).human_readable(decimal=True) for size in (self._bytes.total(), self._max_bytes))
        return f"checkpoints.max_bytes: what unfinished trials go on from takes {taken}, more than {limit}"

    def _excess(self) -> int:
        return 0 if self._max_bytes is None else self._bytes.total() - self._max_bytes

    def _worst_first(self) -> list[str]:
        rows = self._recorder.trials()
        finished = [trial for trial in self._bytes if trial in rows and rows[trial]["status"] in FINISHED]
        return sorted(
            finished, key=lambda trial: (self._sign * rows[trial].get("objective", -self._sign * math.inf), trial)
        )
