"""An export that keeps up with a study while it runs, until that is finished."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kd_sweep.errors import QueryError
from kd_sweep.export.finished_study import EXPORTED
from kd_sweep.export.request import Request, Written
from kd_sweep.export.targets import TARGETS, export_request

POLL_S = 2.0
"""How often the tables are asked for more, at most."""
SHARE = 0.25
"""Of the time that may go into exports: those of large studies are made less often."""
_ENDED = ("completed", "incomplete")
"""How a study stands whose driver has ended by itself. One that was interrupted is waited for: it may be resumed."""


def follow(request: Request, say: Callable[[str], None] | None = None) -> Written:
    """Export a study again and again as its trials finish, until it is finished itself.

    Args:
        request: of a whole study, checked.
        say: is given a line when an export has changed something, and when the study stands still.

    Returns:
        What the last export did.

    Raises:
        UserError: one line, as of `export_request`; but where no trial is finished yet, one is waited for.
    """
    if TARGETS[request.target].of_network:
        possible = ", ".join(name for name, one in TARGETS.items() if not one.of_network)
        raise QueryError(
            f"--follow: {request.target} takes one trained network, which does not grow; possible with {possible}"
        )
    tell = say or (lambda _: None)
    exported: list[tuple[Any, ...]] = []
    stands = ""
    while True:
        began = time.monotonic()
        before, stands = stands, _stands(request)  # first: what finishes after this is in the next export
        finished = _finished(request)
        if (finished and finished != exported) or stands in _ENDED:
            written = export_request(replace(request))
            exported = finished
            if written.changed:
                tell(f"wrote {request.out}: {written.what}")
        if stands in _ENDED:
            return written
        if stands == "interrupted" != before:
            tell(f"study {request.study_name} is interrupted; waiting for its resume (Ctrl-C ends this)")
        time.sleep(max(POLL_S, (time.monotonic() - began) * (1 / SHARE - 1)))


def _stands(request: Request) -> str:
    """Return the status of the study, `interrupted` where no driver holds one that is said to run."""
    rows = request.table("studies").to_pylist()
    return str(rows[0]["status"]) if rows else ""


def _finished(request: Request) -> list[tuple[Any, ...]]:
    """Return what tells the finished trials of one moment from those of another."""
    rows = request.table("trials").select(("trial_id", "status", "attempts", "finished_at")).to_pylist()
    return sorted((tuple(row.values()) for row in rows if row["status"] in EXPORTED), key=str)
