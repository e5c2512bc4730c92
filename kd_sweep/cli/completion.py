"""What a shell completes: study files, studies of a root, ids of trials. Whatever fails here completes to nothing."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer

VARIABLE = "_KD_SWEEP_COMPLETE"
"""The variable of the environment in which a shell asks for completions."""
Completer = Callable[..., list[str]]
"""From what typer gives by name, the ``incomplete`` word and the ``ctx`` of the words before, to whole words."""


def _silent(complete: Completer) -> Completer:
    @wraps(complete)
    def completed(**given: Any) -> list[str]:
        try:
            return complete(**given)
        except Exception:  # a line in the middle of somebody's typing helps nobody
            return []

    return completed


@_silent
def study_files(incomplete: str) -> list[str]:
    """Return study files and folders whose paths begin so."""
    return [path for path, entry in _beginning_so(incomplete) if entry.is_dir() or path.endswith((".yaml", ".yml"))]


@_silent
def nothing() -> list[str]:
    """Return nothing: the shell completes the names of files by itself."""
    return []


@_silent
def study_folders(incomplete: str) -> list[str]:
    """Return studies whose paths begin so; where there is none, folders that may hold some."""
    folders = [(path, entry) for path, entry in _beginning_so(incomplete) if entry.is_dir()]
    studies = [path.rstrip("/") for path, entry in folders if is_study(Path(entry.path))]
    return studies or [path for path, _ in folders]


@_silent
def study_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of studies in the root before this word that begin so."""
    root = Path(_root_of(ctx))
    names = [entry.name for entry in os.scandir(root) if is_study(Path(entry.path))]
    return sorted(name for name in names if name.startswith(incomplete))


@_silent
def trial_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of trials in the root before this word that begin so."""
    root = Path(_root_of(ctx))
    folders = [root] if is_study(root) else [Path(entry.path) for entry in os.scandir(root)]
    return sorted(
        {one for folder in folders if is_study(folder) for one in _trials_of(folder) if one.startswith(incomplete)}
    )


@_silent
def studies_and_trials(incomplete: str) -> list[str]:
    """Return studies, and within a study trials, whose paths begin so."""
    folder, _, beginning = incomplete.rpartition("/")
    if folder and is_study(Path(folder)):
        return sorted(f"{folder}/{one}" for one in _trials_of(Path(folder)) if one.startswith(beginning))
    return study_folders(incomplete=incomplete)


def is_study(folder: Path) -> bool:
    """Whether a folder looks like a study, told without opening its tables."""
    return folder.is_dir() and ((folder / "study.yaml").exists() or any((folder / "study").glob("study-*.parquet")))


def _trials_of(folder: Path) -> list[str]:
    from kd_sweep.storage.root import Root
    from kd_sweep.tables.keyed_table import read_table
    from kd_sweep.tables.schema import TABLE_FILES

    ids: list[str] = read_table(Root.named(folder), TABLE_FILES["trials"])["trial_id"].to_pylist()
    return ids


def _root_of(ctx: typer.Context) -> str:
    params: dict[str, Any] = ctx.params
    return str(params.get("root") or "results")


def _beginning_so(incomplete: str) -> list[tuple[str, "os.DirEntry[str]"]]:
    """Return the entries of a folder whose paths begin so, as the user writes them; a folder ends with a slash."""
    folder, slash, beginning = incomplete.rpartition("/")
    with os.scandir(Path(f"{folder}{slash}" or ".").expanduser()) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    return [
        (f"{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}", entry)
        for entry in entries
        if entry.name.startswith(beginning) and (beginning.startswith(".") or not entry.name.startswith("."))
    ]
