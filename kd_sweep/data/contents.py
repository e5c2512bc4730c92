"""What a dataset holds, as its user is told before anything runs. Nothing here decodes an image or loads torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_sweep.data.dataset_listing import find_images
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import Found, chosen
from kd_sweep.study.recipe import Data
from kd_sweep.tables.rendering.values import escaped
from kd_sweep.waiting import doing

DIGITS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
"""How often each digit is in scikit-learn's set."""

LINE = 80
"""Characters of a terminal's line."""
LISTED_CLASSES = 3


@dataclass(frozen=True)
class ImageCounts:
    """How many images a trial trains on and is evaluated on, and of how many classes they are."""

    train: int
    val: int
    classes: int


@dataclass(frozen=True)
class Contents:
    """What a dataset holds, as its user is told.

    Attributes:
        data: the section of the study, with an absolute path and the fingerprint of the files; the embedded digits have
            neither.
        counts: of the images that it asks for.
        class_names: one per label.
        copies: what to say of images that are there twice; empty where none is.
        passed_over: what else lies there, by reason; empty where there is nothing else.
    """

    data: Data
    counts: ImageCounts
    class_names: tuple[str, ...]
    copies: str = ""
    passed_over: str = ""

    def lines(self) -> list[str]:
        """Return what a launch says of it: what there is, and in further lines what is passed over and copied."""
        counts = self.counts
        found = f"data: {counts.train:,} training and {counts.val:,} validation images of {counts.classes:,} classes"
        others = {"passed over": self.passed_over, "copies": self.copies}
        lines = [found + _first(self.class_names, LINE - len(found))]
        return [*lines, *(_one_line(f"{key}: {said}") for key, said in others.items() if said)]


def look_through(data: Data, memory: Path | None = None) -> Contents:
    """Return what ``data`` asks for, after checks that decode no image.

    Args:
        data: the `data` section of a study.
        memory: where fingerprints that are known already are looked up; else all files are read.

    Raises:
        DataError: what `load_dataset` would find wrong, but for damaged images.
    """
    if data.name == "digits":
        labels_N = np.repeat(np.arange(len(DIGITS_COUNTS)), DIGITS_COUNTS)
        names = tuple(str(digit) for digit in range(len(DIGITS_COUNTS)))
        return Contents(data, _counts(data, labels_N, None), names)
    with doing(f"looking through {data.path}"):
        found = find_images(data, memory)
    lists = {key: value for key in ("train_list", "val_list") if (value := getattr(data, key)) is not None}
    places = {key: str(Path(value).expanduser().resolve()) for key, value in lists.items()}
    as_found = data.model_copy(update={"path": str(found.root), "fingerprint": found.fingerprint, **places})
    counts = _counts(data, found.train.labels_N, None if found.val is None else found.val.labels_N)
    return Contents(as_found, counts, found.class_names, _copies(found), found.passed_over)


def check_data(data: Data, memory: Path | None = None) -> Data:
    """Return ``data`` with an absolute path and the fingerprint of its files, as `look_through` does."""
    return look_through(data, memory).data


def count_images(data: Data) -> ImageCounts:
    """Return how many images ``data`` asks for. None is decoded.

    Raises:
        DataError: as `look_through`.
    """
    return look_through(data).counts


def _counts(data: Data, train_labels_N: Indices, val_labels_N: Indices | None) -> ImageCounts:
    train_N, val_N = chosen(data, train_labels_N, val_labels_N)
    return ImageCounts(len(train_N), len(val_N), len(np.unique(train_labels_N)))


def _copies(found: Found) -> str:
    if not found.copies:
        return ""
    if found.val is None:
        return f"{found.copies:,} images are copies of others, and can be in both sets"
    return f"{found.copies:,} validation images are copies of training images"


def _one_line(text: str) -> str:
    return escaped(text).replace("\n", " ")


def _first(names: Sequence[str], room: int) -> str:
    """Return the first names in brackets, at most three, and as many as there is room for; at least one."""
    shown = [_one_line(name) for name in names[:LISTED_CLASSES]]
    while len(listed := f" ({', '.join(shown)}{', …' if len(shown) < len(names) else ''})") > room and len(shown) > 1:
        shown.pop()
    return listed
