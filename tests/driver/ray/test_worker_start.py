"""The program that becomes a worker of a local Ray: what it hands on, and that Ray's own still takes and does that."""

import json
import re
import subprocess
import sys
from pathlib import Path

import ray
from ray._private.workers import setup_worker

from kd_sweep.driver.ray import worker_start

PROGRAM = """
import gc, json, sys
print(json.dumps([__name__, sys.argv, sys.path[0], gc.isenabled(), "ray" in sys.modules]))
"""


def test_it_runs_the_program_with_its_own_arguments_and_loads_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, worker_start.__file__, str(program), "--node-id=1", "--language=PYTHON", "--webui="]
    command.append("--serialized-runtime-env-context={}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said == ["__main__", [str(program), "--node-id=1", "--webui="], str(tmp_path), False, False]


def test_setup_worker_takes_no_other_options() -> None:
    known = {f"{option}=" for option in re.findall(r"--[\w-]+", setup_worker.parser.format_usage())}
    assert known == set(worker_start.OF_SETUP), f"Ray {ray.__version__}: see kd_sweep/driver/ray/worker_start.py"
