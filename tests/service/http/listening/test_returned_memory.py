"""The process of the service takes its memory from the system's allocator, and gives it back."""

import subprocess
import sys

from tests.command_line import environment

PROGRAM = """
from pathlib import Path
import pyarrow as pa
from kd_sweep.service.http.listening.returned_memory import give_back, keep_little
keep_little()
rows = pa.table({"a": range(1000)}).take(list(range(500)))
print(pa.default_memory_pool().backend_name, rows.num_rows)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

pieces = [bytes(20_000) for _ in range(5_000)]
kept, full = pieces[::500], resident()  # these hold the heap where it is
del pieces
give_back()
print(full - resident() > 50e6)
"""


def test_arrow_takes_memory_from_the_system_and_gives_it_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, env=environment(1), check=False
    )
    assert (done.stdout, done.stderr) == ("system 500\nTrue\n", "")
