"""The notes and tags that people give studies and trials: a small file for each, in the study's folder.

A note is written whole, synced, under a name that is never used again. So nobody needs a lease, notes can be written
and read while a driver runs, and no driver ever touches them.
"""

import datetime
import getpass
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.errors import CorruptFileError, QueryError, alternatives
from kd_sweep.storage.root import Root
from kd_sweep.tables.schema import NOTES

NOTES_FOLDER = "notes"
MAX_TEXT = 10_000
"""Characters of a note."""
_TAG = re.compile(r"[\w][\w.:/+-]{0,49}")
_FILE = re.compile(r"\d{20}-([0-9a-f]{8})\.json")


def add_note(study: Root, text: str = "", tags: Sequence[str] = (), trial_id: str | None = None) -> str:
    """Give a study, or one of its trials, a note, and return the note's id.

    Args:
        study: the study's folder.
        text: what to note; may be empty where there are tags.
        tags: words to find it by.
        trial_id: the trial; the study itself when None.

    Raises:
        QueryError: it is empty or too long, or a tag is none. One line.
        StorageError: the file cannot be written.
    """
    if not text.strip() and not tags:
        raise QueryError("note: is empty; a text or a --tag is needed")
    if len(text) > MAX_TEXT:
        raise QueryError(f"note: {len(text)} characters are more than {MAX_TEXT}")
    if wrong := next((tag for tag in tags if not _TAG.fullmatch(tag)), None):
        raise QueryError(f"--tag: {wrong!r} is not a tag: at most 50 letters, digits, '.', ':', '/', '_', '+' and '-'")
    now, note_id = datetime.datetime.now(datetime.UTC), secrets.token_hex(4)
    content = {
        "trial_id": trial_id,
        "text": text,
        "tags": list(dict.fromkeys(tags)),
        "written_at": now.isoformat(),
        "author": _author(),
    }
    name = f"{NOTES_FOLDER}/{int(now.timestamp() * 1e6):020d}-{note_id}.json"
    study.write_bytes(name, json.dumps(content, ensure_ascii=False).encode())
    return note_id


def delete_note(study: Root, note_id: str) -> None:
    """Delete a note; `QueryError` where the study has none of this id."""
    known = {match[1]: name for name in study.files(NOTES_FOLDER) if (match := _FILE.fullmatch(name))}
    if note_id not in known:
        raise QueryError(f"note: {study} has no note {note_id!r}; {alternatives(note_id, known)}")
    study.delete(f"{NOTES_FOLDER}/{known[note_id]}")


def notes_table(studies: Mapping[str, Root]) -> pa.Table:
    """Return the notes of studies as a table, the oldest of each first.

    Raises:
        CorruptFileError: a note is damaged; the file is named.
    """
    return pa.Table.from_pylist([row for name, root in studies.items() for row in _rows(name, root)], NOTES)


def tags_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the tags among notes, each once, in the order of the notes."""
    return list(dict.fromkeys(tag for row in rows for tag in row["tags"]))


def _rows(study: str, root: Root) -> Iterable[dict[str, Any]]:
    for name in root.files(NOTES_FOLDER):
        if match := _FILE.fullmatch(name):
            try:
                yield {"study": study, "note_id": match[1], **_read(root, f"{NOTES_FOLDER}/{name}")}
            except FileNotFoundError:
                continue  # it has been deleted meanwhile


def _read(root: Root, file: str) -> dict[str, Any]:
    """Return what a note's file holds; `CorruptFileError` where that is not what was written."""
    try:
        content = json.loads(root.read_bytes(file))
        row = {name: content[name] for name in ("trial_id", "text", "tags", "author")}
        row["written_at"] = datetime.datetime.fromisoformat(content["written_at"])
        pa.Table.from_pylist([{"study": "", "note_id": "", **row}], NOTES)
    except (ValueError, TypeError, KeyError, pa.ArrowException):
        where = root.location_of(file)
        raise CorruptFileError(f"{where} is damaged: it is not a note; read it and delete it") from None
    return row


def _author() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in a container
        return None
