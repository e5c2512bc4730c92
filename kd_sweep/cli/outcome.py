"""What a launch and a resume say at their end."""

from typing import Any, NoReturn

import typer

from kd_sweep.cli.screen import print_table, tell, tell_footnotes


def conclude(outcome: Any, study: str) -> NoReturn:
    """Say how a launch or a resume ended, and end with its exit code.

    Args:
        outcome: what `kd_sweep.driver.launch` returned.
        study: the study's folder as a user names it.
    """
    from kd_sweep.tables.queries.views import answer
    from kd_sweep.tables.reader import open_results

    if outcome.interrupted and not outcome.ran:
        tell(f"stopped by {outcome.interrupted} before anything ran; launch the study again")
        raise typer.Exit(outcome.exit_code)
    counts = ", ".join(f"{number} {status}" for status, number in sorted(outcome.counts.items())) or "no trials"
    if not outcome.ran:
        what = "nothing was run" if outcome.left or outcome.paused else "nothing left to run"
        tell(f"{study}: {what} ({counts})")
    if outcome.counts:
        results = open_results(study)
        summary = answer(results, "summary")
        print_table(summary, "table", more=f"kd-sweep query {study} --wide")
        tell_footnotes(results, summary.column_names)
    for trial_id, error in sorted(outcome.errors.items()):
        tell(f"trial {trial_id} {error}")
    if outcome.ran:
        tell(f"{study}: {counts}")
    if outcome.left and not outcome.interrupted:
        tell(f"{outcome.left} trials have not started: {outcome.why_left}")
    if outcome.paused and not outcome.interrupted:
        tell(f"{outcome.paused} trials go on from their last epoch when budget.max_hours is raised")
    if outcome.interrupted:
        tell(f"stopped by {outcome.interrupted}; go on with: kd-sweep resume {study}")
    raise typer.Exit(outcome.exit_code)
