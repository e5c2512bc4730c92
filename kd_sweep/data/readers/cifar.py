"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from a local copy: Python batches, Parquet files, or a folder per class.

The official test set is the validation set.

Shapes: N images, D = 3 channels (RGB), H = W = 32 pixels.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_sweep.data.overlaps import MAX_PUBLISHED_COPIES, count_copies
from kd_sweep.data.paths import absolute_path
from kd_sweep.data.readers.cifar_batches import BATCHES, read_batches
from kd_sweep.data.readers.cifar_layouts import find_copy
from kd_sweep.data.readers.cifar_parquet import read_parquet
from kd_sweep.data.readers.class_folders import list_class_folders
from kd_sweep.data.splits import Indices
from kd_sweep.data.undecoded_images import Source, UndecodedDataset, UndecodedImages
from kd_sweep.errors import DataError

NUM_CLASSES = {"cifar10": 10, "cifar100": 100}
CHUNK_BYTES = 2**22


def list_cifar(name: str, path: str, download: bool, cache_dir: Path | None = None) -> UndecodedDataset:
    """Return the images of a published dataset at ``path``.

    Args:
        name: `cifar10` or `cifar100`.
        path: `data.path`.
        download: whether it is downloaded where it is not there.
        cache_dir: where earlier processes stored fingerprints of a folder per class.

    Raises:
        DataError: there is no copy in a known form, it is incomplete or damaged, or it has other classes.
    """
    root = absolute_path(path, "data.path")
    copy = find_copy(name, root)
    if copy is None and download:
        _download(name, root)
        copy = find_copy(name, root)
    if copy is None:
        raise DataError(_absence(name, root))
    if copy.form == "folders":
        dataset = list_class_folders(str(copy.root), name, cache_dir, published=True)
        _check_num_classes(name, root, len(dataset.class_names))
        return dataset
    read = read_batches if copy.form == "batches" else read_parquet
    train, class_names = read(copy.train, name)
    val = read(copy.test, name)[0] if copy.test else None
    for part in [train] if val is None else [train, val]:
        _check_labels(name, root, part)
    _check_num_classes(name, root, len(np.unique(train.labels_N)))
    if len(class_names) != NUM_CLASSES[name]:
        class_names = tuple(str(label) for label in range(NUM_CLASSES[name]))
    return UndecodedDataset(
        root,
        class_names,
        train,
        val,
        _fingerprint(name, copy.train, copy.test),
        copies=_count_copies(train, val),
        passed_over=str(copy.passed_over),
    )


def _absence(name: str, root: Path) -> str:
    """Return the message that there is no copy."""
    layout = BATCHES[name]
    if (root / layout.archive).is_file():
        return f"data.path: {root} holds {layout.archive} and not what is in it; extract it there"
    problem = "has no copy of it in a known form" if root.exists() else "does not exist"
    return (
        f"data.path: {root} {problem}; {name} is {layout.folder}/, train*.parquet with test*.parquet, or train/ with "
        f"test/; or set data.download: true"
    )


def _download(name: str, root: Path) -> None:
    from torchvision.datasets import CIFAR10, CIFAR100

    try:
        (CIFAR10 if name == "cifar10" else CIFAR100)(str(root), download=True)
    except Exception as error:  # whatever the network, the server, the disk or the archive come up with
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"data.download: {name} could not be downloaded to {root} ({reason})") from error


def _check_num_classes(name: str, root: Path, num_classes: int) -> None:
    if num_classes != NUM_CLASSES[name]:
        raise DataError(f"data.path: {root} holds {num_classes} of the {NUM_CLASSES[name]} classes of {name}")


def _check_labels(name: str, root: Path, part: UndecodedImages) -> None:
    num_classes = NUM_CLASSES[name]
    if not len(part.labels_N):
        raise DataError(f"data.path: {root} holds no images of {name}")
    outside: Indices = np.flatnonzero((part.labels_N < 0) | (part.labels_N >= num_classes))
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"data.path: {part.names[first]} of {root} has label {part.labels_N[first]}, which is out of range; "
            f"labels of {name} are 0 to {num_classes - 1}"
        )


def _count_copies(train: UndecodedImages, val: UndecodedImages | None) -> int:
    parts = [train] if val is None else [train, val]
    contents = [[_content(source) for source in part.sources] for part in parts]
    names = [part.names for part in parts]
    return count_copies(contents[0], contents[1] if len(parts) > 1 else None, names, MAX_PUBLISHED_COPIES)


def _content(source: Source) -> bytes:
    content = source.tobytes() if isinstance(source, np.ndarray) else source
    return hashlib.sha256(content if isinstance(content, bytes) else os.fsencode(content)).digest()


def _fingerprint(name: str, train: Sequence[Path], test: Sequence[Path]) -> str:
    """Return a digest of the files' content: the batches of two datasets have one size."""
    state = hashlib.sha256(name.encode())
    for part, files in (("train", train), ("test", test)):
        state.update(part.encode())
        for file in files:
            with file.open("rb") as opened:
                while chunk := opened.read(CHUNK_BYTES):
                    state.update(chunk)
    return state.hexdigest()[:16]
