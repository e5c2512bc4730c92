"""Names of folders and files that hold a part of a dataset, train, val or test, in any case and common spelling."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val",
    "dev": "val", "eval": "val", "evaluation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_FILLERS = ("set", "sets", "data", "dataset", "image", "images", "img", "imgs", "split", "folder")
_GLUED = re.compile(f"({'|'.join(_WORDS)})({'|'.join(_FILLERS)})?")


@dataclass(frozen=True)
class SplitName:
    """`part` is train, val or test; `rest` the words that its counterparts share: ('seg',) of `seg_train`."""

    part: str
    rest: tuple[str, ...] = ()


def split_name(name: str) -> SplitName | None:
    """Return the part that ``name`` is the name of; None where it names none, or several."""
    parts, rest = [], []
    for word in re.findall("[a-z]+|[0-9]+", name.lower()):
        glued = _GLUED.fullmatch(word)
        if glued is not None:
            parts.append(_WORDS[glued[1]])
        elif word not in _FILLERS:
            rest.append(word)
    return SplitName(parts[0], tuple(rest)) if len(parts) == 1 else None


def named_splits(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Return the names of parts among ``names``: by their other words, then by part."""
    splits: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in names:
        split = split_name(name)
        if split is not None:
            splits.setdefault(split.rest, {}).setdefault(split.part, []).append(name)
    return splits
