"""Sweeps as Ray jobs: the driver runs on the cluster, so the machine that submitted it may go to sleep."""

import asyncio
import logging
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.driver.ray.ray_settings import JOB_STOP_WAIT_S
from kd_sweep.errors import ClusterError, StorageError, alternatives
from kd_sweep.storage.locations import check_uri
from kd_sweep.storage.temporary_folders import scratch_folder
from kd_sweep.study.file.load import load_spec

STOP_WAIT_S = 120
"""How long a stopped job has to end by itself. It waits for no epoch, only for its tables to be written."""

POLL_S = 0.5


def submit(spec: Path, address: str, root: str, overrides: Sequence[str] = ()) -> str:
    """Start the study as a job of the cluster and return the job's id. A study that exists goes on.

    The study file, its plug-ins and this package travel along, so none of them needs to be installed there.

    Args:
        spec: the study file; paths in it are those of the cluster.
        address: the cluster's dashboard, http://HOST:8265.
        root: the results root as the cluster's nodes see it, a URI or an absolute path.
        overrides: as for `kd_sweep.study.file.load.load_spec`.

    Raises:
        SpecError: the study file is wrong.
        StorageError: the root is a relative path.
        ClusterError: no dashboard answers there.
    """
    study = load_spec(spec, overrides)
    if "://" not in root and not root.startswith("/"):
        raise StorageError(
            f"--root {root}: is relative to nothing on the cluster; possible: /folder, s3://bucket/prefix"
        )
    check_uri(root)
    with _client(address) as client, scratch_folder("job") as folder:
        shutil.copy(spec, folder)
        PluginBundle.of_modules(study.plugins).unpack(folder)
        job: str = client.submit_job(
            entrypoint=_command(spec.name, root, overrides),
            submission_id=f"{study.name}-{secrets.token_hex(3)}",
            metadata={"study": study.name, "root": root},
            runtime_env={
                "working_dir": str(folder),
                "py_modules": [str(Path(__file__).parents[2])],
                "excludes": ["__pycache__"],
                # SIGTERM stops a sweep cleanly; after Ray's own 3 s it would be killed.
                "env_vars": {JOB_STOP_WAIT_S: str(STOP_WAIT_S), "PYTHONUNBUFFERED": "1"},
            },
        )
        return job


def _command(spec: str, root: str, overrides: Sequence[str]) -> str:
    """Return the shell's command that a job runs, in the folder of the study file."""
    words = ["python", "-m", "kd_sweep", "launch", spec, "--root", root, "--address", "auto"]
    for override in overrides:
        words += ["--set", override]
    return f"exec {shlex.join(words)}"


def write_logs(job: str, address: str, sink: TextIO, *, follow: bool) -> str:
    """Write what the job has printed and return its status; with `follow`, go on until the job ends.

    Raises:
        ClusterError: no dashboard answers there, or it knows no such job.
    """
    with _client(address) as client:
        _known(client, job)
        if follow:

            async def copy() -> None:
                async for lines in client.tail_job_logs(job):
                    sink.write(lines)
                    sink.flush()

            asyncio.run(copy())
        else:
            sink.write(client.get_job_logs(job))
        return str(client.get_job_status(job).value)


def stop(job: str, address: str, on_wait: Callable[[], None] = lambda: None) -> str:
    """Ask the job's sweep to stop, wait until it has, and return the job's status. The study can go on later.

    Args:
        job: its id.
        address: the cluster's dashboard.
        on_wait: called once if the job has not ended already.

    Raises:
        ClusterError: no dashboard answers there, or it knows no such job, or the job does not end.
    """
    with _client(address) as client:
        _known(client, job)
        if not client.get_job_status(job).is_terminal():
            on_wait()
            client.stop_job(job)
        end = time.monotonic() + STOP_WAIT_S + 10
        while not (status := client.get_job_status(job)).is_terminal():
            if time.monotonic() > end:
                raise ClusterError(f"job {job}: is still {status.value} after {STOP_WAIT_S} s; see the dashboard")
            time.sleep(POLL_S)
        return str(status.value)


def _known(client: Any, job: str) -> None:
    known = [listed.submission_id for listed in client.list_jobs() if listed.submission_id]
    if job not in known:
        raise ClusterError(f"job {job}: the cluster knows no such job; {alternatives(job, known)}")


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Yield a client of the dashboard; failures of the way to it are one line."""
    if not address.startswith(("http://", "https://")):
        raise ClusterError(f"--address {address}: is not the address of a dashboard; it is like http://HOST:8265")
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise ClusterError(
            f"jobs need Ray's dashboard client: pip install -e '.[cluster]' in the checkout ({error})"
        ) from None

    for name in ("ray", "ray.dashboard.modules.dashboard_sdk"):  # they tell of every upload
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(f"--address {address}: {_reason(str(error))}") from error


def _reason(message: str) -> str:
    if "401" in message or "Unauthenticated" in message or "authentication" in message.lower():
        return "the dashboard asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
    if "Failed to connect" in message or "refused" in message:
        return (
            "no dashboard answers there; a head has none with --include-dashboard=false, and none for other machines "
            "without --dashboard-host=0.0.0.0"
        )
    if "No available agent" in message:
        return "the head takes no jobs: its agent does not run; give it a free --dashboard-agent-listen-port"
    return (message.strip() or "failed").splitlines()[0]
