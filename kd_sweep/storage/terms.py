"""Terms: numbers that tell which of two holders is the later one, and whose files count.

A suspended process goes on where it stood, also between a check and the write after it, and no filesystem, least of all
an object store, refuses that write. So nothing rests on such checks. Who takes over something gets a number that is
higher than any before it, its term (as in Raft; a fencing token elsewhere), and all that it replaces or deletes has the
term in its name. A holder that has lost what it held can touch its own term's files alone, and they no longer count.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from kd_sweep.storage.local_files import is_temporary
from kd_sweep.storage.root import Root

_UNFINISHED = re.compile(r"-(\d{8,})\.[a-z]+\.[0-9a-f]+\.tmp$")


class Claim(NamedTuple):
    """A file by whose name somebody has claimed a term."""

    term: int
    token: str
    """Names the claimant: of two that claim one term at once, at least one finds the other's file."""


def claim_name(name: str, claim: Claim) -> str:
    """Return the file of a claim on what ``name`` stands for: ``lease.json`` is ``lease-00000007-c0ffee….json``."""
    stem, dot, suffix = name.partition(".")
    return f"{stem}-{claim.term:08d}-{claim.token}{dot}{suffix}"


def claims_on(name: str, files: Iterable[str]) -> list[Claim]:
    """Return the claims on what ``name`` stands for among the files of a folder, in order of their terms."""
    stem, dot, suffix = name.partition(".")
    pattern = re.compile(rf"{re.escape(stem)}-(\d{{8,}})-([0-9a-z]+){re.escape(dot + suffix)}")
    return sorted(Claim(int(match[1]), match[2]) for file in files if (match := pattern.fullmatch(file)))


def rivals(root: Root, name: str, ours: Claim) -> list[Claim]:
    """Return the claims that hold against ours, which is on disk: those of its term and of later ones.

    Whoever finds none has the term alone. Of two processes one was the later to write its claim, and lists the folder
    only after that; so it finds the other's, whatever happened in between.
    """
    return [claim for claim in claims_on(name, root.files()) if claim.term >= ours.term and claim != ours]


def claim_term(root: Root, name: str, token: str) -> int:
    """Claim the next term of what ``name`` stands for in this folder, and return it; no other process ever gets it."""
    while True:
        known = claims_on(name, root.files())
        ours = Claim(max((claim.term for claim in known), default=0) + 1, token)
        root.write_bytes(claim_name(name, ours), b"", durable=False)
        if not rivals(root, name, ours):
            for claim in known:
                root.delete(claim_name(name, claim))
            return ours.term
        root.delete(claim_name(name, ours))


def of_term(name: str, term: int) -> str:
    """Return a file's name in a term: ``trials/trials.parquet`` is ``trials/trials-00000003.parquet``."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{term:08d}{dot}{suffix}"


def terms_of(name: str, files: Iterable[str]) -> list[int]:
    """Return the terms of which there is a file ``name`` among the files of its folder, in order."""
    stem, dot, suffix = name.rpartition(".")
    pattern = re.compile(rf"{re.escape(stem)}-(\d{{8,}}){re.escape(dot + suffix)}")
    return sorted(int(match[1]) for file in files if (match := pattern.fullmatch(file)))


def unfinished(files: Iterable[str], *, before: int) -> list[str]:
    """Return the temporary files among those of a folder that are of terms before this one: their writers are over."""
    return [
        file for file in files if is_temporary(file) and (match := _UNFINISHED.search(file)) and int(match[1]) < before
    ]
