"""Commands that read the tables: status, query, analyse."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kd_sweep.cli.arguments import (
    MORE,
    Format,
    MemoryLimit,
    Parameters,
    ResultsRoot,
    Timeout,
    Wide,
    limits_of,
    named_values,
)
from kd_sweep.cli.completion import nothing, study_names
from kd_sweep.cli.remote_commands import analyse_there, query_there, status_there
from kd_sweep.cli.screen import print_footnotes, print_message, print_output, print_table, screen
from kd_sweep.cli.server_option import server
from kd_sweep.waiting import doing

MarginTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--margin",
        metavar="[METRIC=]NUMBER",
        help="A change of fidelity below this counts as hardly any: of all splits, or of one metric. Repeatable. "
        "Default: 0.02.",
    ),
]


def status(root: ResultsRoot, output: Format = "table", wide: Wide = False) -> None:
    """Show the progress of the studies."""
    if (service := server()) is not None:
        status_there(service, root, output, wide=wide)
        return
    with doing("reading the tables"):
        from kd_sweep.tables.arrow_alone import import_arrow_alone

        import_arrow_alone()
        import pyarrow as pa

        from kd_sweep.tables.reader import open_results
        from kd_sweep.tables.rendering.study_overview import overview

        rows = open_results(root).status()
    table = overview(rows) if output == "table" and not wide else pa.Table.from_pylist(rows)
    print_table(table, output, wide=wide, more=MORE)


def query(
    root: ResultsRoot,
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL", help="A SELECT, or a name: summary, leaderboard, trend, bands, … (docs/queries.md has all)."
        ),
    ] = "summary",
    parameters: Parameters = None,
    output: Format = "table",
    wide: Wide = False,
    timeout: Timeout = None,
    memory_limit: MemoryLimit = None,
) -> None:
    """Query the tables, also while a sweep runs. They are studies, trials, epochs and teachers."""
    if (service := server()) is not None:
        query_there(service, root, sql, named_values(parameters or []), output, wide=wide)
        return
    with doing("starting"):
        from kd_sweep.tables.arrow_alone import import_arrow_alone

        import_arrow_alone()
        from kd_sweep.tables.queries.named_queries import answers
        from kd_sweep.tables.queries.named_query import remarks_of
        from kd_sweep.tables.queries.process_memory import bounded_memory
        from kd_sweep.tables.reader import open_results

        limits = limits_of(timeout, memory_limit)
    with doing("reading the tables"), bounded_memory(limits.memory_bytes):
        results = open_results(root, limits)
        tables = answers(results, sql, named_values(parameters or []), one=output != "table")
    for number, table in enumerate(tables):
        if number:
            print_output("")
        print_table(table, output, wide=wide, more=MORE)
        for remark in remarks_of(table):
            print_message(remark)
    print_footnotes(results, [name for table in tables for name in table.column_names])


def analyse(
    root: ResultsRoot,
    study: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="The study's name, if there are several.", autocompletion=study_names),
    ] = None,
    output: Format = "table",
    wide: Wide = False,
    complete: Annotated[bool, typer.Option("--all", help="Say more of each verdict, and show all tables.")] = False,
    confidence: Annotated[float, typer.Option(help="Confidence of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap.")] = 10_000,
    outcomes: Annotated[
        list[str] | None, typer.Option("--outcome", metavar="METRIC", help="Only effects on this metric. Repeatable.")
    ] = None,
    margins: MarginTexts = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of csv or parquet. Default: STUDY/analysis.", autocompletion=nothing),
    ] = None,
) -> None:
    """Show effects with intervals, and verdicts on claims. Effects are those of what varies; claims are the paper's."""
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "outcomes": outcomes}
    if (service := server()) is not None:
        analyse_there(service, root, study, output, out, margins or [], wide=wide, complete=complete, **options)
        return
    with doing("analysing the study"):
        from kd_sweep.tables.arrow_alone import import_arrow_alone

        import_arrow_alone()
        from kd_sweep.analysis.analysis_output import check_format, output_analysis
        from kd_sweep.analysis.claims.margins import read_margins
        from kd_sweep.analysis.study_analysis import analyse
        from kd_sweep.tables.reader import open_results

        check_format(output, out)
        results = open_results(root)
        analysis = analyse(results, study, margin=read_margins(margins or []), **options)
    stream = screen(wide=wide) if output == "table" else sys.stdout.buffer
    output_analysis(analysis, results, output, stream, out, complete=complete)
    print_footnotes(results, analysis.sample.outcomes, analysis.sample.study)
