"""The command that hands a study, or a trained network, to another tool."""

from typing import Annotated

import typer

from kd_sweep.cli.arguments import ResultsRoot
from kd_sweep.cli.completion import nothing, study_names
from kd_sweep.cli.screen import print_message
from kd_sweep.waiting import doing


def export(
    root: ResultsRoot,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.", autocompletion=study_names)],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="TOOL", help="optuna, tensorboard, onnx or hf; docs/exports.md says what each becomes."
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
) -> None:
    """Write a study, or a trained network, for another tool. Done again it adds what is new."""
    with doing(f"exporting to {to}"):
        from kd_sweep.export.targets import export as write
        from kd_sweep.tables.reader import open_results

        written = write(open_results(root), study, to, out, trial=trial, network=network)
    print_message(f"wrote {out}: {written.what}" if written.changed else f"{out} has it all: {written.what}")
