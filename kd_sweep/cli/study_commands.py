"""Commands on a stored study or trial: mv, rm, note, diff."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kd_sweep.cli.arguments import MORE, Format, StudyFolder, Wide
from kd_sweep.cli.completion import studies_and_trials
from kd_sweep.cli.screen import print_message, print_output, print_table
from kd_sweep.errors import QueryError, UserError, alternatives
from kd_sweep.waiting import doing

if TYPE_CHECKING:
    from kd_sweep.tables.comparison import StudyComparison, TrialComparison

StudyOrTrial = Annotated[
    str,
    typer.Argument(
        metavar="ROOT/STUDY[/TRIAL]",
        help="The study's folder, with a trial's id or a beginning of it behind it.",
        autocompletion=studies_and_trials,
    ),
]


def mv(study: StudyFolder, name: Annotated[str, typer.Argument(metavar="NEWNAME", help="The new name.")]) -> None:
    """Give a study another name. Nobody may run it, and a rename that was interrupted is ended."""
    with doing("renaming the study"):
        from kd_sweep.upkeep.renaming import rename_study

        renamed = rename_study(study, name)
    print_message(f"{study} is {renamed} now")


def rm(study: StudyFolder, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a study with its tables and checkpoints. Teachers stay, since others may use them: gc lists them."""
    with doing("reading the study"):
        from kd_sweep.upkeep.removal import remove_study, weigh

        removal = weigh(study)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"rm: {removal}; nobody is here to ask, so nothing was deleted; --yes deletes it")
        print_message(f"{removal}. Nothing brings it back.")
        try:
            answer = input("Delete it? [y/N] ").strip().lower()
        except EOFError:
            answer = ""
        if answer not in ("y", "yes"):
            raise UserError("rm: nothing was deleted")
    with doing("deleting"):
        remove_study(study)
    print_output(f"deleted {removal}")
    if removal.num_teachers:
        root = study.rstrip("/").rpartition("/")[0] or "."
        print_message(f"{removal.num_teachers} teachers are used by no other study: kd-sweep gc {root} lists them")


def note(
    where: StudyOrTrial,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What to note. Without it, notes are listed.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A word for it. Repeatable.")] = None,
    delete: Annotated[str | None, typer.Option("--delete", metavar="ID", help="Delete the note of this id.")] = None,
    output: Format = "table",
    wide: Wide = False,
) -> None:
    """Note something of a study or a trial, or list its notes. It works while a sweep runs."""
    with doing("reading the study"):
        from kd_sweep.storage.root import Root
        from kd_sweep.tables.notes import add_note, delete_note
        from kd_sweep.tables.reader import Results
        from kd_sweep.tables.trial_lookup import study_or_trial

        study, trial_id = study_or_trial(Root.named(where))
    if delete is not None and (text is not None or tags):
        raise UserError("note: --delete goes with no text and no tags")
    if delete is not None:
        delete_note(study, delete)
        print_message(f"deleted note {delete}")
    elif text is not None or tags:
        print_message(f"note {add_note(study, text or '', tags or (), trial_id)} of {where}")
    else:
        of_trial = "" if trial_id is None else "WHERE trial_id = $trial"
        columns = "note_id, trial_id, text, tags, author, written_at"
        notes = Results(study).sql(f"SELECT {columns} FROM notes {of_trial}", {"trial": trial_id} if trial_id else None)
        print_table(notes, output, wide=wide, more=MORE)


PARTS = ("settings", "metrics", "pairs", "only_first", "only_second")
"""The tables of a comparison of two studies; of two trials the first two."""


def diff(
    first: StudyOrTrial,
    second: StudyOrTrial,
    part: Annotated[
        str, typer.Option("--part", help=f"Which table csv, json and parquet have: {', '.join(PARTS)}.")
    ] = "metrics",
    output: Format = "table",
    wide: Wide = False,
) -> None:
    """Compare two studies or trials. Settings that differ, and metrics side by side."""
    with doing("reading the tables"):
        if part not in PARTS:
            raise QueryError(f"--part: {part!r} is not a part; {alternatives(part, PARTS)}")
        comparison = _compared(first, second)
    parts = {name: table for name in PARTS if (table := getattr(comparison, name, None)) is not None}
    if output != "table":
        if part not in parts:
            raise QueryError(f"--part: two trials have no {part}; {alternatives(part, parts)}")
        print_table(parts[part], output)
        return
    print_output(f"first: {first}\nsecond: {second}")
    for name, table in parts.items():
        print_output(f"\n{name}:" if table.num_rows else f"\n{name}: none")
        if table.num_rows:
            print_table(table, output, wide=wide, more=MORE)


def _compared(first: str, second: str) -> "StudyComparison | TrialComparison":
    from kd_sweep.handles.study_results import StudyResults
    from kd_sweep.storage.root import Root
    from kd_sweep.tables.trial_lookup import study_or_trial

    named = [study_or_trial(Root.named(location)) for location in (first, second)]
    study, other = (StudyResults(folder) for folder, _ in named)
    ids = [trial_id for _, trial_id in named if trial_id is not None]
    if len(ids) == 1:
        raise QueryError("diff: compares two studies or two trials, and these are one of each")
    return study.trial(ids[0]).compare(other.trial(ids[1])) if ids else study.compare(other)
