"""The process that checks one study with plug-ins: `python -m kd_sweep.service.queue.plugin_check REQUEST ANSWER`."""

import json
import sys
from pathlib import Path
from typing import Any

from kd_sweep.errors import KdSweepError
from kd_sweep.service.queue.policy import Policy, num_trials
from kd_sweep.service.service_errors import PolicyError
from kd_sweep.study.file.load import parse_spec


def main(request_file: Path, answer_file: Path) -> None:
    """Check the study of the request, whose plug-ins may lie beside it, and write what came of it."""
    request = json.loads(request_file.read_bytes())
    answer_file.write_text(json.dumps(_answer(request["study_yaml"], Policy.of_json(request["policy"]), request_file)))


def _answer(study_yaml: str, policy: Policy, request_file: Path) -> dict[str, Any]:
    try:
        spec = parse_spec(study_yaml, "study", folder=request_file.parent)
        policy.check(spec)
        return {"name": spec.name, "num_trials": num_trials(spec)}
    except KdSweepError as error:
        return {"error": str(error), "is_of_policy": isinstance(error, PolicyError)}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
