"""The process of the service takes its memory from the system's allocator."""

import subprocess
import sys

from tests.command_line import environment

PROGRAM = """
import pyarrow as pa
from kd_sweep.service.http.listening.returned_memory import keep_little
keep_little()
rows = pa.table({"a": range(1000)}).take(list(range(500)))
print(pa.default_memory_pool().backend_name, rows.num_rows)
"""


def test_arrow_takes_memory_from_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, env=environment(1), check=False
    )
    assert (done.stdout, done.stderr) == ("system 500\n", "")
