"""The command line. Imports happen inside the commands, so that `--help` answers at once."""

import atexit
import functools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kd_sweep import __version__
from kd_sweep.cli.arguments import (
    LOCAL_DASHBOARD,
    Address,
    Command,
    Dashboard,
    Format,
    LinesFormat,
    MemoryLimit,
    NumImages,
    Overrides,
    Picture,
    ResultsRoot,
    RootOption,
    Spec,
    Timeout,
    Wide,
    limits_of,
)
from kd_sweep.cli.outcome import conclude
from kd_sweep.cli.screen import (
    leave,
    open_streams,
    print_table,
    say,
    screen,
    tell,
    tell_failure,
    tell_footnotes,
    tell_mistake,
)
from kd_sweep.errors import KdSweepError
from kd_sweep.waiting import doing

app = typer.Typer(
    name="kd-sweep",
    help="Distributed hyperparameter sweeps for ensemble knowledge distillation.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
command = functools.partial(app.command, cls=Command)
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
"""What typer raises for arguments that do not fit a command; it has no name of its own there."""
_MORE = "--wide or --format csv"
"""How commands with these options say what a terminal leaves out."""


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        say(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit


@command()
def launch(
    spec: Spec,
    root: RootOption = "results",
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Run a study, or go on with it where it exists already."""
    with doing("reading the study", plainly=True):
        from kd_sweep.driver import launch as runner
        from kd_sweep.study.file.load import load_spec

        study = load_spec(spec, overrides or ())
    conclude(runner.launch(study, root, address), f"{root.rstrip('/')}/{study.name}")


@command()
def resume(
    study: Annotated[str, typer.Argument(metavar="ROOT/STUDY", help="The study's folder.")],
    address: Address = None,
) -> None:
    """Go on with an interrupted study; nothing is done twice."""
    with doing("starting", plainly=True):
        from kd_sweep.driver import launch as runner

    conclude(runner.resume(study, address), study)


@command()
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
        say(line)


@command()
def status(root: ResultsRoot, output: Format = "table", wide: Wide = False) -> None:
    """Show how far the studies are."""
    with doing("reading the tables"):
        import pyarrow as pa

        from kd_sweep.tables.reader import open_results
        from kd_sweep.tables.rendering.study_overview import overview

        found = open_results(root).status()
    table = overview(found) if output == "table" and not wide else pa.Table.from_pylist(found)
    print_table(table, output, wide=wide, more=_MORE)


@command()
def query(
    root: ResultsRoot,
    sql: Annotated[
        str,
        typer.Argument(metavar="SQL", help="A SELECT, or summary, leaderboard, trend, best_epoch, teachers, pareto."),
    ] = "summary",
    output: Format = "table",
    wide: Wide = False,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
) -> None:
    """Ask the tables studies, trials, epochs and teachers; also while a sweep runs."""
    with doing("starting"):
        from kd_sweep.tables.queries.views import answers
        from kd_sweep.tables.reader import open_results

        limits = limits_of(timeout, memory_limit)
    with doing("reading the tables"):
        results = open_results(root, limits)
        found = answers(results, sql, one=output != "table")
    for number, table in enumerate(found):
        if number:
            say("")
        print_table(table, output, wide=wide, more=_MORE)
    tell_footnotes(results, [name for table in found for name in table.column_names])


@command()
def analyse(
    root: ResultsRoot,
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="Its name; not needed where there is one.")
    ] = None,
    output: Format = "table",
    wide: Wide = False,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 10_000,
    outcomes: Annotated[
        list[str] | None, typer.Option("--outcome", metavar="METRIC", help="Only this one, in detail. Repeatable.")
    ] = None,
    margin: Annotated[float, typer.Option(help="A rise of fidelity below this is hardly one.")] = 0.02,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of csv or parquet. Default: STUDY/study_analysis.")
    ] = None,
) -> None:
    """Effects of strength and ensemble size with intervals, and a verdict on each of the paper's claims."""
    with doing("analysing the study"):
        from kd_sweep.analysis import study_analysis
        from kd_sweep.tables.reader import open_results

        study_analysis.check_format(output, out)
        results = open_results(root)
        found = study_analysis.analyse(
            results, study, confidence=confidence, resamples=resamples, outcomes=outcomes, margin=margin
        )
    stream = screen(wide=wide) if output == "table" else sys.stdout.buffer
    study_analysis.output_analysis(found, results, output, stream, out, complete=bool(outcomes))
    tell_footnotes(results, found.sample.outcomes, found.sample.study)


@command()
def attention(
    root: ResultsRoot,
    trials: Annotated[
        list[str], typer.Argument(metavar="TRIAL", help="Ids of trials, or their beginnings: one per strength, say.")
    ],
    out: Picture,
    images: NumImages = 8,
    indices: Annotated[
        list[int] | None, typer.Option("--image", help="Place of an image in the validation set, from 0. Repeatable.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The student after its best epoch, not its newest.")] = False,
) -> None:
    """Draw where every teacher and the student look, over validation images, with their IoU."""
    with doing("reading the tables"):
        from kd_sweep.tables.reader import open_results
        from kd_sweep.tables.trial_lookup import check_picture, find_trials

        check_picture(out)
        found = find_trials(open_results(root), trials)
    with doing("drawing attention maps"):
        from kd_sweep.figures.attention_sheet import attention_sheet
        from kd_sweep.figures.trial_attention import trial_attention

        attention_sheet([trial_attention(trial, images, indices or (), best=best) for trial in found]).save(out)
    tell(f"wrote {out}")


@command()
def verify(
    root: ResultsRoot,
    output: LinesFormat = "lines",
) -> None:
    """Check every file: each epoch once, checksums, versions. Exit code 1 if there is a problem. Changes nothing."""
    with doing("checking every file"):
        from kd_sweep.upkeep.verify import PROBLEM, findings_table
        from kd_sweep.upkeep.verify import verify as look

        found = look(root)
    problems = sum(finding.kind == PROBLEM for finding in found)
    if output == "lines":
        for finding in found:
            say(str(finding))
        tell(f"{root}: {problems} problems, {len(found) - problems} notes")
    else:
        print_table(findings_table(found), output)
    raise typer.Exit(1 if problems else 0)


@command()
def gc(
    root: ResultsRoot,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is garbage. No study may run.")] = False,
    caches: Annotated[bool, typer.Option("--caches", help="With --delete: the caches that are listed, too.")] = False,
    output: LinesFormat = "lines",
) -> None:
    """List what no study refers to: teachers, checkpoints, files set aside, and caches apart. Delete with --delete."""
    with doing("starting"):
        from kd_sweep.upkeep.gc import CACHE, Collector, garbage_table, totals

    with Collector(root, exclusive=delete) as collector:
        with doing("looking for what nothing refers to"):
            found = sorted(collector.find(), key=lambda garbage: garbage.kind == CACHE)
        if delete and not caches:
            found = [garbage for garbage in found if garbage.kind != CACHE]
        if output != "lines":
            print_table(garbage_table(found), output)
        for number, garbage in enumerate(found if output == "lines" else ()):
            if garbage.kind == CACHE and (not number or found[number - 1].kind != CACHE):
                say("caches, made again where a study that is extended or launched again needs them:")
            say(str(garbage))
        if delete:
            with doing("deleting"):
                collector.delete(found)
    tell(f"{root}: {totals(found, root, deleted=delete)}")


@command()
def augmentations(
    spec: Spec,
    out: Picture,
    images: NumImages = 8,
    overrides: Overrides = None,
) -> None:
    """Draw validation images at each of a study's augmentation strengths. Trains nothing."""
    with doing("drawing augmented images"):
        from kd_sweep.study.file.load import load_spec
        from kd_sweep.tables.trial_lookup import check_picture

        check_picture(out)
        study = load_spec(spec, overrides or ())
        from kd_sweep.figures.augmentation_sheet import augmentation_sheet

        augmentation_sheet(study, images).save(out)
    tell(f"wrote {out}")


@command()
def schema() -> None:
    """Print the JSON Schema of study files."""
    import json

    from kd_sweep.study.file.json_schema import json_schema

    say(json.dumps(json_schema(), indent=2))


@command()
def submit(
    spec: Spec,
    root: Annotated[str, typer.Option("--root", help="The results root as the cluster sees it.")],
    overrides: Overrides = None,
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Run a study as a job of a cluster; it goes on when this machine sleeps. Prints the job's id."""
    from kd_sweep.driver.ray import jobs

    with doing(f"asking the cluster at {address}"):
        job = jobs.submit(spec, address, root, overrides or ())
    say(job)
    tell(f"follow it with: kd-sweep logs {job} --address {address} --follow")


@command()
def logs(
    job: Annotated[str, typer.Argument(metavar="JOB", help="What `submit` printed.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Show what a submitted job has printed."""
    from kd_sweep.driver.ray import jobs

    status = jobs.write_logs(job, address, sys.stdout, follow=follow)
    tell(f"job {job}: {status}")


@command()
def stop(
    job: Annotated[str, typer.Argument(metavar="JOB", help="What `submit` printed.")],
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Stop a submitted job cleanly; submitting the study again goes on with it."""
    from kd_sweep.driver.ray import jobs

    status = jobs.stop(job, address, lambda: tell(f"stopping job {job}"))
    tell(f"job {job}: {status}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2.

    Ctrl-C ends with 130, and with 1 where nobody reads the output any more.

    Args:
        arguments: what follows the program's name; the process's own when None.
    """
    leave(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        open_streams()
        code = app(args=arguments, prog_name="kd-sweep", standalone_mode=False)
        return int(code or 0)
    except KdSweepError as error:
        tell_mistake(f"kd-sweep: {error}")
        # Ray may still end its processes at exit; one more Ctrl-C shall not print where it was in that.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return error.exit_code
    except _UsageError as error:
        asked = error.ctx.command_path if error.ctx else "kd-sweep"
        tell_mistake(f"{asked}: {' '.join(error.format_message().split()).removesuffix('.')}; see {asked} --help")
        return 2
    except Exception:
        tell_failure()
        return 1
