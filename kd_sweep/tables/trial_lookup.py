"""One trial by its id, or by as much of it as is unique."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_sweep.errors import QueryError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_SHOWN = 4


@dataclass(frozen=True)
class FoundTrial:
    """A trial's row, and where it lies."""

    root: Root
    """The results root, where teachers are."""
    study: Root
    """The study's folder."""
    row: dict[str, Any]
    """Of the `trials` table."""

    @property
    def trial_id(self) -> str:
        """Digest of the trial's configuration."""
        return str(self.row["trial_id"])

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration."""
        config: dict[str, Any] = json.loads(self.row["config"])
        return config


def find_trials(results: Results, ids: Iterable[str]) -> list[FoundTrial]:
    """Return the trials with these ids, or whose ids begin so, in the order asked for, each once.

    A configuration that several studies have is one trial; the first study's is taken.

    Raises:
        QueryError: an id that no trial has, or that several begin with. One line.
    """
    rows: dict[str, dict[str, Any]] = {}
    for row in results.table("trials").sort_by("study").to_pylist():
        rows.setdefault(row["trial_id"], row)
    studies = results.select()
    found: dict[str, FoundTrial] = {}
    for wanted in ids:
        row = rows[_only(wanted, rows, results.root)]
        study = studies[row["study"]]
        found.setdefault(row["trial_id"], FoundTrial(study.parent()[0], study, row))
    return list(found.values())


def check_picture(out: Path) -> None:
    """Check that a picture can be written there.

    Raises:
        StorageError: no folder, or a kind of file that is none of `PICTURES`. One line.
    """
    if out.suffix.lower() not in PICTURES:
        raise StorageError(f"--out: {out} is not a picture's name; possible: {', '.join(PICTURES)}")
    if not out.parent.is_dir():
        raise StorageError(f"--out: {out.parent} is not a folder; make it first")


def _only(wanted: str, trial_ids: Iterable[str], root: Root) -> str:
    matching = sorted(trial_id for trial_id in trial_ids if wanted and trial_id.startswith(wanted))
    if wanted in matching or len(matching) == 1:
        return wanted if wanted in matching else matching[0]
    listed = ", ".join(matching[:_SHOWN]) + (", …" if len(matching) > _SHOWN else "")
    what = f"is the beginning of {len(matching)} trials ({listed})" if matching else f"is no trial in {root}"
    query = f"kd-sweep query {root} 'SELECT trial_id, status FROM trials'"
    raise QueryError(f"trial: {wanted!r} {what}; see {query}")
