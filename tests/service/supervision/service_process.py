"""A service without HTTP as a process of its own.

`python -m tests.service.supervision.service_process ROOT STATE MAX_STUDIES [DATABASE]`
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.service_core import ServiceCore
from kd_sweep.service.service_settings import service_settings
from kd_sweep.service.supervision import local_head
from tests.command_line import WORKER_START
from tests.service.warm_service import HEAD


def main(root: str, state: str, max_studies: str, database: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if WORKER_START in os.environ:
        local_head._HEAD = HEAD
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    core = ServiceCore(
        service_settings(
            root,
            state=Path(state),
            database=database,
            max_studies=int(max_studies),
            policy=Policy(allow_private_webhooks=True),
        )
    )
    core.start()
    print("read only" if core.read_only else "leads", flush=True)
    ended.wait()
    core.stop()
    forbidden = {"torch", "ray"} & set(sys.modules)
    sys.exit(f"has loaded {forbidden}" if forbidden else 0)


if __name__ == "__main__":
    main(*sys.argv[1:5])
