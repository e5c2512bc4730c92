"""Commands that read tables start without pandas, which pyarrow would import."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import environment

PROGRAM = """
import sys
from kd_sweep.cli import main
try:
    main()
finally:
    loaded = "pandas" in sys.modules
    import pandas
    assert pandas.__version__  # whoever asks for it later finds it
    sys.exit(loaded)
"""


@pytest.mark.parametrize("command", [["status"], ["query"], ["query", "leaderboard", "--format", "csv"]], ids=" ".join)
def test_pandas_is_not_loaded(uninterrupted: Path, command: list[str]) -> None:
    pytest.importorskip("pandas")
    name, *rest = command
    line = [sys.executable, "-c", PROGRAM, name, str(uninterrupted), *rest]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "val_accuracy" in done.stdout or "completed" in done.stdout
