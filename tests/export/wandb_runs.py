"""Offline runs of Weights & Biases as its own command `wandb leet inspect` reads them."""

import json
import subprocess
from pathlib import Path
from typing import Any

Records = list[dict[str, Any]]
_OF_THEIR_TIME = ("start_time", "host", "telemetry", "_runtime", "_wandb")


def records(folder: Path) -> Records:
    """Return the records of a run's log, by the program that the command starts for it."""
    from wandb.util import get_core_path

    (log,) = folder.glob("*.wandb")
    asked = ["leet", "inspect", "--no-observability", "--json", "--run-file", str(log), str(folder.parent)]
    done = subprocess.run([get_core_path(), *asked], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(found: Records, kind: str) -> Records:
    return [record[kind] for record in found if record["type"] == kind]


def told(folder: Path) -> dict[str, Any]:
    """Return what a run says of its trial, whenever it was written: configuration, history, exit code."""
    found = records(folder)
    (run,) = of_kind(found, "run")
    kept = {name: value for name, value in run.items() if name not in _OF_THEIR_TIME}
    return {"run": kept, "history": history(found), "exit": [one.get("exit_code", 0) for one in of_kind(found, "exit")]}


def history(found: Records) -> dict[int, dict[str, float]]:
    """Return the values of each step."""
    steps = {}
    for record in of_kind(found, "history"):
        values = record.get("item", record)
        steps[int(values["_step"])] = {name: value for name, value in values.items() if name != "_runtime"}
    return steps
