"""Layouts of a copy of CIFAR: Python batches, a folder per class, or Parquet files, and the files of each part."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from kd_sweep.data.readers.cifar_batches import BATCHES
from kd_sweep.data.readers.class_folders import find_splits
from kd_sweep.data.readers.folder_walk import PassedOver, Walk
from kd_sweep.data.readers.split_names import named_splits, split_name
from kd_sweep.errors import DataError

PARQUET_DEPTH = 4
"""Levels of folders below `data.path` that are searched for Parquet files: a snapshot of a hub has them three deep."""
STUDY_FILE = "study.yaml"
"""A folder with this file holds results: its Parquet files are tables."""
_SHARD = re.compile(r"(.*?)(\d+)(?:-of-(\d+))?(?:-[0-9a-f]{16})?")


@dataclass(frozen=True)
class Copy:
    """The files of a copy, and their form: `batches`, `folders` or `parquet`."""

    form: str
    root: Path
    train: list[Path] = field(default_factory=list)
    test: list[Path] = field(default_factory=list)
    passed_over: PassedOver = field(default_factory=PassedOver)


def find_copy(name: str, root: Path) -> Copy | None:
    """Return the copy of ``name`` at ``root``; None where there is none in a known form.

    Raises:
        DataError: a copy is incomplete, or there are several.
    """
    if not root.is_dir():
        return None
    return _batches_at(name, root) or _folders_at(root) or _parquet_at(name, root)


def _batches_at(name: str, root: Path) -> Copy | None:
    layout = BATCHES[name]
    for folder in (root, root / layout.folder):
        if all((folder / file).is_file() for file in layout.test):
            train = [folder / file for file in layout.train]
            missing = [file.name for file in train if not file.is_file()]
            if missing:
                raise DataError(
                    f"data.path: {folder} lacks {missing[0]!r} of {name}'s {len(train)} training files; "
                    f"download the archive again"
                )
            return Copy("batches", folder, train, [folder / file for file in layout.test])
    return None


def _folders_at(root: Path) -> Copy | None:
    walk = Walk(root)
    names = walk.folders(root)
    if not any("train" in parts for parts in named_splits(names).values()):
        return None
    splits = find_splits(walk, root, names)
    if splits is None or not walk.folders(root / splits.train):
        return None
    return Copy("folders", root)


def _parquet_at(name: str, root: Path) -> Copy | None:
    walk = Walk(root)
    files = list(walk.files_below(root, ".parquet", PARQUET_DEPTH, STUDY_FILE))
    if not files:
        return None
    parts: dict[str, list[Path]] = {}
    configs: dict[Path, None] = {}
    for file in files:
        part, config = _part_of(file, root)
        if part is None:
            walk.passed_over.suffixes[".parquet"] += 1
            continue
        parts.setdefault(part, []).append(file)
        configs[config] = None
    if "train" not in parts:
        raise DataError(f"data.path: {root} has Parquet files, but none called train*.parquet as {name} needs")
    if len(configs) > 1:
        first, second = (str(config.relative_to(root)) for config in list(configs)[:2])
        raise DataError(
            f"data.path: {root} has Parquet files of {name} in {first}/ and in {second}/; set data.path to one of them"
        )
    for shards in parts.values():
        _check_shards(name, shards)
    held_out = "val" if "val" in parts else "test"
    if "val" in parts and "test" in parts:
        walk.passed_over.counts["files of test beside validation"] += len(parts["test"])
    return Copy("parquet", root, parts["train"], parts.get(held_out, []), walk.passed_over)


def _part_of(file: Path, root: Path) -> tuple[str | None, Path]:
    """Return the part that a file belongs to, by its name or the folders above it, and the folder of all parts."""
    split = split_name(file.stem)
    if split is not None:
        return split.part, file.parent
    for folder in file.parents:
        if folder == root:
            break
        split = split_name(folder.name)
        if split is not None:
            return split.part, folder.parent
    return None, file.parent


def _check_shards(name: str, files: list[Path]) -> None:
    """Check that several files of one part are its pieces, numbered without gaps: else any of them could be meant.

    Raises:
        DataError: they are not, or a piece is missing.
    """
    matches = [_SHARD.fullmatch(file.stem) for file in files]
    numbers = sorted(int(match[2]) for match in matches if match is not None)
    totals = {match[3] for match in matches if match is not None and match[3] is not None}
    begun = {match[1] for match in matches if match is not None}
    if len(totals) == 1:
        total = int(totals.pop())
        missing = sorted(set(range(total)) - set(numbers))
        if missing and len(numbers) < total:
            raise DataError(
                f"data.path: {files[0].parent} lacks piece {missing[0]} of {total} of {name}, beside {files[0].name}; "
                f"download it again"
            )
    if len(files) == 1:
        return
    if len(numbers) < len(files) or len(begun) > 1 or numbers != list(range(numbers[0], numbers[0] + len(files))):
        raise DataError(
            f"data.path: {files[0]} and {files[1]} both hold the same part of {name}, and are not pieces of it "
            f"(train-00000-of-00002.parquet, …); keep one of them"
        )
