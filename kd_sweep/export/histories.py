"""The metrics of which an export has every epoch; of all others it has the last value."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd_sweep.export.export_paths import begin_folder, folder_mark
from kd_sweep.export.finished_study import FinishedStudy, FinishedTrial
from kd_sweep.export.request import Request
from kd_sweep.study.metric_catalogue import HEADLINE_METRICS

ALL = "all"
_BETWEEN = ","
_IN_MARK = "histories"


@dataclass(frozen=True)
class Histories:
    """Some metrics, or all of them."""

    names: frozenset[str] | None = None
    """None: of all."""

    def __contains__(self, name: object) -> bool:
        return self.names is None or name in self.names

    @property
    def text(self) -> str:
        """As an export keeps it."""
        return ALL if self.names is None else _BETWEEN.join(sorted(self.names))

    def version_of(self, trial: FinishedTrial) -> str:
        """What differs when a trial was run again, or when more histories are wanted: those of an export only grow."""
        number = ALL if self.names is None else len(self.names)
        return f"{trial.version}, {number} histories"

    def words(self, study: FinishedStudy) -> str:
        """What is exported, for the line that says so."""
        reported = study.reported_metrics
        kept = [name for name in reported if name in self]
        trials = f"{len(study.trials)} trials"
        if len(kept) == len(reported):
            return trials
        return f"{trials}, histories of {len(kept)} of {len(reported)} metrics (--metrics {ALL} for the rest)"


def wanted_histories(asked: Sequence[str] | None, there: str | None, study: FinishedStudy) -> Histories:
    """Return the metrics of which an export is to have every epoch: those that it has, and those that are asked for.

    Args:
        asked: names, or `ALL` among them; when None those that are there, and of a new export the ones that people look
            at first, the study's objectives, and those that it added.
        there: `Histories.text` of the export until now; None of a new one.
        study: what is exported.
    """
    if asked is None and there is None:
        return Histories(frozenset([*HEADLINE_METRICS, *study.own_metrics]))
    names = [*(asked or ()), *(there or "").split(_BETWEEN)]
    return Histories() if ALL in names else Histories(frozenset(filter(None, names)))


def begin_histories(request: Request) -> tuple[Histories, bool]:
    """Mark a folder as that of an export with the histories that it is to have; return them, and whether it was not."""
    mark = folder_mark(request.out)
    # One without the entry is of before there was a choice.
    wanted = wanted_histories(request.metrics, mark.get(_IN_MARK, ALL) if mark else None, request.study)
    return wanted, begin_folder(request.out, request.mark | {_IN_MARK: wanted.text})
