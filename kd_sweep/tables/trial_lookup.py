"""The lookup of trials: by id, or by a unique prefix of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from kd_sweep.errors import QueryError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results, is_study

_MAX_LISTED = 4


@dataclass(frozen=True)
class StoredTrial:
    """A trial's row, with its study's folder and the root around that."""

    root: Root
    """The results root, where teachers are."""
    study: Root
    """The study's folder."""
    row: dict[str, Any]
    """Of the `trials` table."""
    data_location: Mapping[str, str] = field(default_factory=dict)
    """Fields of `data` that say where its images are now; where the study has them when there are none."""

    @property
    def trial_id(self) -> str:
        """Digest of the trial's configuration."""
        return str(self.row["trial_id"])

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration."""
        config: dict[str, Any] = json.loads(self.row["config"])
        return config


def find_trials(results: Results, ids: Iterable[str]) -> list[StoredTrial]:
    """Find trials by their ids or unique prefixes of them; return each once, in the order of the request.

    A configuration that several studies have is one trial; the first study's is taken.

    Raises:
        QueryError: no trial has such an id, or several ids start so. One line.
    """
    table = results.for_views().table("trials").sort_by("study")
    places: dict[str, int] = {}
    for place, trial_id in enumerate(table["trial_id"].to_pylist()):
        places.setdefault(trial_id, place)
    studies = results.select()
    found = dict.fromkeys(places[matching_id(prefix, places, results.root)] for prefix in ids)
    rows = results.with_configurations(table.take(pa.array(found, pa.int64()))).to_pylist()
    return [StoredTrial(studies[row["study"]].parent()[0], studies[row["study"]], row) for row in rows]


def matching_id(prefix: str, trial_ids: Iterable[str], root: Root) -> str:
    """Return the id that a prefix stands for; `QueryError` where that is none of ``trial_ids``, or several."""
    matching = sorted(trial_id for trial_id in trial_ids if prefix and trial_id.startswith(prefix))
    if prefix in matching or len(matching) == 1:
        return prefix if prefix in matching else matching[0]
    listed = ", ".join(matching[:_MAX_LISTED]) + (", …" if len(matching) > _MAX_LISTED else "")
    what = f"is the beginning of {len(matching)} trials ({listed})" if matching else f"is no trial in {root}"
    query = f"kd-sweep query {root} 'SELECT trial_id, status FROM trials'"
    raise QueryError(f"trial: {prefix!r} {what}; see {query}")


def study_or_trial(location: Root) -> tuple[Root, str | None]:
    """Return the study's folder and the trial's id that ROOT/STUDY or ROOT/STUDY/TRIAL names; None is the study itself.

    Raises:
        StorageError: there is no such study.
        QueryError: the study has no such trial, or several whose ids begin so.
    """
    if is_study(location):
        return location, None
    study, beginning = location.parent()
    if not is_study(study):
        raise StorageError(f"{location}: is not a study; possible: ROOT/STUDY, or ROOT/STUDY/TRIAL with a trial's id")
    return study, find_trials(Results(study), [beginning])[0].trial_id
