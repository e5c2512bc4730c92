"""The command that hands a study, or a trained network, to another tool."""

from typing import TYPE_CHECKING, Annotated

import typer

from kd_sweep.cli.arguments import ResultsRoot
from kd_sweep.cli.completion import nothing, study_names
from kd_sweep.cli.screen import print_message
from kd_sweep.waiting import doing

if TYPE_CHECKING:
    from kd_sweep.export.request import Request

Histories = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="METRIC|all",
        help="For tensorboard, mlflow and wandb: a metric to have every epoch of, not the last alone. Repeatable.",
    ),
]


def export(
    root: ResultsRoot,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.", autocompletion=study_names)],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="TOOL", help="optuna, tensorboard, mlflow, wandb, ro-crate, onnx or hf: docs/exports.md."
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="PATH", help="The file or folder to write.", autocompletion=nothing)
    ],
    trial: Annotated[
        str | None,
        typer.Option("--trial", metavar="ID|best", help="For onnx and hf: a trial, or the best by the leaderboard."),
    ] = None,
    network: Annotated[
        str, typer.Option("--network", metavar="NAME", help="For onnx and hf: student, teacher-1, teacher-2, …")
    ] = "student",
    metrics: Histories = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on, with trials as they finish, until the study is finished.")
    ] = False,
) -> None:
    """Write a study, or a trained network, for another tool. Done again it adds what is new."""
    with doing(f"exporting to {to}"):
        from kd_sweep.export.targets import checked_request, export_request
        from kd_sweep.tables.reader import open_results

        request = checked_request(
            open_results(root), study, to, out, trial=trial, network=network, metrics=metrics or None
        )
        written = None if follow else export_request(request)
    if written is None:
        _follow(request)
    else:
        print_message(f"wrote {out}: {written.what}" if written.changed else f"{out} has it all: {written.what}")


def _follow(request: "Request") -> None:
    from kd_sweep.export.following import follow

    try:
        written = follow(request, print_message)
    except KeyboardInterrupt:
        print_message(f"stopped; {request.out} has what had finished, and the same command goes on")
        raise
    print_message(f"study {request.study_name} has ended; {request.out} has it all: {written.what}")
