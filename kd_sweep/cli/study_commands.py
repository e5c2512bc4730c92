"""Commands on one stored study: mv, rm."""

import sys
from typing import Annotated

import typer

from kd_sweep.cli.arguments import StudyFolder
from kd_sweep.cli.screen import print_message, print_output
from kd_sweep.errors import UserError
from kd_sweep.waiting import doing


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
