"""A study as a file of Optuna's journal storage, which optuna-dashboard and `optuna.load_study` open."""

import datetime
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_sweep.export.export_paths import Mark, check_file, write_file
from kd_sweep.export.finished_study import Curves, FinishedStudy, FinishedTrial
from kd_sweep.export.request import Request, Written
from kd_sweep.study.spec import IntRange, Uniform
from kd_sweep.tables.schema import column_name

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_MARK = "kd_sweep"
"""The attribute of the study with the mark of the export."""
_STATES = {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}


def write_journal(request: Request) -> Written:
    """Write every finished trial with its settings, objectives, and first objective by epoch.

    A completed trial without a value of an objective is a failed one: Optuna knows no other without.
    """
    lines = _journal(request.study, request.mark)
    return Written(write_file(request.out, lines), f"{len(request.study.trials)} trials")


def check_journal(path: Path, mark: Mark) -> None:
    """Raise `StorageError` where ``path`` is not free for the export with this mark."""
    check_file(path, mark, _mark_in)


def _journal(study: FinishedStudy, mark: Mark) -> bytes:
    import optuna
    from optuna.storages.journal import BaseJournalBackend, JournalStorage

    class Lines(BaseJournalBackend):
        """A journal in memory."""

        def __init__(self) -> None:
            self.logs: list[dict[str, Any]] = []

        def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
            return self.logs[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.logs += logs

    lines = Lines()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        directions = [optuna.study.StudyDirection[f"{one['mode']}imize".upper()] for one in study.objectives]
        made = optuna.create_study(storage=JournalStorage(lines), study_name=study.name, directions=directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
    made.set_user_attr(_MARK, mark)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        made.set_metric_names([objective["metric"] for objective in study.objectives])
    distributions = _distributions(study)
    made.add_trials([_trial(study, trial, curves, distributions) for trial, curves in study.curves()])
    # The name of the writing process would make every export another one.
    written = [json.dumps(log | {"worker_id": "kd-sweep"}, separators=(",", ":")) for log in lines.logs]
    return ("\n".join(written) + "\n").encode()


def _trial(
    study: FinishedStudy, trial: FinishedTrial, curves: Curves, distributions: "dict[str, BaseDistribution]"
) -> "optuna.trial.FrozenTrial":
    from optuna.trial import FrozenTrial, TrialState

    values = [trial.metrics.get(objective["metric"]) for objective in study.objectives]
    has_values = trial.status != "failed" and None not in values
    state = _STATES[trial.status] if has_values or trial.status != "completed" else "FAIL"
    first = curves.values.get(study.objectives[0]["metric"])
    by_epoch = () if first is None else zip(curves.epochs.tolist(), first.tolist(), strict=True)
    return FrozenTrial(
        number=0,  # the storage numbers them in their order
        trial_id=0,
        state=TrialState[state],
        value=None,
        values=values if has_values else None,  # type: ignore[arg-type]
        datetime_start=_local(trial.started_at),
        datetime_complete=_local(trial.finished_at),
        params=trial.settings,
        distributions={name: distributions[name] for name in trial.settings},
        user_attrs=trial.facts | {"metrics": trial.metrics},
        system_attrs={},
        intermediate_values={epoch: value for epoch, value in by_epoch if value == value},
    )


def _distributions(study: FinishedStudy) -> "dict[str, BaseDistribution]":
    """Return what each setting was drawn from: numbers from a range, whatever else from its values."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    searched = {} if study.spec is None else {column_name(name): one for name, one in study.spec.search.items()}
    found: dict[str, BaseDistribution] = {}
    for name in study.setting_names:
        values = [trial.settings[name] for trial in study.trials if name in trial.settings]
        dimension = searched.get(name)
        bounds: tuple[float, ...] = ()
        if isinstance(dimension, Uniform):
            bounds = dimension.uniform
        elif isinstance(dimension, IntRange):
            bounds = dimension.bounds
        if not values:
            continue
        if any(isinstance(value, bool | str) for value in values):
            found[name] = CategoricalDistribution(sorted(set(values), key=str))
            continue
        low, high = min(*values, *bounds, values[0]), max(*values, *bounds, values[0])
        if all(isinstance(value, int) for value in values):
            found[name] = IntDistribution(int(low), int(high))
        else:
            is_log = isinstance(dimension, Uniform) and dimension.log and low > 0
            found[name] = FloatDistribution(low, high, log=is_log)
    return found


def _local(moment: datetime.datetime) -> datetime.datetime:
    """Return a time as Optuna keeps it: that of this machine's clock, without a zone."""
    return moment.astimezone().replace(tzinfo=None)


def _mark_in(path: Path) -> Any:
    """Return the mark in a journal; None where it is no journal, or none of ours."""
    try:
        with path.open("rb") as file:
            first = [json.loads(file.readline()) for _ in range(2)]
        return first[1]["user_attr"][_MARK]
    except (ValueError, KeyError, TypeError, OSError):
        return None
