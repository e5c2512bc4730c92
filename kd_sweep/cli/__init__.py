"""The command line: its commands in the order of `--help`, and its exit codes.

Commands import what they need when they run, so that `--help` answers at once.
"""

import atexit
import functools
import os
import signal
from collections.abc import Callable, Sequence
from gc import set_threshold
from typing import Annotated, Any

import typer

from kd_sweep.cli.access_commands import token, webhook
from kd_sweep.cli.arguments import Command, Commands
from kd_sweep.cli.completion import VARIABLE
from kd_sweep.cli.export_commands import export
from kd_sweep.cli.job_commands import logs, stop, submit
from kd_sweep.cli.launch_commands import launch, plan, resume, run, schema
from kd_sweep.cli.query_commands import analyse, query, status
from kd_sweep.cli.screen import leave, open_streams, print_error, print_output, print_traceback
from kd_sweep.cli.serve_commands import serve
from kd_sweep.cli.server_option import VARIABLE as SERVER
from kd_sweep.cli.server_option import use_server
from kd_sweep.cli.sheet_commands import attention, augmentations, plot, report
from kd_sweep.cli.study_commands import diff, mv, note, rm
from kd_sweep.cli.upkeep_commands import gc, verify
from kd_sweep.errors import KdSweepError
from kd_sweep.version import __version__
from kd_sweep.waiting import shown

app = typer.Typer(
    name="kd-sweep",
    cls=Commands,
    help="Distributed hyperparameter sweeps for ensemble knowledge distillation.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
GROUPS: dict[str, dict[Callable[..., None], str]] = {
    "Studies": {
        launch: "launch sweeps/digits.yaml --set 'search.seed.grid=[0,1,2]'",
        resume: "resume results/digits",
        plan: "plan sweeps/digits.yaml --no-probe",
        run: "run sweeps/digits.yaml 0 --set student.epochs=1",
        augmentations: "augmentations sweeps/digits.yaml --out strengths.png",
        schema: "schema > study.schema.json",
    },
    "Results": {
        status: "status results",
        query: "query results leaderboard",
        analyse: "analyse results digits",
        plot: "plot results digits dose_response --out figures",
        report: "report results digits --out digits.html",
        diff: "diff results/digits results/digits-9",
        attention: "attention results 7be4 --out attention.png",
        export: "export results digits --to optuna --out digits.log",
    },
    "Files": {
        note: "note results/digits 'seed 3 diverges' --tag rerun",
        mv: "mv results/digits digits-first-try",
        rm: "rm results/digits-first-try",
        verify: "verify results",
        gc: "gc results --delete",
    },
    "Jobs on a cluster": {
        submit: "submit sweeps/digits.yaml --root s3://bucket/results --address http://head:8265",
        logs: "logs digits-1a2b3c --follow",
        stop: "stop digits-1a2b3c",
    },
    "Service": {
        serve: "serve results --max-studies 2 --data /data",
        token: "token create results laptop --role operator --days 90",
        webhook: "webhook create results https://example.org/hook --event failed",
    },
}
"""The commands in the order of `--help`, each with the arguments of an example."""
for group, examples in GROUPS.items():
    for command, example in examples.items():
        app.command(cls=Command, rich_help_panel=group, epilog=f"kd-sweep {example}")(command)
_OBJECTS_A_COLLECTION = 50_000
"""How often Python looks for cycles. At its own 700 that is a tenth of what ``query`` computes, most of it imports."""
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
"""What typer raises for arguments that do not fit a command; it has no name of its own there."""


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", envvar=SERVER, help="Ask a service; ROOT is a study's name, or `.`."),
    ] = None,
) -> None:
    source = context.get_parameter_source("server")
    use_server(server, context.invoked_subcommand, is_option=source is not None and source.name == "COMMANDLINE")
    if version:
        print_output(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print_output(context.get_help())
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2.

    Ctrl-C ends with 130, and with 1 where nobody reads the output any more.

    Args:
        arguments: what follows the program's name; the process's own when None.
    """
    set_threshold(_OBJECTS_A_COLLECTION)
    leave(_run(arguments))


@functools.cache
def _command() -> Any:
    """Return what runs all commands, of which typer would make a new one for each time that it is called."""
    return typer.main.get_command(app)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        open_streams()
        with shown():
            code = _command()(args=arguments, prog_name="kd-sweep", standalone_mode=False)
        return int(code or 0)
    except KdSweepError as error:
        print_error(f"kd-sweep: {error}")
        # Ray may still end its processes at exit; one more Ctrl-C shall not print where it was in that.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return error.exit_code
    except _UsageError as error:
        name = error.ctx.command_path if error.ctx else "kd-sweep"
        print_error(f"{name}: {' '.join(error.format_message().split()).removesuffix('.')}; see {name} --help")
        return 2
    except Exception:
        if VARIABLE not in os.environ:
            print_traceback()
        return 1
