"""Views of how studies ran: how far they are, what ran when and where, at which epochs trials were stopped."""

import datetime
import heapq
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from kd_sweep.tables.queries.named_query import NamedQuery, QueryParameters, with_remarks
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import STATUSES

MAX_SPANS = 2_000
MAX_STOPS = 1_000
_TIME = pa.timestamp("us", tz="UTC")

PROGRESS = pa.schema(
    [
        ("study", pa.string()),
        ("status", pa.string()),
        ("num_planned", pa.int64()),
        ("num_trials", pa.int64()),
        *((f"num_{status}", pa.int64()) for status in STATUSES),
        ("num_epochs", pa.int64()),
        ("num_epochs_planned", pa.int64()),
        ("train_s", pa.float64()),
        ("num_teachers", pa.int64()),
        ("teachers_train_s", pa.float64()),
        ("mean_trial_s", pa.float64()),
        ("remaining_s", pa.float64()),
        ("driver_alive", pa.bool_()),
        ("host", pa.string()),
        ("updated_at", _TIME),
    ]
)
TIMELINE = pa.schema(
    [
        ("study", pa.string()),
        ("kind", pa.string()),
        ("id", pa.string()),
        ("augmentation_strength", pa.float64()),
        ("ensemble_size", pa.int32()),
        ("seed", pa.int64()),
        ("member", pa.int32()),
        ("attempt", pa.int32()),
        ("status", pa.string()),
        ("host", pa.string()),
        ("slot", pa.int32()),
        ("began_at", _TIME),
        ("ended_at", _TIME),
        ("num_epochs", pa.int64()),
    ]
)

STOPS = pa.schema(
    [
        ("study", pa.string()),
        ("epoch", pa.int32()),
        ("num_stopped", pa.int64()),
        ("num_reached", pa.int64()),
    ]
)


def progress(results: Results, _: QueryParameters) -> pa.Table:
    """How far each study is: trials by status, epochs and time so far and to go; one row per study."""
    query = """
        SELECT study, sum(train_s) AS train_s, avg(train_s) FILTER (status = 'completed') AS mean_trial_s,
            sum(CASE WHEN status = 'stopped' THEN last_epoch ELSE num_epochs END)::BIGINT AS of_known,
            avg(num_epochs) AS of_others
        FROM trials GROUP BY study"""
    trials = {row["study"]: row for row in results.sql(query).to_pylist()}
    query = "SELECT study, count(*) AS num_teachers, sum(train_s) AS teachers_train_s FROM teachers GROUP BY study"
    teachers = {row["study"]: row for row in results.sql(query).to_pylist()}
    rows = []
    for row in results.status():
        known = trials.get(row["study"], {"of_known": None, "of_others": None, "train_s": None, "mean_trial_s": None})
        row |= {"num_teachers": 0, "teachers_train_s": None} | known | teachers.get(row["study"], {})
        if known["of_known"] is not None:
            others = max((row["num_planned"] or 0) - row["num_trials"], 0)
            row["num_epochs_planned"] = known["of_known"] + round(others * (known["of_others"] or 0))
        rows.append({name: row.get(name) for name in PROGRESS.names})
    return pa.Table.from_pylist(rows, PROGRESS)


class TimelineParameters(QueryParameters):
    """Which time."""

    since: datetime.datetime | None = None
    """Only what ran after this; a time without a zone is in UTC."""
    until: datetime.datetime | None = None
    """Only what ran before this."""


def timeline(results: Results, parameters: TimelineParameters) -> pa.Table:
    """What ran when and where: one row per attempt at a trial and per teacher, in numbered slots of hosts."""
    spans = results.sql(_SPANS).to_pylist()
    for slot, span in zip(_slots(spans), spans, strict=True):
        span["slot"] = slot
    since, until = (_in_utc(moment) for moment in (parameters.since, parameters.until))
    inside = [span for span in spans if _overlaps(span, since, until)]
    shown = inside[-MAX_SPANS:]
    remarks = (
        [f"The last {len(shown)} of {len(inside)}: name a time, since or until."] if len(shown) < len(inside) else []
    )
    return with_remarks(pa.Table.from_pylist(shown, TIMELINE), remarks)


