"""The process of the service takes its memory from the system's allocator, and gives it back."""

import subprocess
import sys
from pathlib import Path

from tests.command_line import environment

PROGRAM = """
import os
import sys
from pathlib import Path
from kd_sweep.service.http.listening.returned_memory import give_back, keep_little
keep_little()
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
pq.write_table(pa.table({"a": range(1000)}), sys.argv[1])
rows = ds.dataset(sys.argv[1]).to_table(filter=ds.field("a") < 500)
others = [name for name in pa.supported_memory_backends() if name != "system"]
of_others = [getattr(pa, f"{name}_memory_pool")().max_memory() for name in others]
print(pa.default_memory_pool().backend_name, rows.num_rows, sum(of_others))
print("pandas" in sys.modules, "ARROW_DEFAULT_MEMORY_POOL" in os.environ)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

pieces = [bytes(20_000) for _ in range(5_000)]
kept, full = pieces[::500], resident()  # these hold the heap where it is
del pieces
give_back()
print(full - resident() > 50e6)
"""


def test_arrow_takes_memory_from_the_system_alone_and_gives_it_back(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "rows.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(1), check=False)
    assert (done.stdout, done.stderr) == ("system 500 0\nFalse False\nTrue\n", "")
