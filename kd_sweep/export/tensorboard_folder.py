"""A study as a log folder of TensorBoard: a run for each trial, with its scalars and its hyperparameters."""

import functools
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kd_sweep.export.export_paths import write_file
from kd_sweep.export.finished_study import Curves, FinishedStudy, FinishedTrial
from kd_sweep.export.histories import begin_histories
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
    histories, is_new = begin_histories(request)
    changed = [is_new]
    created_at = study.trials[0].started_at.timestamp()
    with_text = _with_text(study)
    changed.append(write_file(out / EVENTS, _records([_event(created_at, summary=_experiment(study, created_at))])))
    for trial, curves in study.curves(histories=histories):
        content = _records(_events(trial, curves, _hyperparameters(study, trial, with_text)))
        changed.append(write_file(out / trial.trial_id / EVENTS, content))
    return Written(any(changed), histories.words(study))


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
    metrics = [*objectives, *(name for name in study.reported_metrics if name not in objectives)]
    hyperparameters = [HParam(name) for name in study.setting_names]
    return hparams_config_pb(hyperparameters, [Metric(name) for name in metrics], created_at)


def _events(trial: FinishedTrial, curves: Curves, hyperparameters: dict[str, Any]) -> Iterator[bytes]:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    started_s, finished_s = trial.started_at.timestamp(), trial.finished_at.timestamp()
    yield _event(started_s, file_version="brain.Event:2")
    yield _event(started_s, summary=_in_order(hparams_pb(hyperparameters, trial.trial_id, started_s)))
    yield from _scalars(curves)
    ended = plugin_data_pb2.SessionEndInfo(
        status=api_pb2.Status.Value(_STATUSES[trial.status]), end_time_secs=finished_s
    )
    told = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=ended))
    end = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=told, tensor=metadata.NULL_TENSOR)
    yield _event(finished_s, summary=Summary(value=[end]))


def _in_order(summary: "Summary") -> "Summary":
    """Return a summary of hyperparameters with these in one order: protobuf has another for a map in each process."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for value in summary.value:
        told = value.metadata.plugin_data
        told.content = HParamsPluginData.FromString(told.content).SerializeToString(deterministic=True)
    return summary


def _scalars(curves: Curves) -> Iterator[bytes]:
    """Yield the event of each epoch, with the metrics that it has a value of.

    The bytes of epochs that have the same metrics differ in their numbers alone, which numpy puts into them at once.
    """
    names = np.array(list(curves.values), dtype=object)
    values_EN = np.stack([*curves.values.values()], axis=-1) if len(names) else np.empty((len(curves.epochs), 0))
    has_value_EN = ~np.isnan(values_EN)
    summaries: dict[int, bytes] = {}
    kinds_KN, kind_E = np.unique(has_value_EN, axis=0, return_inverse=True)
    for kind, has_value_N in enumerate(kinds_KN):
        (epochs,) = np.nonzero(kind_E.reshape(-1) == kind)
        template = _template(tuple(names[has_value_N]))
        summaries |= dict(zip(epochs.tolist(), template.filled(values_EN[np.ix_(epochs, has_value_N)]), strict=True))
    for index, (epoch, time_s) in enumerate(zip(curves.epochs.tolist(), curves.finished_at_s.tolist(), strict=True)):
        yield _event(time_s, step=epoch) + summaries[index]  # parts of a message one after another are its whole


class _Template(NamedTuple):
    """An event that has a summary and no time, with room for its numbers."""

    content: npt.NDArray[np.uint8]
    positions_N4: npt.NDArray[np.int64]
    """Of the bytes of each metric's number, a float32 whose lowest byte is first."""

    def filled(self, values_EN: npt.NDArray[np.float64]) -> list[bytes]:
        """Return it with the numbers of each epoch."""
        events = np.tile(self.content, (len(values_EN), 1))
        events[:, self.positions_N4.ravel()] = np.ascontiguousarray(values_EN, "<f4").view(np.uint8)
        return [event.tobytes() for event in events]


@functools.lru_cache(maxsize=64)
def _template(names: tuple[str, ...]) -> _Template:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=1.0) for name in names]
    sizes = [len(Summary(value=[value]).SerializeToString()) for value in values]
    content = Event(summary=Summary(value=values)).SerializeToString()
    # A number is the last of its metric's bytes, and the metrics are the last of the event's.
    ends_N = len(content) - sum(sizes) + np.cumsum(sizes, dtype=np.int64)
    return _Template(np.frombuffer(content, np.uint8), ends_N[:, None] + np.arange(-4, 0))


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
