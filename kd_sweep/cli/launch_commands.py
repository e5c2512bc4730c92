"""Commands on a study file: launch, resume, plan, and the schema of such files."""

from typing import Annotated

import typer

import kd_sweep
from kd_sweep.cli.arguments import MORE, Address, Format, Overrides, RootOption, Spec, StudyFolder, Wide
from kd_sweep.cli.outcome import conclude
from kd_sweep.cli.remote_commands import launch_there, plan_there, resume_there
from kd_sweep.cli.screen import print_output, print_table
from kd_sweep.cli.server_option import server
from kd_sweep.waiting import doing


def launch(
    spec: Spec,
    root: RootOption = "results",
    overrides: Overrides = None,
    address: Address = None,
    priority: Annotated[int, typer.Option(help="With --server: higher is run first.")] = 0,
    slots: Annotated[int | None, typer.Option(min=1, help="With --server: the most trials at a time.")] = None,
) -> None:
    """Run a study, or go on with it where it exists."""
    if (service := server()) is not None:
        launch_there(service, spec, overrides or (), priority, slots)
        return
    with doing("reading the study", plainly=True):
        from kd_sweep.driver.progress import RunDisplay

        study = kd_sweep.Study.from_file(spec, overrides or ())
    with RunDisplay() as display:
        outcome = study.launch(root, address, display)
    conclude(outcome, f"{root.rstrip('/')}/{study.name}")


def resume(
    study: StudyFolder,
    address: Address = None,
) -> None:
    """Go on with an interrupted study; nothing is done twice."""
    if (service := server()) is not None:
        resume_there(service, study)
        return
    with doing("starting", plainly=True):
        from kd_sweep.driver.progress import RunDisplay

    with RunDisplay() as display:
        outcome = kd_sweep.resume(study, address, display)
    conclude(outcome, study)


def plan(
    spec: Spec,
    root: RootOption = "results",
    overrides: Overrides = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Trials at a time. Default: as many as fit here.")] = None,
    probe: Annotated[bool, typer.Option(help="Train for a few seconds to estimate the hours.")] = True,
) -> None:
    """Show what a study would run, and how long. Starts nothing."""
    if (service := server()) is not None:
        plan_there(service, spec, overrides or (), slots)
        return
    with doing("reading the study"):
        study = kd_sweep.Study.from_file(spec, overrides or ())
    for line in study.plan(root, slots=slots, probe=probe).lines():
        print_output(line)


def run(
    spec: Spec,
    trial: Annotated[
        str, typer.Argument(metavar="TRIAL", help="Its index in `plan`, from 0, or its id or a beginning of that.")
    ],
    root: Annotated[
        str | None,
        typer.Option("--root", help="Use this root's teachers, and keep new ones. Default: a temporary folder."),
    ] = None,
    overrides: Overrides = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:1. Default: as a launch.")] = None,
    output: Format = "table",
    wide: Wide = False,
) -> None:
    """Run one trial in this process. There is no Ray, breakpoints work, and no table or checkpoint is written."""
    with doing("starting"):
        from kd_sweep.cli.trial_lines import TrialLines

        study = kd_sweep.Study.from_file(spec, overrides or ())
        lines = TrialLines(study.spec)
    rows = kd_sweep.run_trial(study, trial, root=root, device=device, progress=lines)
    print_table(lines.table(rows, whole=wide or output != "table"), output, wide=wide, more=MORE)


def schema() -> None:
    """Print the JSON Schema of study files."""
    import json

    from kd_sweep.study.file.json_schema import json_schema

    print_output(json.dumps(json_schema(), indent=2))
