"""The identity of a results root: an id in it, by which its service knows its own files and rows again."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from kd_sweep.errors import StorageError
from kd_sweep.service.rows.database import Database
from kd_sweep.service.service_errors import ServiceError
from kd_sweep.storage.root import Root

_FILE = "root-id"


@dataclass(frozen=True)
class RootIdentity:
    """Which results root this is: it keeps its id where it is moved, and its location where it is made anew."""

    id: str
    location: str
    is_new: bool
    """Whether the root has no id yet: `keep` writes it."""

    @property
    def note(self) -> str:
        """What files and rows of its service say of it."""
        return f"{self.id} {self.location}"

    def fits(self, note: str) -> bool:
        """Whether such a note is about this root."""
        known, _, location = note.partition(" ")
        return known == self.id or (self.is_new and location == self.location)

    def keep(self, folder: Root) -> None:
        """Write the id into the root's folder of the service, where it has none."""
        if self.is_new:
            folder.write_bytes(_FILE, self.id.encode())


def identity_of(folder: Root, location: str) -> RootIdentity:
    """Return the identity of the results root at a location; nothing is written.

    Args:
        folder: of the service in the root.
        location: of the root.

    Raises:
        StorageError: the root cannot be read.
    """
    try:
        known = folder.read_bytes(_FILE).decode(errors="replace").strip()
    except FileNotFoundError:
        known = ""
    return RootIdentity(known or secrets.token_hex(16), location, is_new=not known)


def claim_for(root: RootIdentity, state: Path, database: Database) -> None:
    """Note in the files and rows of a service whose they are; refuse those of another root.

    Else studies of two roots would be run in both.

    Args:
        root: which it is.
        state: the folder of the service's own files.
        database: its rows.

    Raises:
        ServiceError: they belong to another root. One line.
        StorageError: the folder cannot be written.
    """
    file = state / _FILE
    try:
        noted = file.read_text() if file.exists() else ""
        if noted and not root.fits(noted):
            raise ServiceError(f"--state {state}: has the files of another results root, {_other(noted)}; take another")
        if noted != root.note:
            file.write_text(root.note)
    except (OSError, UnicodeError) as error:
        raise StorageError(f"--state {state}: cannot be made or used: {error}") from None
    if (other := database.note_root(root.note, root.fits)) is not None:
        raise ServiceError(
            f"the database {database.name} has the rows of another results root, {_other(other)}; take another "
            "--database or --state"
        )


def _other(note: str) -> str:
    return note.partition(" ")[2] or "whose place is not known"
