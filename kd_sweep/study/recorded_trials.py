"""The trials of rows of the `trials` table: each row holds its configuration as JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.errors import StorageError
from kd_sweep.study.identity import SECTIONS
from kd_sweep.study.trial import TrialConfig


def recorded_trials(rows: Iterable[Mapping[str, Any]]) -> Iterator[TrialConfig]:
    """Yield the trial of each row of the `trials` table; errors as `recorded_trial`."""
    return map(RecordedTrials().trial, rows)


class RecordedTrials:
    """The trials of rows of the `trials` table. Equal sections are read once, and shared."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Strict] = {}

    def trial(self, row: Mapping[str, Any]) -> TrialConfig:
        """Return the trial of a row; errors as `recorded_trial`."""
        content = json.loads(row["config"])
        keys = {name: (name, repr(content[name])) for name in SECTIONS if name in content}
        if content.pop("members", None):  # of which a section of the trial is one
            return recorded_trial(row)
        if self._read.keys() >= set(keys.values()):
            return _of_read_sections(row, content | {name: self._read[key] for name, key in keys.items()})
        config = recorded_trial(row)
        self._read |= {key: getattr(config, name) for name, key in keys.items()}
        return config


def _of_read_sections(row: Mapping[str, Any], content: dict[str, Any]) -> TrialConfig:
    if "teacher_strengths" in content:
        content["teacher_strengths"] = tuple(content["teacher_strengths"])
    try:
        return TrialConfig.model_validate(content)
    except ValidationError:
        return recorded_trial(row)  # which says what is wrong


def recorded_trial(row: Mapping[str, Any]) -> TrialConfig:
    """Return the trial of a row of the `trials` table.

    Raises:
        StorageError: a version of kd_sweep wrote the row whose trials have other fields.
    """
    try:
        return TrialConfig.model_validate_json(row["config"])
    except ValidationError:
        raise StorageError(
            f"trial {row['trial_id']}: was written by a version of kd_sweep whose trials have other fields; go on with "
            "that version, or launch the study in another root"
        ) from None
