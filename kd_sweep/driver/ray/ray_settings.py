"""Settings of Ray and Tune that are given through the environment, and for how long they hold.

Most of them Ray documents nowhere: `tests/driver/ray/test_private.py` checks that it still reads each.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

START_S = 100.0
"""What all attempts to start a local Ray may take together. An idle machine needs 2 s for one, one with six times its
load 20 s."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # it prints those of trials that end with the sweep, with a traceback
    "RAY_task_oom_retries": "8",  # else a teacher that does not fit in memory is tried for ever
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial also reports that it failed, without metrics
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the study directory is the state, Tune's snapshots are not
}
"""For every sweep."""

PATIENT = {
    "RAY_health_check_timeout_ms": "60000",
    "RAY_py_gcs_connect_timeout_s": "10",  # tried again, and between two tries one sees that nothing answers
    "RAY_gcs_server_port_wait_time_s": "3",  # so many times
    "RAY_raylet_start_wait_time_s": str(int(START_S)),
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_worker_niceness": "0",  # Ray's 15 gives a trial a hundredth of a core beside other work
    "RAY_enable_metrics_collection": "0",
}
"""For a local Ray on a machine that does other work too."""

INIT_OPTIONS: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
"""Of `ray.init`."""

MAX_PENDING_TRIALS = "TUNE_MAX_PENDING_TRIALS_PG"
"""How many trials Tune hands to Ray beyond those that run."""

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this for a driver that it runs as a job."""

JOB_STOP_WAIT_S = "RAY_JOB_STOP_WAIT_TIME_S"
"""How long Ray waits for a job to end after SIGTERM before it kills it."""


def own_token(token: str) -> dict[str, str]:
    """Return the settings of a local Ray that lets in only those who know ``token``."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


@contextmanager
def environment(settings: Mapping[str, str], *, over: bool = False) -> Iterator[None]:
    """Set these variables while the block runs; those that somebody has set already only with ``over``."""
    earlier = {name: os.environ.get(name) for name in settings if over or name not in os.environ}
    os.environ.update({name: settings[name] for name in earlier})
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
