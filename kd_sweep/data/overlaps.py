"""Overlaps of training and validation: the same image in both, under any name, which no dataset may have."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from kd_sweep.errors import DataError

MAX_COPIES = Fraction(1, 1000)
"""Share of the validation images that may be copies of training images: large published sets have a few."""
MAX_PUBLISHED_COPIES = Fraction(5, 100)
"""The same for published datasets, which users cannot change."""


def count_copies(
    train: Sequence[bytes], val: Sequence[bytes] | None, names: Sequence[Sequence[str]], most: Fraction
) -> int:
    """Return the number of validation images with the content of a training image.

    Where validation is split off the training images: of those with the content of an earlier one.

    Args:
        train: content of each training image, or its digest.
        val: of each validation image; None where they are split off.
        names: of the images of both, for messages.
        most: the share that may be copies.

    Raises:
        DataError: more are.
    """
    copies = _repeated(train) if val is None else _shared(train, val)
    total = len(train) if val is None else len(val)
    if len(copies) > most * total:
        index, original = copies[0]
        if val is None:
            raise DataError(
                f"data: {len(copies):,} of {total:,} images are copies, {names[0][index]} of {names[0][original]} for "
                f"one, and validation is split off the training images, so that an image could be in both; remove them"
            )
        raise DataError(
            f"data: {len(copies):,} of {total:,} validation images are copies of training images, {names[1][index]} of "
            f"{names[0][original]} for one; validation must not overlap training, take them out of one of the two"
        )
    return len(copies)


def _repeated(train: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return the index of each copy and of its original."""
    first_of: dict[bytes, int] = {}
    firsts = ((index, first_of.setdefault(content, index)) for index, content in enumerate(train))
    return [(index, first) for index, first in firsts if index != first]


def _shared(train: Iterable[bytes], val: Iterable[bytes]) -> list[tuple[int, int]]:
    """Return the index of each validation image that is a copy, and of the first training image like it."""
    first_of: dict[bytes, int] = {}
    for index, content in enumerate(train):
        first_of.setdefault(content, index)
    return [(index, first_of[content]) for index, content in enumerate(val) if content in first_of]
