"""The outcome of a launch or a resume: its summary, its messages, its exit code."""

from typing import Any, NoReturn

import typer

from kd_sweep.cli.screen import print_footnotes, print_message, print_table


def conclude(outcome: Any, study: str) -> NoReturn:
    """Print how a launch or a resume ended, and end with its exit code.

    Args:
        outcome: the result of `kd_sweep.driver.launch`.
        study: the study's folder as a user names it.
    """
    from kd_sweep.tables.queries.named_queries import answer
    from kd_sweep.tables.reader import open_results

    if outcome.interrupted and not outcome.ran:
        print_message(f"stopped by {outcome.interrupted} before anything ran; launch the study again")
        raise typer.Exit(outcome.exit_code)
    counts = ", ".join(f"{number} {status}" for status, number in sorted(outcome.counts.items())) or "no trials"
    if not outcome.ran:
        what = "nothing was run" if outcome.left or outcome.paused else "nothing left to run"
        print_message(f"{study}: {what} ({counts})")
    if outcome.counts:
        results = open_results(study)
        summary = answer(results, "summary")
        print_table(summary, "table", more=f"kd-sweep query {study} --wide")
        print_footnotes(results, summary.column_names)
    for trial_id, error in sorted(outcome.errors.items()):
        print_message(f"trial {trial_id} {error}")
    if outcome.ran:
        print_message(f"{study}: {counts}")
    if outcome.left and not outcome.interrupted:
        print_message(f"{outcome.left} trials have not started: {outcome.why_left}")
    if outcome.paused and not outcome.interrupted:
        print_message(f"{outcome.paused} trials go on from their last epoch when budget.max_hours is raised")
    if outcome.interrupted:
        print_message(f"stopped by {outcome.interrupted}; go on with: kd-sweep resume {study}")
    raise typer.Exit(outcome.exit_code)
