"""The order of the queue: by priority, then by arrival; pure functions of rows."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from kd_sweep.service.queue.states import HOLDING


class Queued(Protocol):
    """What the order depends on."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def priority(self) -> int: ...  # noqa: D102
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def wanted(self) -> str: ...  # noqa: D102


Row = TypeVar("Row", bound=Queued)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that wait for a slot, the next one first."""
    waiting = [row for row in rows if row.state == "queued" and row.wanted == "run"]
    return sorted(waiting, key=lambda row: (-row.priority, row.id))


def to_start(rows: Sequence[Row], max_studies: int) -> list[Row]:
    """Return the rows that there is room for, in their order."""
    room = max_studies - len(holders(rows))
    return in_order(rows)[: max(0, room)]


def holders(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that hold a slot of the service, in the order of arrival."""
    return sorted((row for row in rows if row.state in HOLDING), key=lambda row: row.id)
