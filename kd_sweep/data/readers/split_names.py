"""Names of folders and files that say which part of a dataset they hold, whatever their case and spelling."""

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
    """Return which part ``name`` says that it is; None where it says none, or several."""
    parts, rest = [], []
    for word in re.findall("[a-z]+|[0-9]+", name.lower()):
        glued = _GLUED.fullmatch(word)
        if glued is not None:
            parts.append(_WORDS[glued[1]])
        elif word not in _FILLERS:
            rest.append(word)
    return SplitName(parts[0], tuple(rest)) if len(parts) == 1 else None


def named_splits(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Return the names that say a part: by their other words, then by part."""
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in names:
        split = split_name(name)
        if split is not None:
            found.setdefault(split.rest, {}).setdefault(split.part, []).append(name)
    return found
