"""The walk through the folders of a dataset: every real folder once, image files listed, all else counted.

No image is opened here.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kd_sweep.data.image_formats import SUFFIXES
from kd_sweep.errors import DataError

SYSTEM = frozenset(
    (
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "lost+found",
        "system volume information",
        "thumbs.db",
    )
)
"""Names that operating systems and disk stations leave behind, in lower case."""
MAX_OTHERS = 100_000
"""Files and folders that are listed before there have to be images among them. `/proc` and `/` have more."""
OTHERS_PER_IMAGE = 10
LISTED = 3
Identity = tuple[int, int] | str


@dataclass
class PassedOver:
    """Numbers of files and folders that are not read, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    """Names of `SYSTEM`."""
    suffixes: Counter[str] = field(default_factory=Counter)
    """Of files that are no images."""

    def __str__(self) -> str:
        """Return a list of reasons; empty where nothing was passed over."""
        reasons = [f"{count:,} {reason}" for reason, count in self.counts.items()]
        for reason, names in (("of the system", self.system), ("not images", self.suffixes)):
            if names:
                listed = ", ".join(name or "no suffix" for name in sorted(names)[:LISTED])
                more = ", …" if len(names) > LISTED else ""
                reasons.append(f"{names.total():,} {reason} ({listed}{more})")
        return ", ".join(reasons)


@dataclass(frozen=True)
class File:
    """An image file; `state` is None where it is absent, as behind a link to nowhere, or no regular file."""

    path: str
    state: os.stat_result | None


class Walk:
    """One walk through a dataset, which counts the files and folders that it passes over.

    Args:
        root: the folder of the dataset, for messages.
    """

    def __init__(self, root: Path) -> None:
        self.passed_over = PassedOver()
        self._root = root
        self._num_entries = 0
        self._num_images = 0

    def folders(self, folder: Path) -> list[str]:
        """Return the names of the folders in ``folder``, sorted.

        Raises:
            DataError: it cannot be read.
        """
        names = []
        for entry in self._entries(str(folder)):
            if _is_folder(entry):
                names.append(entry.name)
            elif _is_image(entry.name):
                self.passed_over.counts["outside class folders"] += 1
            else:
                self._count_other(entry.name)
        return names

    def has_images(self, folder: Path) -> bool:
        """Return whether there are image files in ``folder`` itself.

        Raises:
            DataError: it cannot be read.
        """
        return any(
            _is_image(entry.name) and not entry.name.startswith(".") and not _is_folder(entry)
            for entry in self._all_entries(str(folder))
        )

    def images(self, folder: Path) -> list[File]:
        """Return the image files below ``folder``, sorted by their paths.

        A link to a folder is followed, unless it leads back to a folder above it, or to one that was read already.

        Raises:
            DataError: a folder cannot be read, or there is no end of files that are no images.
        """
        known = {_identity(str(parent)) for parent in folder.resolve().parents}
        files: list[File] = []
        waiting, links = [str(folder)], list[str]()
        while waiting or links:
            if not waiting:  # real folders come first, so that a file has the path without links
                links.sort(reverse=True)
                waiting.append(links.pop())
            path = waiting.pop()
            identity = _identity(path)
            if identity in known:
                self.passed_over.counts["links to folders read already"] += 1
                continue
            known.add(identity)
            for entry in self._entries(path):
                if _is_folder(entry):
                    (links if entry.is_symlink() else waiting).append(entry.path)
                elif _is_image(entry.name):
                    files.append(File(entry.path, _state(entry.stat)))
                    self._num_images += 1
                else:
                    self._count_other(entry.name)
        return sorted(files, key=lambda file: file.path.replace(os.sep, "\0"))

    def files_below(self, folder: Path, suffix: str, depth: int, until: str) -> Iterator[Path]:
        """Yield the files with ``suffix`` in a folder and in those below it, ``depth`` deep, in their order.

        Args:
            folder: the uppermost.
            suffix: in lower case, with its dot.
            depth: 1 is the folder alone. Links to folders are not followed.
            until: folders that hold a file of this name are passed over.

        Raises:
            DataError: a folder cannot be read, or there is no end of other files.
        """
        entries = list(self._entries(str(folder)))
        if any(entry.name == until for entry in entries):
            self.passed_over.counts["folder of results"] += 1
            return
        for entry in entries:
            if _suffix(entry.name) == suffix and not _is_folder(entry):
                yield Path(entry.path)
            elif depth > 1 and _is_folder(entry) and not entry.is_symlink():
                yield from self.files_below(Path(entry.path), suffix, depth - 1, until)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        for entry in self._all_entries(folder):
            if entry.name.startswith("."):
                self.passed_over.counts["hidden"] += 1
            elif entry.name.lower() in SYSTEM:
                self.passed_over.system[entry.name] += 1
            else:
                yield entry

    def _all_entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"data.path: {folder} cannot be read ({error.strerror})") from None
        self._num_entries += len(entries)
        if self._num_entries <= MAX_OTHERS:
            return entries
        num_images = self._num_images + sum(_is_image(entry.name) for entry in entries)
        if self._num_entries > MAX_OTHERS + (1 + OTHERS_PER_IMAGE) * num_images:
            raise DataError(
                f"data.path: of {self._num_entries:,} files and folders looked at under {self._root}, {num_images:,} "
                f"are images; point it at the dataset's own folder"
            )
        return entries

    def _count_other(self, name: str) -> None:
        self.passed_over.suffixes[_suffix(name)] += 1


def _is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES


def _suffix(name: str) -> str:
    return name[name.rindex(".") :].lower() if "." in name else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: str) -> Identity:
    try:
        state = Path(folder).stat()
    except OSError as error:
        raise DataError(f"data.path: {folder} cannot be read ({error.strerror})") from None
    return (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(folder)


def _state(stat_file: Callable[[], os.stat_result]) -> os.stat_result | None:
    """Return the state of the file that a path leads to; None where it is no regular file."""
    try:
        state = stat_file()
    except (OSError, ValueError):  # a name may hold a NUL where it comes from a list
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def files_at(paths: list[str]) -> list[File]:
    """Return these files, in their order."""
    return [File(path, _state(Path(path).stat)) for path in paths]
