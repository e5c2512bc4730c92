"""Commands that check and clean a results root: verify, gc."""

from typing import Annotated

import typer

from kd_sweep.cli.arguments import LinesFormat, ResultsRoot
from kd_sweep.cli.screen import print_message, print_output, print_table
from kd_sweep.errors import UserError
from kd_sweep.waiting import doing


def verify(
    root: ResultsRoot,
    output: LinesFormat = "lines",
) -> None:
    """Check every file: each epoch once, checksums, versions. Exit code 1 if there is a problem. Changes nothing."""
    with doing("checking every file"):
        from kd_sweep.upkeep.verify import PROBLEM, findings_table
        from kd_sweep.upkeep.verify import verify as find_problems

        findings = find_problems(root)
    problems = sum(finding.kind == PROBLEM for finding in findings)
    if output == "lines":
        for finding in findings:
            print_output(str(finding))
        print_message(f"{root}: {problems} problems, {len(findings) - problems} notes")
    else:
        print_table(findings_table(findings), output)
    raise typer.Exit(1 if problems else 0)


def gc(
    root: ResultsRoot,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is garbage. No study may run.")] = False,
    caches: Annotated[bool, typer.Option("--caches", help="With --delete: the caches that are listed, too.")] = False,
    output: LinesFormat = "lines",
) -> None:
    """List what no study refers to, and with --delete delete it. Caches are listed apart."""
    if caches and not delete:
        raise UserError("--caches: deletes with --delete alone; without both, caches are listed")
    with doing("starting"):
        from kd_sweep.upkeep.gc import CACHE, Collector, garbage_table, totals

    with Collector(root, exclusive=delete) as collector:
        with doing("searching for garbage"):
            listed = sorted(collector.find(), key=lambda garbage: garbage.kind == CACHE)
        if delete and not caches:
            listed = [garbage for garbage in listed if garbage.kind != CACHE]
        if output != "lines":
            print_table(garbage_table(listed), output)
        for number, garbage in enumerate(listed if output == "lines" else ()):
            if garbage.kind == CACHE and (not number or listed[number - 1].kind != CACHE):
                print_output("caches, made again where a study that is extended or launched again needs them:")
            print_output(str(garbage))
        if delete:
            with doing("deleting"):
                collector.delete(listed)
    print_message(f"{root}: {totals(listed, root, deleted=delete)}")
