"""What answers say of the cluster: its nodes, the studies and trials that use it, and what waits for it."""

from collections.abc import Mapping
from typing import Any

from kd_sweep.errors import KdSweepError
from kd_sweep.service.cluster.ray_nodes import NodesReport
from kd_sweep.service.http.answers.study_list import listed_queue
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.queue.order import holders
from kd_sweep.service.rows.models import Submission
from kd_sweep.tables.rendering.value_text import plain

MOST_TRIALS = 500
MOST_DEAD_NODES = 50
MOST_QUEUED = 20
_NAMES = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_bytes"}
_INTERNAL = ("node:", "accelerator_type:", "object_store_memory", "bundle")
_KIND = "accelerator_type:"
_TRIALS = f"""
SELECT trial_id, host, last_epoch AS epoch, num_epochs, attempts AS attempt, started_at,
    count(*) OVER () AS num_trials
FROM trials WHERE status = 'running' ORDER BY started_at, trial_id LIMIT {MOST_TRIALS}
"""


def cluster_content(serving: Serving, report: NodesReport) -> dict[str, Any]:
    """Return the cluster as the API shows it.

    Args:
        serving: the service.
        report: the nodes.
    """
    with serving.rows.reading() as session:
        holding = holders(session)
    running = [_running(serving.reading, row) for row in holding]
    queue, num_queued = listed_queue(serving, MOST_QUEUED)
    return {
        "ray": {"address": report.address, "read_at": report.read_at, "problem": report.problem},
        "nodes": _nodes(report),
        "max_studies": serving.max_studies,
        "running": running,
        "queue": queue,
        "num_queued": num_queued,
    }


def _nodes(report: NodesReport) -> list[dict[str, Any]]:
    """Return the nodes that live by host, the head first, then the latest of those that have died."""
    nodes = [_node(node, report.read_at) for node in report.nodes]
    living = sorted((node for node in nodes if node["is_alive"]), key=lambda node: (not node["is_head"], node["host"]))
    dead = sorted((node for node in nodes if not node["is_alive"]), key=lambda node: -node["last_seen_at"])
    return living + dead[:MOST_DEAD_NODES]


def _node(node: Mapping[str, Any], read_at: float | None) -> dict[str, Any]:
    names = ("node_id", "host", "address", "is_head", "is_alive", "started_at", "message")
    kinds = sorted(name.removeprefix(_KIND) for name in node["total"] if name.startswith(_KIND))
    amounts = {
        name: {"total": total, "used": node["used"].get(name, 0.0)}
        for name, total in node["total"].items()
        if not name.startswith(_INTERNAL)
    }
    known = {ours: amounts.pop(rays, {"total": 0.0, "used": 0.0}) for rays, ours in _NAMES.items()}
    seen = {"last_seen_at": read_at if node["is_alive"] else node["ended_at"], "accelerators": kinds}
    return {name: node[name] for name in names} | seen | known | {"custom": amounts}


def _running(reading: Reading, row: Submission) -> dict[str, Any]:
    """Return a study that holds a slot of the service, with the trials that run now."""
    names = ("name", "state", "message", "submitted_by", "priority", "slots", "started_at")
    content: dict[str, Any] = {name: getattr(row, name) for name in names}
    try:
        study = reading.study(row.name)
        tag = reading.tag(study, "running")
        trials = reading.remembered(("running", row.name), tag, lambda: study.sql(_TRIALS).to_pylist())
    except KdSweepError:  # it has no tables yet
        trials = []
    num_trials = trials[0]["num_trials"] if trials else 0
    shown = [{name: value for name, value in trial.items() if name != "num_trials"} for trial in trials]
    return content | {"num_trials": num_trials, "trials": plain(shown)}
