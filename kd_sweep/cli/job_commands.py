"""Commands for jobs on a cluster: submit, logs, stop."""

import sys
from typing import Annotated

import typer

from kd_sweep.cli.arguments import LOCAL_DASHBOARD, Dashboard, Overrides, Spec
from kd_sweep.cli.remote_commands import logs_there, stop_there
from kd_sweep.cli.screen import print_message, print_output
from kd_sweep.cli.server_option import server
from kd_sweep.waiting import doing


def submit(
    spec: Spec,
    root: Annotated[str, typer.Option("--root", help="The results root as the cluster sees it.")],
    overrides: Overrides = None,
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Run a study as a job of a cluster. It goes on when this machine sleeps; its id is printed."""
    from kd_sweep.driver.ray import jobs

    with doing(f"asking the cluster at {address}"):
        job = jobs.submit(spec, address, root, overrides or ())
    print_output(job)
    print_message(f"follow it with: kd-sweep logs {job} --address {address} --follow")


def logs(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The id that `submit` printed.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the job ends.")] = False,
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Show what a submitted job has printed."""
    if (service := server()) is not None:
        logs_there(service, job, follow=follow)
        return
    from kd_sweep.driver.ray import jobs

    status = jobs.write_logs(job, address, sys.stdout, follow=follow)
    print_message(f"job {job}: {status}")


def stop(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The id that `submit` printed.")],
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Stop a submitted job cleanly. Submitting the study again goes on with it."""
    if (service := server()) is not None:
        stop_there(service, job)
        return
    from kd_sweep.driver.ray import jobs

    status = jobs.stop(job, address, lambda: print_message(f"stopping job {job}"))
    print_message(f"job {job}: {status}")
