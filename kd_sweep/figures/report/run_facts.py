"""What ran: trials by how they stand, failures with their reasons, hours, versions. All of it is in the tables."""

import datetime
from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.wording import counted
from kd_sweep.figures.report.shown_tables import ShownTable, facts, shown_table
from kd_sweep.study.file.frozen import FrozenStudy
from kd_sweep.study.spec import Resources
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import STATUSES

_MOST_REASONS = 20
_MOST_IDS = 3
_MOST_NOTES = 20
_REASONS = ("failed", "lost", "preempted")
"""Statuses of trials that did not end by themselves."""
_COLUMNS = ("trial_id", "status", "error", "train_s", "last_epoch", "attempts", "started_at", "finished_at", "host")


def run_facts(results: Results, study: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how the one study in ``results`` stands, how long it trained, when and where.

    Args:
        results: its tables.
        study: its row of the table of studies.
    """
    trials, teachers = results.table("trials").select(_COLUMNS), results.table("teachers")
    hosts = {*trials["host"].to_pylist(), *teachers["host"].to_pylist()} - {None}
    again = pc.sum(pc.greater(trials["attempts"], 1)).as_py() or 0
    return facts(
        [
            ("State", study.get("status")),
            ("Trials asked for", study.get("num_planned")),
            ("Epochs of students", f"{pc.sum(trials['last_epoch']).as_py() or 0:,}"),
            ("Teachers", teachers.num_rows or None),
            ("First start", _moment(pc.min(trials["started_at"]).as_py())),
            ("Last end", _moment(pc.max(trials["finished_at"]).as_py())),
            ("From first start to last end", _between(trials)),
            ("Hosts", len(hosts) or None),
            ("Trials started more than once", again or None),
            ("kd_sweep of the last launch", study.get("kd_sweep_version")),
        ]
    )


def cost(results: Results, frozen: FrozenStudy | None) -> ShownTable:
    """Return the hours that students and teachers trained, and what of CPUs and GPUs was reserved for them meanwhile.

    A trial, or the training of a teacher, occupies `resources` of the study; whatever else they did, such as being
    evaluated at the start of an attempt that was lost, is in no table.
    """
    resources = None if frozen is None else frozen.spec.resources
    rows = []
    for part, name in (("students", "trials"), ("teachers", "teachers")):
        seconds = results.table(name)["train_s"]
        rows.append((part, len(seconds) - seconds.null_count, (pc.sum(seconds).as_py() or 0.0) / 3600))
    rows.append(("both", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    columns: dict[str, list[Any]] = dict(
        zip(("of", "trained", "hours"), map(list, zip(*rows, strict=True)), strict=True)
    )
    if resources is not None:
        columns["CPU hours"] = [hours * resources.cpus for hours in columns["hours"]]
        if resources.gpus:
            columns["GPU hours"] = [hours * resources.gpus for hours in columns["hours"]]
    return shown_table(pa.table(columns), _cost_caption(resources))


def _cost_caption(resources: Resources | None) -> str:
    if resources is None:
        return "Cost"
    gpus = f" and {resources.gpus:g} of a GPU" if 0 < resources.gpus < 1 else ""
    gpus = f" and {counted(int(resources.gpus), 'GPU')}" if resources.gpus >= 1 else gpus
    return f"Cost: each training reserves {counted(resources.cpus, 'CPU core')}{gpus}"


def trials_by_status(results: Results) -> ShownTable:
    """Return how many trials have each status."""
    counts = status_counts(results)
    rows = {"status": list(counts), "trials": list(counts.values())}
    return shown_table(pa.table(rows, schema=pa.schema([("status", pa.string()), ("trials", pa.int64())])), "Trials")


def status_counts(results: Results) -> dict[str, int]:
    """Return the number of trials by status, in the order of `STATUSES`, without those that no trial has."""
    found = Counter(results.table("trials")["status"].to_pylist())
    return {status: found[status] for status in STATUSES if found[status]}


def failures(results: Results) -> ShownTable | None:
    """Return why trials failed, the most frequent reason first; None where none did."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in results.table("trials").select(_COLUMNS).to_pylist():
        if row["status"] in _REASONS:
            groups[row["status"], row["error"] or "no reason is known"].append(row["trial_id"])
    if not groups:
        return None
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [
        {"status": status, "reason": reason, "trials": len(ids), "ids": ", ".join(sorted(ids)[:_MOST_IDS])}
        for (status, reason), ids in ordered
    ]
    labels = {"ids": "such as"}
    return shown_table(
        pa.Table.from_pylist(rows), "Trials without a result", labels, _MOST_REASONS, "the column error of trials"
    )


def notes(results: Results) -> ShownTable | None:
    """Return what people noted of the study and its trials, in the order in which they did; None where nothing is."""
    rows = results.table("notes").to_pylist()
    if not rows:
        return None
    shown = [
        {
            "of": row["trial_id"] or "the study",
            "note": row["text"],
            "tags": ", ".join(row["tags"] or ()),
            "by": row["author"],
            "written (UTC)": row["written_at"],
        }
        for row in sorted(rows, key=lambda row: (row["trial_id"] is not None, row["written_at"], row["note_id"]))
    ]
    return shown_table(pa.Table.from_pylist(shown), "Notes", None, _MOST_NOTES, "the table notes")


def standing(results: Results, study: dict[str, Any]) -> str:
    """Return in one sentence how many trials are done, and of how many."""
    counts = status_counts(results)
    if not counts:
        return "No trial has begun."
    parts = ", ".join(f"{number} {status}" for status, number in counts.items())
    planned = study.get("num_planned")
    of = f" of {planned} that are asked for" if planned is not None and planned != sum(counts.values()) else ""
    return f"{counted(sum(counts.values()), 'trial')}{of}: {parts}."


def _between(trials: pa.Table) -> str | None:
    first, last = pc.min(trials["started_at"]).as_py(), pc.max(trials["finished_at"]).as_py()
    return None if first is None or last is None else f"{(last - first).total_seconds() / 3600:.2f} h, with pauses"


def _moment(value: datetime.datetime | None) -> str | None:
    return None if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
