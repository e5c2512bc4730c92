"""The command line of a service whose Ray forks its workers: `python -m tests.service.warm_service serve ROOT`."""

from kd_sweep.cli import main
from kd_sweep.service.supervision import local_head

HEAD = "tests.service.supervision.warm_head"

if __name__ == "__main__":
    local_head._HEAD = HEAD
    main()