_SPANS = """
    WITH attempts AS (
        SELECT study, trial_id, attempt, max(host) AS host, max(pid) AS pid, count(*) AS num_epochs,
            min(finished_at - to_microseconds(CAST(1e6 * coalesce(epoch_s, 0) AS BIGINT))) AS began_at,
            max(finished_at) AS ended_at
        FROM epochs WHERE host IS NOT NULL GROUP BY study, trial_id, attempt),
    of_trials AS (
        SELECT trials.study, 'trial' AS kind, trials.trial_id AS id, augmentation_strength, ensemble_size, seed,
            NULL::INTEGER AS member, coalesce(attempt, attempts) AS attempt, status,
            coalesce(attempts.host, trials.host) AS host,
            coalesce(began_at, started_at) AS began_at,
            CASE WHEN status = 'running' AND coalesce(attempt, attempts) = attempts THEN NULL
                ELSE coalesce(ended_at, finished_at) END AS ended_at,
            coalesce(num_epochs, 0) AS num_epochs
        FROM (SELECT * EXCLUDE (num_epochs) FROM trials) AS trials LEFT JOIN attempts USING (study, trial_id)),
    of_teachers AS (
        SELECT study, 'teacher' AS kind, teacher_id AS id, augmentation_strength, NULL::INTEGER AS ensemble_size, seed,
            member, NULL::INTEGER AS attempt, 'completed' AS status, host,
            finished_at - to_microseconds(CAST(1e6 * coalesce(train_s, 0) AS BIGINT)) AS began_at,
            finished_at AS ended_at, epochs AS num_epochs
        FROM teachers)
    SELECT * FROM (FROM of_trials UNION ALL FROM of_teachers)
    WHERE began_at IS NOT NULL ORDER BY began_at, study, kind, id, attempt"""
"""An epoch that was read from a checkpoint has no host, and its time is not when it was trained."""


def _slots(spans: Iterable[dict[str, Any]]) -> list[int]:
    """Return the slot of each span, from 1 on each host: the lowest free one. They are sorted by beginning."""
    free: dict[str | None, list[int]] = {}
    busy: dict[str | None, list[tuple[datetime.datetime, int]]] = {}
    teachers: dict[str, int] = {}
    slots = []
    for span in spans:
        host, began = span["host"], span["began_at"]
        waiting, running = free.setdefault(host, []), busy.setdefault(host, [])
        if span["kind"] == "teacher" and span["id"] in teachers:  # it is another study's too, and ran once
            slots.append(teachers[span["id"]])
            continue
        while running and running[0][0] <= began:
            heapq.heappush(waiting, heapq.heappop(running)[1])
        slot = heapq.heappop(waiting) if waiting else len(running) + 1
        heapq.heappush(running, (span["ended_at"] or _NEVER, slot))
        slots.append(slot)
        if span["kind"] == "teacher":
            teachers[span["id"]] = slot
    return slots


_NEVER = datetime.datetime.max.replace(tzinfo=datetime.UTC)


def _overlaps(span: dict[str, Any], since: datetime.datetime | None, until: datetime.datetime | None) -> bool:
    return (since is None or span["ended_at"] is None or span["ended_at"] >= since) and (
        until is None or span["began_at"] <= until
    )


def _in_utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


def stops(results: Results, _: QueryParameters) -> pa.Table:
    """At which epochs trials were stopped, and how many: one row per epoch at which some were."""
    query = """
        SELECT study, last_epoch AS epoch, count(*) FILTER (status = 'stopped') AS num_stopped,
            sum(count(*)) OVER (PARTITION BY study ORDER BY last_epoch DESC)::BIGINT AS num_reached
        FROM trials WHERE last_epoch IS NOT NULL GROUP BY study, last_epoch
        QUALIFY num_stopped > 0 ORDER BY study, epoch"""
    rows = results.sql(query).to_pylist()
    # Rungs are few; a rule that looks at every epoch may stop trials at each.
    most = sorted(rows, key=lambda row: -row["num_stopped"])[:MAX_STOPS]
    remarks = [f"The {len(most)} of {len(rows)} epochs with most."] if len(most) < len(rows) else []
    most.sort(key=lambda row: (row["study"], row["epoch"]))
    return with_remarks(pa.Table.from_pylist(most, STOPS), remarks)


RUN_VIEWS = (
    NamedQuery(progress, QueryParameters, PROGRESS),
    NamedQuery(timeline, TimelineParameters, TIMELINE, MAX_SPANS),
    NamedQuery(stops, QueryParameters, STOPS, MAX_STOPS),
)
