"""A study as a log folder of TensorBoard: a run for each trial, with its scalars and its hyperparameters."""

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kd_sweep.export.export_paths import begin_folder, write_file
from kd_sweep.export.finished_study import Curves, FinishedStudy, FinishedTrial
from kd_sweep.export.request import Request, Written

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

EVENTS = "events.out.tfevents.0.kd-sweep"
"""The file of events of a run. A run has one, so that it can be replaced whole."""
_NONE = "none"
"""Of a setting that a trial has not: where one trial of many lacks a key, or has a null, TensorBoard hides trials."""
_STATUSES = {"completed": "STATUS_SUCCESS", "stopped": "STATUS_SUCCESS", "failed": "STATUS_FAILURE"}


def write_tensorboard(request: Request) -> Written:
    """Write a run for each finished trial, named by its id, and what the HPARAMS tab compares in the folder itself."""
    study, out = request.study, request.out
    changed = [begin_folder(out, request.mark)]
    created_at = study.trials[0].started_at.timestamp()
    with_text = _with_text(study)
    changed.append(write_file(out / EVENTS, _records([_event(created_at, summary=_experiment(study, created_at))])))
    for trial, curves in study.curves():
        content = _records(_events(trial, curves, _hyperparameters(study, trial, with_text)))
        changed.append(write_file(out / trial.trial_id / EVENTS, content))
    return Written(any(changed), f"{len(study.trials)} trials")


def _with_text(study: FinishedStudy) -> set[str]:
    """Return the settings that some trial has not: numbers beside a word are words too, as a column has one type."""
    return {name for name in study.setting_names if any(name not in trial.settings for trial in study.trials)}


def _hyperparameters(study: FinishedStudy, trial: FinishedTrial, with_text: set[str]) -> dict[str, Any]:
    values = {name: trial.settings.get(name, _NONE) for name in study.setting_names}
    return {name: str(value) if name in with_text else value for name, value in values.items()}


def _experiment(study: FinishedStudy, created_at: float) -> "Summary":
    """Return the columns of the HPARAMS tab: the settings, and metrics, the study's objectives first."""
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    objectives = [objective["metric"] for objective in study.objectives]
    known = {name for trial in study.trials for name in trial.metrics}
    metrics = [*objectives, *(name for name in study.metric_names if name in known and name not in objectives)]
    hyperparameters = [HParam(name) for name in study.setting_names]
    return hparams_config_pb(hyperparameters, [Metric(name) for name in metrics], created_at)


def _events(trial: FinishedTrial, curves: Curves, hyperparameters: dict[str, Any]) -> Iterator[bytes]:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    started_s, finished_s = trial.started_at.timestamp(), trial.finished_at.timestamp()
    yield _event(started_s, file_version="brain.Event:2")
    yield _event(started_s, summary=hparams_pb(hyperparameters, trial.trial_id, started_s))
    names = list(curves.values)
    rows = zip(*(curves.values[name].tolist() for name in names), strict=True)
    times = zip(curves.epochs.tolist(), curves.finished_at_s.tolist(), strict=True)
    for (epoch, time_s), values in zip(times, rows, strict=bool(names)):
        reported = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in zip(names, values, strict=True)
            if value == value  # not NaN: the epoch has one
        ]
        yield _event(time_s, step=epoch, summary=Summary(value=reported))
    ended = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.Status.Value(_STATUSES[trial.status]), end_time_secs=finished_s
    )
    told = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=ended))
    end = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=told, tensor=metadata.NULL_TENSOR)
    yield _event(finished_s, summary=Summary(value=[end]))


def _event(time_s: float, **content: Any) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event

    event: bytes = Event(wall_time=time_s, **content).SerializeToString(deterministic=True)
    return event


def _records(events: Iterable[bytes]) -> bytes:
    """Return events as a file of records: length, its checksum, the event, its checksum.

    TensorBoard's own writer computes checksums byte by byte in Python.
    """
    parts: list[bytes] = []
    for event in events:
        length = struct.pack("<Q", len(event))
        parts += [length, _masked_checksum(length), event, _masked_checksum(event)]
    return b"".join(parts)


def _masked_checksum(content: bytes) -> bytes:
    import google_crc32c

    checksum = int(google_crc32c.value(content))
    rotated = (checksum >> 15 | checksum << 17) + 0xA282EAD8
    return struct.pack("<I", rotated & 0xFFFFFFFF)
