"""CIFAR's Python batches: pickled dictionaries, read without running code that a pickle could contain."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_sweep.data.undecoded_images import UndecodedImages
from kd_sweep.errors import DataError

SIDE = 32


@dataclass(frozen=True)
class Layout:
    """Names of the files, and of the entries in them."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    class_names: str


BATCHES = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test=("test_batch",),
        meta="batches.meta",
        labels="labels",
        class_names="label_names",
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        train=("train",),
        test=("test",),
        meta="meta",
        labels="fine_labels",
        class_names="fine_label_names",
    ),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds dictionaries, lists, text, numbers and arrays; anything else that a pickle names is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            ("_codecs", "encode"),
            ("__builtin__", "bytes"),
            ("builtins", "bytes"),
            ("builtins", "bytearray"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of CIFAR does")
        # Its old name warns.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_batches(files: Sequence[Path], name: str) -> tuple[UndecodedImages, tuple[str, ...]]:
    """Return the images of these batches in order, and the class names, if the file of them is there.

    Raises:
        DataError: a batch is damaged or no batch of ``name``.
    """
    layout = BATCHES[name]
    pixels, labels, names = [], [], []
    for file in files:
        batch_pixels, batch_labels = _batch(file, layout.labels)
        pixels.append(batch_pixels)
        labels.append(batch_labels)
        names += [f"{file.name}, image {index}" for index in range(len(batch_labels))]
    images_NDHW = np.concatenate(pixels).reshape(-1, 3, SIDE, SIDE)
    return UndecodedImages(images_NDHW, names, np.concatenate(labels)), _class_names(
        files[0].parent / layout.meta, layout
    )


def _batch(file: Path, key: str) -> tuple[Any, Any]:
    content = _with_text_keys(_load(file))
    if "data" not in content or key not in content:
        raise DataError(f"data.path: {file} is no batch of CIFAR with 'data' and {key!r}; download the archive again")
    try:
        pixels, labels = np.asarray(content["data"]), np.array(content[key], dtype=np.int64)
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"data.path: {file} holds labels that are no whole numbers") from None
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * SIDE * SIDE) or labels.ndim != 1:
        raise DataError(
            f"data.path: {file} holds {pixels.dtype} pixels of shape {pixels.shape} for {len(labels)} labels; "
            f"a batch is uint8, {3 * SIDE * SIDE} for each label"
        )
    return pixels, labels


def _class_names(file: Path, layout: Layout) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    names = _with_text_keys(_load(file)).get(layout.class_names)
    if isinstance(names, list):
        names = [_text(name) for name in names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"data.path: {file} has no list {layout.class_names!r}; download the archive again")
    return tuple(names)


def _with_text_keys(content: Any) -> dict[Any, Any]:
    """Return a dictionary with text for keys that are bytes, as in batches that were converted and written again."""
    return {_text(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _load(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            return _ArrayUnpickler(opened, encoding="latin1").load()
    except Exception as error:  # damaged pickles raise almost anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"data.path: {file} cannot be read ({reason}); download the archive again") from error
