"""The contents of a dataset, as a launch reports them: image counts, classes, copies. No image is decoded here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.paths import absolute_path
from kd_sweep.data.readers.array_datasets import array_dataset
from kd_sweep.data.selection import selected_indices
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import UndecodedDataset
from kd_sweep.study.recipe import Data
from kd_sweep.tables.rendering.value_text import escaped
from kd_sweep.waiting import doing

LINE = 80
"""Characters in a line of a terminal."""
LISTED_CLASSES = 3


@dataclass(frozen=True)
class ImageCounts:
    """Number of images that a trial trains on and is evaluated on, and of their classes."""

    train: int
    val: int
    classes: int


@dataclass(frozen=True)
class Contents:
    """The contents of a dataset.

    Attributes:
        data: the section of the study, with an absolute path and the fingerprint of the files; the embedded digits have
            neither.
        counts: of the images that it asks for.
        class_names: one per label.
        copies: a sentence about images that are there twice; empty where none is.
        passed_over: other files and folders there, counted by reason; empty where there are none.
    """

    data: Data
    counts: ImageCounts
    class_names: tuple[str, ...]
    copies: str = ""
    passed_over: str = ""

    def lines(self) -> list[str]:
        """Return the lines of a launch: counts and classes, then what is passed over and copied, if anything."""
        counts = self.counts
        first = f"data: {counts.train:,} training and {counts.val:,} validation images of {counts.classes:,} classes"
        others = {"passed over": self.passed_over, "copies": self.copies}
        lines = [first + _shown_names(self.class_names, LINE - len(first))]
        return [*lines, *(_one_line(f"{key}: {text}") for key, text in others.items() if text)]


def inspect_data(data: Data, cache_dir: Path | None = None) -> Contents:
    """Return the contents of the dataset that ``data`` names, after all checks that decode no image.

    Args:
        data: the `data` section of a study.
        cache_dir: where earlier processes stored fingerprints; None: all files are read for the fingerprint.

    Raises:
        DataError: as `load_dataset`, but for damaged images.
    """
    if not data.entry.traits.lists_files:
        with doing(f"making {data.name}"):
            arrays = array_dataset(data)
        complete = data.model_copy(update={"fingerprint": arrays.fingerprint})
        counts = _counts(data, arrays.train.labels_N, None if arrays.val is None else arrays.val.labels_N)
        return Contents(complete, counts, arrays.class_names)
    with doing(f"searching {getattr(data, 'path', '')}"):
        dataset = list_images(data, cache_dir)
    lists = {key: value for key in ("train_list", "val_list") if (value := getattr(data, key, None)) is not None}
    paths = {key: str(absolute_path(value, f"data.{key}")) for key, value in lists.items()}
    complete = data.model_copy(update={"path": str(dataset.root), "fingerprint": dataset.fingerprint, **paths})
    counts = _counts(data, dataset.train.labels_N, None if dataset.val is None else dataset.val.labels_N)
    return Contents(complete, counts, dataset.class_names, _copies(dataset), dataset.passed_over)


def num_channels(data: Data) -> int:
    """Return 1 where the images are greyscale, 3 where they are RGB, as those of all files.

    Raises:
        DataError: the dataset is one of arrays, and its function returned none.
    """
    if data.entry.traits.lists_files:
        return 3
    return int(array_dataset(data).train.images_NHWD.shape[-1])


def check_data(data: Data, cache_dir: Path | None = None) -> Data:
    """Return ``data`` with an absolute path and the fingerprint of its files, as `inspect_data` does."""
    return inspect_data(data, cache_dir).data


def count_images(data: Data) -> ImageCounts:
    """Return the number of images that ``data`` asks for. None is decoded.

    Raises:
        DataError: as `inspect_data`.
    """
    return inspect_data(data).counts


def _counts(data: Data, train_labels_N: Indices, val_labels_N: Indices | None) -> ImageCounts:
    train_N, val_N = selected_indices(data, train_labels_N, val_labels_N)
    return ImageCounts(len(train_N), len(val_N), len(np.unique(train_labels_N)))


def _copies(dataset: UndecodedDataset) -> str:
    if not dataset.copies:
        return ""
    if dataset.val is None:
        return f"{dataset.copies:,} images are copies of others, and can be in both sets"
    return f"{dataset.copies:,} validation images are copies of training images"


def _one_line(text: str) -> str:
    return escaped(text).replace("\n", " ")


def _shown_names(names: Sequence[str], room: int) -> str:
    """Return in brackets the first names that fit into ``room`` characters, at least one and at most three."""
    shown = [_one_line(name) for name in names[:LISTED_CLASSES]]
    while len(listed := f" ({', '.join(shown)}{', …' if len(shown) < len(names) else ''})") > room and len(shown) > 1:
        shown.pop()
    return listed
