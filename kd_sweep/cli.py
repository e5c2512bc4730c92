"""The command line. Imports happen inside the commands, so that `--help` answers at once."""

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kd_sweep import __version__
from kd_sweep.errors import KdSweepError, QueryError, alternatives

app = typer.Typer(
    name="kd-sweep",
    help="Distributed hyperparameter sweeps for ensemble knowledge distillation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Address = Annotated[
    str | None,
    typer.Option("--address", envvar="RAY_ADDRESS", help="A Ray cluster, HOST:PORT. Default: Ray on this machine."),
]


def _format(*others: str) -> Any:
    """Return the option `--format`, which is checked before the work; `others` come beside the formats of a table."""

    def check(output: str) -> str:
        from kd_sweep.results.render import FORMATS

        if output not in (possible := (*others, *FORMATS)):
            raise QueryError(f"--format: {output!r} is not a format; {alternatives(output, possible)}")
        return output

    names = ", ".join([*others, "table", "csv", "json"])
    return typer.Option("--format", help=f"{names} or parquet.", callback=check)


Format = Annotated[str, _format()]
LinesFormat = Annotated[str, _format("lines")]
LOCAL_DASHBOARD = "http://127.0.0.1:8265"
Dashboard = Annotated[
    str,
    typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="A Ray cluster's dashboard, http://HOST:8265."),
]
RootOption = Annotated[str, typer.Option("--root", help="Where studies and teachers are kept: a folder or s3://…")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a field: --set search.seed.grid=[0,1,2]. Repeatable."),
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


@app.command()
def launch(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The study file.")],
    root: RootOption = "results",
    overrides: Overrides = None,
    address: Address = None,
) -> None:
    """Run a study, or go on with it where it exists already."""
    from kd_sweep.runner import launch as runner
    from kd_sweep.study.load import load_spec

    study = load_spec(spec, overrides or ())
    _conclude(runner.launch(study, root, address), f"{root.rstrip('/')}/{study.name}")


@app.command()
def resume(
    study: Annotated[str, typer.Argument(metavar="ROOT/STUDY", help="The study's folder.")],
    address: Address = None,
) -> None:
    """Go on with an interrupted study; nothing is done twice."""
    from kd_sweep.runner import launch as runner

    _conclude(runner.resume(study, address), study)


@app.command()
def plan(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The study file.")],
    root: RootOption = "results",
    overrides: Overrides = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Trials at a time. Default: as many as fit here.")] = None,
    probe: Annotated[bool, typer.Option(help="Train for a few seconds to estimate the hours.")] = True,
) -> None:
    """Show what a study would run and how long it would take. Starts nothing."""
    from kd_sweep.runner.estimate import describe_plan
    from kd_sweep.study.load import load_spec

    study = load_spec(spec, overrides or ())
    at_a_time = slots or max(1, (os.cpu_count() or 1) // study.resources.cpus)
    for line in describe_plan(study, root, at_a_time, probe=probe):
        print(line)


@app.command()
def status(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")],
    output: Format = "table",
) -> None:
    """Show how far the studies are."""
    import pyarrow as pa

    from kd_sweep.results.reader import open_results

    _print(pa.Table.from_pylist(open_results(root).status()), output)


@app.command()
def query(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")],
    sql: Annotated[
        str,
        typer.Argument(metavar="SQL", help="A SELECT, or summary, leaderboard, trend, best_epoch, teachers, pareto."),
    ] = "summary",
    output: Format = "table",
) -> None:
    """Ask the tables studies, trials, epochs and teachers; also while a sweep runs."""
    from kd_sweep.results.queries import answer
    from kd_sweep.results.reader import open_results

    results = open_results(root)
    _print(answer(results, sql) if sql.isidentifier() else results.sql(sql), output)


@app.command()
def analyse(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")],
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="Its name; not needed where there is one.")
    ] = None,
    output: Format = "table",
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 10_000,
    outcomes: Annotated[
        list[str] | None, typer.Option("--outcome", metavar="METRIC", help="Only this one, in detail. Repeatable.")
    ] = None,
    margin: Annotated[float, typer.Option(help="A rise of fidelity below this is hardly one.")] = 0.02,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of csv or parquet. Default: STUDY/analysis.")
    ] = None,
) -> None:
    """Effects of strength and ensemble size with intervals, and a verdict on each of the paper's claims."""
    from kd_sweep.report import analysis
    from kd_sweep.results.reader import open_results

    analysis.check_format(output, out)
    results = open_results(root)
    found = analysis.analyse(
        results, study, confidence=confidence, resamples=resamples, outcomes=outcomes, margin=margin
    )
    analysis.output_analysis(found, results, output, sys.stdout.buffer, out, complete=bool(outcomes))


@app.command()
def attention(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")],
    trials: Annotated[
        list[str], typer.Argument(metavar="TRIAL", help="Ids of trials, or their beginnings: one per strength, say.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The picture to write: .png, .jpg or .webp.")],
    images: Annotated[int, typer.Option(min=1, max=64, help="How many validation images, of every class in turn.")] = 8,
    indices: Annotated[
        list[int] | None, typer.Option("--image", help="Place of an image in the validation set, from 0. Repeatable.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The student after its best epoch, not its newest.")] = False,
) -> None:
    """Draw where every teacher and the student look, over validation images, with their IoU."""
    from kd_sweep.results.lookup import check_picture, find_trials
    from kd_sweep.results.reader import open_results

    check_picture(out)
    found = find_trials(open_results(root), trials)
    from kd_sweep.distill.attention_gallery import gallery, trial_attention

    gallery([trial_attention(trial, images, indices or (), best=best) for trial in found]).save(out)
    print(f"wrote {out}", file=sys.stderr)


