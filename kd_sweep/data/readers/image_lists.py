"""Image lists: text files with a line `path label` per image, as ImageNet and ImageNet-LT are distributed.

Labels count from 0. A line is read from its end, so a path may hold spaces, also at its beginning. No image is decoded
here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_sweep.data.paths import absolute_path, dataset_root
from kd_sweep.data.readers.folder_walk import File, files_at
from kd_sweep.data.readers.image_files import ImageFiles, dataset_of_files
from kd_sweep.data.readers.text_files import read_lines
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import UndecodedDataset
from kd_sweep.errors import DataError

RULE = "it is a text file of lines `path label`"


@dataclass(frozen=True)
class _List:
    """The lines of one file. `origin` starts a message: the field and the file."""

    origin: str
    paths: list[str]
    labels_N: Indices
    lines: list[int]


def list_image_lists(
    path: str, train_list: str, val_list: str | None, cache_dir: Path | None = None
) -> UndecodedDataset:
    """Return the images that two lists name.

    Args:
        path: `data.path`, the folder that the paths in the lists start from.
        train_list: `data.train_list`, a file.
        val_list: `data.val_list`; None: validation images are split off.
        cache_dir: where earlier processes stored fingerprints; None: all files are read for the fingerprint.

    Raises:
        DataError: a list is missing, empty or malformed, names absent files or one file twice, has labels out of range
            or one class alone, or validation images that are training images.
    """
    root = dataset_root(path, "it is the folder that the paths in the lists start from")
    train = _read("train_list", train_list)
    num_classes = _check_labels(train)
    listed_val = None if val_list is None else _read("val_list", val_list)
    if listed_val is not None:
        _check_range(listed_val, num_classes)
    elif np.bincount(train.labels_N).max() < 2:
        raise DataError(f"{train.origin} has one image of every class, so none can be held out; add data.val_list")
    train_files = _files(root, train)
    val_files = None if listed_val is None else _files(root, listed_val)
    return dataset_of_files(
        "image_list", root, _class_names(root, train, num_classes), train_files, val_files, cache_dir
    )


def _read(field: str, name: str) -> _List:
    path = absolute_path(name, f"data.{field}")
    origin = f"data.{field}: {path}"
    paths, labels, lines = [], [], []
    for number, line in enumerate(read_lines(path, origin, RULE), start=1):
        if not line.strip():
            continue
        path_and_label = line.rstrip(" \t").replace("\t", " ")
        end = path_and_label.rfind(" ")
        label = path_and_label[end + 1 :]
        if not (line[:end].strip() and label.isascii() and label.isdigit() and len(label) < 10):
            raise DataError(
                f"{origin}, line {number}: {line.strip()[:80]!r} is not `path label`, with a label from 0 on"
            )
        paths.append(line[:end])
        labels.append(int(label))
        lines.append(number)
    if not paths:
        raise DataError(f"{origin} names no images; {RULE}")
    return _List(origin, paths, np.array(labels, dtype=np.int64), lines)


def _check_labels(train: _List) -> int:
    """Return the number of classes."""
    present = np.unique(train.labels_N)
    if len(present) == 1:
        raise DataError(f"{train.origin} has one class, label {present[0]}; at least 2 are needed")
    highest = int(present[-1])
    if len(present) <= highest:
        first = int(np.flatnonzero(np.diff(present, prepend=-1) > 1)[0])
        beyond, missing = int(present[first]), int(present[first - 1]) + 1 if first else 0
        line = train.lines[int(np.flatnonzero(train.labels_N == beyond)[0])]
        raise DataError(
            f"{train.origin}, line {line}: label {beyond} is out of range, as no training image has label {missing}; "
            f"labels are 0 to the number of classes - 1, without gaps"
        )
    return highest + 1


def _check_range(val: _List, num_classes: int) -> None:
    beyond = np.flatnonzero(val.labels_N >= num_classes)
    if len(beyond):
        raise DataError(
            f"{val.origin}, line {val.lines[beyond[0]]}: label {val.labels_N[beyond[0]]} is out of range; "
            f"possible: 0 to {num_classes - 1}, as in the training list"
        )
    present = len(np.unique(val.labels_N))
    if present == 1:
        raise DataError(f"{val.origin} has one class, label {val.labels_N[0]}; at least 2 are needed")


def _files(root: Path, listed: _List) -> ImageFiles:
    files = _present(root, listed.paths)
    absent = [index for index, file in enumerate(files) if file.state is None]
    if absent:
        first = absent[0]
        raise DataError(
            f"{listed.origin}: {len(absent)} of its {len(files)} files cannot be found, {files[first].path} "
            f"(line {listed.lines[first]}) for one; paths start from data.path, {root}"
        )
    line_of: dict[str, int] = {}
    for file, line in zip(files, listed.lines, strict=True):
        if file.path in line_of:
            raise DataError(
                f"{listed.origin}, line {line}: {file.path} is there a second time, first in line {line_of[file.path]}"
            )
        line_of[file.path] = line
    return ImageFiles.of(files, listed.labels_N.tolist(), listed.origin)


def _present(root: Path, paths: list[str]) -> list[File]:
    """Return the files at these paths with the spaces around their names; without them where there is no such file."""
    files = files_at([str(root / path) for path in paths])
    trimmed = [path.strip() for path in paths]
    absent = [index for index, file in enumerate(files) if file.state is None and trimmed[index] != paths[index]]
    for index, file in zip(absent, files_at([str(root / trimmed[index]) for index in absent]), strict=True):
        files[index] = file
    return files


def _class_names(root: Path, train: _List, num_classes: int) -> tuple[str, ...]:
    """Return the names of the folders that the classes lie in, where each has its own; else the labels."""
    names: dict[int, str] = {}
    for path, label in zip(train.paths, train.labels_N.tolist(), strict=True):
        names.setdefault(label, (root / path.strip()).parent.name)
    if len(set(names.values())) < num_classes:
        return tuple(str(label) for label in range(num_classes))
    return tuple(names[label] for label in range(num_classes))
