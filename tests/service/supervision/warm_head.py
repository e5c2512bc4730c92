"""The head of a service whose workers are forked: `python -m tests.service.supervision.warm_head FILE`."""

import os
import sys
from pathlib import Path

from kd_sweep.driver.ray import private, shared_head
from tests.command_line import WORKER_START

if __name__ == "__main__":
    private.WORKER_START = Path(os.environ[WORKER_START])
    sys.exit(shared_head.main(Path(sys.argv[1])))