@app.command()
def verify(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")],
    output: LinesFormat = "lines",
) -> None:
    """Check every file: each epoch once, checksums, versions. Exit code 1 if there is a problem. Changes nothing."""
    from kd_sweep.runner.verify import PROBLEM, findings_table
    from kd_sweep.runner.verify import verify as look

    found = look(root)
    problems = sum(finding.kind == PROBLEM for finding in found)
    if output == "lines":
        for finding in found:
            print(finding)
        print(f"{root}: {problems} problems, {len(found) - problems} notes", file=sys.stderr)
    else:
        _print(findings_table(found), output)
    raise typer.Exit(1 if problems else 0)


@app.command()
def gc(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")],
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is listed. No study may run.")] = False,
    output: LinesFormat = "lines",
) -> None:
    """List what no study refers to: teachers, caches, checkpoints, files set aside. Delete it with --delete."""
    from pydantic import ByteSize

    from kd_sweep.runner.garbage import Collector, garbage_table

    with Collector(root, exclusive=delete) as collector:
        found = collector.find()
        if output == "lines":
            for garbage in found:
                print(garbage, flush=True)
        else:
            _print(garbage_table(found), output)
        if delete:
            collector.delete(found)
    taken = ByteSize(sum(garbage.num_bytes for garbage in found)).human_readable(decimal=True)
    advice = "" if delete or not found else f"; kd-sweep gc {root} --delete deletes it"
    print(f"{root}: {len(found)} places, {taken} {'deleted' if delete else 'could go'}{advice}", file=sys.stderr)


@app.command()
def augmentations(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The study file.")],
    out: Annotated[Path, typer.Option("--out", help="The picture to write: .png, .jpg or .webp.")],
    images: Annotated[int, typer.Option(min=1, max=64, help="How many validation images, of every class in turn.")] = 8,
    overrides: Overrides = None,
) -> None:
    """Draw validation images at each of a study's augmentation strengths. Trains nothing."""
    from kd_sweep.results.lookup import check_picture
    from kd_sweep.study.load import load_spec

    check_picture(out)
    study = load_spec(spec, overrides or ())
    from kd_sweep.vision.stream_pictures import augmentation_sheet

    augmentation_sheet(study, images).save(out)
    print(f"wrote {out}", file=sys.stderr)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files."""
    import json

    from kd_sweep.study.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def submit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The study file.")],
    root: Annotated[str, typer.Option("--root", help="The results root as the cluster sees it.")],
    overrides: Overrides = None,
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Run a study as a job of a cluster; it goes on when this machine sleeps. Prints the job's id."""
    from kd_sweep.runner import jobs

    job = jobs.submit(spec, address, root, overrides or ())
    print(job)
    print(f"follow it with: kd-sweep logs {job} --address {address} --follow", file=sys.stderr)


@app.command()
def logs(
    job: Annotated[str, typer.Argument(metavar="JOB", help="What `submit` printed.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Show what a submitted job has printed."""
    from kd_sweep.runner import jobs

    status = jobs.write_logs(job, address, sys.stdout, follow=follow)
    print(f"job {job}: {status}", file=sys.stderr)


@app.command()
def stop(
    job: Annotated[str, typer.Argument(metavar="JOB", help="What `submit` printed.")],
    address: Dashboard = LOCAL_DASHBOARD,
) -> None:
    """Stop a submitted job cleanly; submitting the study again goes on with it."""
    from kd_sweep.runner import jobs

    status = jobs.stop(job, address, lambda: print(f"stopping job {job}", file=sys.stderr))
    print(f"job {job}: {status}", file=sys.stderr)


def _conclude(outcome: Any, study: str) -> None:
    from kd_sweep.results.queries import answer
    from kd_sweep.results.reader import open_results

    if outcome.interrupted and not outcome.ran:
        print(f"stopped by {outcome.interrupted} before anything ran; launch the study again", file=sys.stderr)
        raise typer.Exit(outcome.exit_code)
    counts = ", ".join(f"{number} {status}" for status, number in sorted(outcome.counts.items())) or "no trials"
    if not outcome.ran:
        print(f"{study}: nothing left to run ({counts})", file=sys.stderr)
    if outcome.counts:
        _print(answer(open_results(study), "summary"), "table")
    for trial_id, error in sorted(outcome.errors.items()):
        print(f"trial {trial_id} {error}", file=sys.stderr)
    if outcome.ran:
        print(f"{study}: {counts}", file=sys.stderr)
    if outcome.left and not outcome.interrupted:
        print(f"{outcome.left} trials have not started: {outcome.why_left}", file=sys.stderr)
    if outcome.interrupted:
        print(f"stopped by {outcome.interrupted}; go on with: kd-sweep resume {study}", file=sys.stderr)
    raise typer.Exit(outcome.exit_code)


def _print(table: Any, output: str) -> None:
    from kd_sweep.results.render import render

    render(table, output, sys.stdout.buffer)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2.

    Typer itself ends with 130 at Ctrl-C and with 1 where nobody reads the output any more.

    Args:
        arguments: what follows the program's name; the process's own when None.
    """
    try:
        app(args=arguments, prog_name="kd-sweep")
    except KdSweepError as error:
        print(f"kd-sweep: {error}", file=sys.stderr)
        # Ray may still end its processes at exit; one more Ctrl-C shall not print where it was in that.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
        sys.exit(error.exit_code)
