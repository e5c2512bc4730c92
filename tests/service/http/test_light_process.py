"""The process of the service loads neither torch nor ray, nor what exports and analyses, whatever it is asked."""

import subprocess
import sys
from pathlib import Path

from tests.command_line import environment

PROGRAM = """
import sys
from pathlib import Path
from kd_sweep.service.access.roles import Role
from tests.service.running_service import running

with running(Path(sys.argv[1]), Path(sys.argv[2])) as service, service.client(Role.ADMIN) as client:
    for path in sys.argv[3:]:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
foreign = {"torch", "ray", "optuna", "torchvision", "matplotlib"}
print(sorted({name.partition(".")[0] for name in sys.modules} & foreign))
print(sorted({".".join(name.split(".")[:2]) for name in sys.modules} & {"kd_sweep.export", "kd_sweep.analysis"}))
"""
PATHS = ["/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/tables", "/api/v1/cluster"]
PATHS += [
    f"/api/v1/studies/tiny/{what}" for what in ("trials", "epochs", "teachers", "queries/leaderboard", "analysis")
]


def test_the_service_loads_only_what_answers_take(trained_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(trained_root), str(tmp_path), *PATHS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(1), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "[]"]
