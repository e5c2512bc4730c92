"""What changes, for all who watch: one look at rows and tables in a while, and a short memory of what was new."""

import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import select

from kd_sweep.errors import KdSweepError
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.serving import Rows
from kd_sweep.service.http.watching.new_epochs import NewEpochs
from kd_sweep.service.queue.states import HOLDING
from kd_sweep.service.rows.models import Submission
from kd_sweep.tables.rendering.value_text import plain

_LOG = logging.getLogger(__name__)
PAUSE_S = 0.5
"""Between two looks."""
LIVE_PAUSE_S = 0.2
"""Between two looks at studies that run."""
END_S = 10.0
"""How long the last look may take when the service ends."""
REMEMBERED = 2000
"""Events, for those who come back."""
_OTHERS, _OTHERS_PAUSE_S = 20, 1.0
"""Studies that do not run and are looked at all the same, so many at a time, in turn, and seconds until the next."""
_STILL_WATCHED_S = 30.0
"""After its last change a study counts as running for so long."""


@dataclass(frozen=True)
class Event:
    """Something that has changed."""

    number: int
    kind: str
    """`study`: its row in the queue. `progress`: its counts. `epochs`: epochs that are new."""
    study: str
    data: str
    """JSON on one line."""


class Feed:
    """Watches rows and tables while somebody listens.

    Args:
        reading: the root.
        rows: of the service.
    """

    def __init__(self, reading: Reading, rows: Rows) -> None:
        self._reading, self._database = reading, rows
        self.name = secrets.token_hex(4)
        """Of this feed: a cursor of another one, from before a restart, means nothing to it."""
        self._events: deque[Event] = deque(maxlen=REMEMBERED)
        self._number = 0
        self._listeners: set[Callable[[], None]] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._rows: dict[str, dict[str, Any]] | None = None
        self._stamp: object = None
        """Of the rows."""
        self._studies: dict[str, _Watched] = {}
        self._turn = 0
        self._has_looked = False
        self._ended = threading.Event()

    @property
    def last(self) -> int:
        """The number of the last event."""
        return self._number

    def listen(self, notify: Callable[[], None]) -> None:
        """Call a function, in another thread, whenever there are new events; the first listener begins the watch."""
        with self._changed:
            self._listeners.add(notify)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="kd_sweep feed", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def leave(self, notify: Callable[[], None]) -> None:
        """Call it no more."""
        with self._changed:
            self._listeners.discard(notify)

    def end(self) -> None:
        """End the watch, and wait for that: a thread that is in DuckDB when Python ends would abort the process."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(END_S)

    def since(self, number: int) -> list[Event] | None:
        """Return the events after one; None where some of them are forgotten."""
        with self._changed:
            oldest = self._events[0].number if self._events else self._number + 1
            if number + 1 < oldest or number > self._number:
                return None
            return [event for event in self._events if event.number > number]

    def look(self, *, at_all: bool = True) -> None:
        """Compare rows and tables with the last time, and remember what is new.

        Args:
            at_all: look at some of the studies that do not run, too.
        """
        stamp = self._database.stamp()
        rows = self._submissions() if self._rows is None or stamp != self._stamp else self._rows
        self._stamp = stamp
        self._compare_rows(rows)
        for name in self._due(rows, at_all=at_all):
            try:
                self._compare_study(name)
            except KdSweepError as error:  # a study that is just being made, renamed or deleted
                _LOG.info("feed: %s: %s", name, error)
        self._has_looked = True

    def _watch(self) -> None:
        at_all_from = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._listeners) or self._ended.is_set())
            if self._ended.is_set():
                return
            begun = time.monotonic()
            at_all = begun >= at_all_from
            at_all_from = begun + _OTHERS_PAUSE_S if at_all else at_all_from
            try:
                self.look(at_all=at_all)
            except Exception:
                _LOG.exception("feed")
            pause_s = LIVE_PAUSE_S if any(study.is_live for study in self._studies.values()) else PAUSE_S
            # A root on a slow disk is looked at less often.
            self._ended.wait(max(pause_s, time.monotonic() - begun))

    def _submissions(self) -> dict[str, dict[str, Any]]:
        columns = (
            *(Submission.name, Submission.state, Submission.wanted, Submission.message, Submission.priority),
            *(Submission.slots, Submission.revision, Submission.next_start_at, Submission.ended_at),
        )
        with self._database.reading() as session:
            rows = session.execute(select(*columns)).all()
        names = [column.key for column in columns]
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}

    def _compare_rows(self, rows: dict[str, dict[str, Any]]) -> None:
        before, self._rows = self._rows, rows
        if before is None:
            return
        for name, row in rows.items():
            if before.get(name) != row:
                self._tell("study", name, row)
        for name in before.keys() - rows.keys():
            self._tell("study", name, {"name": name, "state": "deleted"})

    def _due(self, rows: dict[str, dict[str, Any]], *, at_all: bool) -> Iterator[str]:
        """Yield the studies to look at: those that run, and, if ``at_all``, some of the others in turn."""
        names = self._reading.root.folders()
        for gone in self._studies.keys() - set(names):
            del self._studies[gone]
        running = {name for name, row in rows.items() if row["state"] in HOLDING}
        now = time.monotonic()
        live = {
            name for name, study in self._studies.items() if study.is_live or now - study.changed_at < _STILL_WATCHED_S
        }
        yield from (name for name in names if name in live | running)
        if not at_all:
            return
        others = [name for name in names if name not in live | running and not name.startswith(".")]
        start = self._turn % len(others) if others else 0
        self._turn += _OTHERS
        yield from islice([*others[start:], *others[:start]], _OTHERS)

    def _compare_study(self, name: str) -> None:
        if not self._reading.is_study(name):
            return
        study = self._reading.study_in(name)
        known = self._studies.get(name)
        tag = self._reading.tag(study, "feed")
        if known is not None and known.tag == tag:
            return
        if known is not None and (new := known.epochs.take(known.metric)) is not None:  # first: progress takes longer
            self._tell("epochs", study.name, {"name": study.name, **plain(new)})
        progress = self._reading.progress(study)
        if known is not None or self._has_looked:
            self._tell("progress", study.name, {"name": study.name, "progress": plain(progress)})
        if known is None:
            known = self._studies[name] = _Watched(study, is_live=bool(progress["driver_alive"]))
        known.tag, known.is_live, known.changed_at = tag, bool(progress["driver_alive"]), time.monotonic()
        known.metric = progress["objective_metric"]

    def _tell(self, kind: str, study: str, content: dict[str, Any]) -> None:
        data = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with self._changed:
            self._number += 1
            self._events.append(Event(self._number, kind, study, data))
            for notify in self._listeners:
                notify()


class _Watched:
    """A study as it was at the last look."""

    def __init__(self, study: StudyResults, *, is_live: bool) -> None:
        self.tag, self.is_live, self.changed_at = "", is_live, time.monotonic()
        self.metric = ""
        """Of its first objective."""
        self.epochs = NewEpochs(study, is_live=is_live)
