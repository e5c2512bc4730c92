"""The position of a study in the queue, and why it waits, in words."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from kd_sweep.service.queue.order import holders, num_before
from kd_sweep.service.queue.submissions import get
from kd_sweep.service.rows.models import Submission

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Position:
    """How far a study is from its start."""

    position: int | None
    """From 1, the next one; None for a study that is not in the queue."""
    why: str
    """What it waits for. One line."""


def position(session: Session, name: str, max_studies: int) -> Position:
    """Return the position of a study, and what it waits for.

    Args:
        session: any.
        name: of the study.
        max_studies: how many studies the service runs at once.

    Raises:
        NotFoundError: there is no such study.
    """
    return standing(session, get(session, name), max_studies, holders(session))


def standing(session: Session, row: Submission, max_studies: int, holding: Sequence[Submission]) -> Position:
    """Return the same of a study whose row is known.

    Args:
        session: any.
        row: of the study.
        max_studies: how many studies the service runs at once.
        holding: the studies that hold its slots, as `holders` returns them.
    """
    if row.state != "queued":
        return Position(None, row.message or _standing(row))
    if row.wanted != "run":
        return Position(None, _standing(row))
    before = num_before(session, row)
    ahead = ("no study", "1 study")[before] if before < 2 else f"{before} studies"
    ordinal = _ORDINALS[before] if before < len(_ORDINALS) else f"number {before + 1}"
    why = row.message or _room(holding, max_studies, before)
    return Position(before + 1, f"{ordinal}: {ahead} before it; {why}")


def _room(holding: Sequence[Submission], max_studies: int, before: int) -> str:
    if len(holding) < max_studies:
        free = max_studies - len(holding)
        if before < free:
            return "it starts now, in a free slot"
        return f"the free {'slot goes' if free == 1 else f'{free} slots go'} to those before it"
    held = ", ".join(f"{row.name} ({_doing(row)})" for row in holding)
    if len(holding) == 1:
        return f"the slot of this service is held by {held}"
    return f"the {len(holding)} slots of this service are held by {held}"


def _doing(row: Submission) -> str:
    if row.state == "running" and row.next_start_at is not None:
        return f"starting again in {max(0.0, row.next_start_at - time.time()):.0f} s"
    return {"pause": "pausing", "cancel": "stopping", "delete": "stopping"}.get(row.wanted, row.state)


def _standing(row: Submission) -> str:
    return {
        "running": "it runs",
        "pausing": "it is being stopped",
        "paused": "it is paused; resume it",
        "cancelled": "it was cancelled; resume it",
        "finished": "it has finished",
        "finished_with_failures": "it has finished, and trials of it failed; retry them",
        "budget_used": "its budget is used up; extend it",
        "failed": "it could not be run; retry it",
        "queued": "it is being deleted",
    }[row.state]
