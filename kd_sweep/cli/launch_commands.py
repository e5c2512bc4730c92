"""Commands on a study file: launch, resume, plan, and the schema of such files."""

import os
from typing import Annotated

import typer

from kd_sweep.cli.arguments import Address, Overrides, RootOption, Spec
from kd_sweep.cli.outcome import conclude
from kd_sweep.cli.screen import print_output
from kd_sweep.waiting import doing


def launch(
    spec: Spec,
    root: RootOption = "results",
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Run a study, or go on with it where it exists already."""
    with doing("reading the study", plainly=True):
        from kd_sweep.driver import launch as driver
        from kd_sweep.driver.progress import RunDisplay
        from kd_sweep.study.file.load import load_spec

        study = load_spec(spec, overrides or ())
    with RunDisplay() as display:
        outcome = driver.launch(study, root, address, display)
    conclude(outcome, f"{root.rstrip('/')}/{study.name}")


def resume(
    study: Annotated[str, typer.Argument(metavar="ROOT/STUDY", help="The study's folder.")],
    address: Address = None,
) -> None:
    """Go on with an interrupted study; nothing is done twice."""
    with doing("starting", plainly=True):
        from kd_sweep.driver import launch as driver
        from kd_sweep.driver.progress import RunDisplay

    with RunDisplay() as display:
        outcome = driver.resume(study, address, display)
    conclude(outcome, study)


def plan(
    spec: Spec,
    root: RootOption = "results",
    overrides: Overrides = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Trials at a time. Default: as many as fit here.")] = None,
    probe: Annotated[bool, typer.Option(help="Train for a few seconds to estimate the hours.")] = True,
) -> None:
    """Show what a study would run and how long it would take. Starts nothing."""
    with doing("reading the study"):
        from kd_sweep.driver.estimate import describe_plan
        from kd_sweep.study.file.load import load_spec

        study = load_spec(spec, overrides or ())
    at_a_time = slots or max(1, (os.cpu_count() or 1) // study.resources.cpus)
    for line in describe_plan(study, root, at_a_time, probe=probe):
        print_output(line)


def schema() -> None:
    """Print the JSON Schema of study files."""
    import json

    from kd_sweep.study.file.json_schema import json_schema

    print_output(json.dumps(json_schema(), indent=2))
