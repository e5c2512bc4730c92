"""CIFAR as Parquet: a column of encoded images, `img` or `image`, and one of labels, `label` or `fine_label`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_sweep.data.undecoded_images import UndecodedImages
from kd_sweep.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = {"cifar10": ("label", "labels"), "cifar100": ("fine_label", "label", "fine_labels")}


def read_parquet(files: Sequence[Path], name: str) -> tuple[UndecodedImages, tuple[str, ...]]:
    """Return the encoded images of these files in order, and the class names, where the first file has them.

    Images are binary, or a structure with a field `bytes`, as the `datasets` library writes them.

    Raises:
        DataError: a file is damaged or has other columns.
    """
    sources: list[bytes] = []
    names: list[str] = []
    labels = []
    class_names: tuple[str, ...] | None = None
    for file in files:
        table, image_column, label_column = _table(file, name)
        encoded = _encoded(table, image_column, file)
        sources += encoded
        names += [f"{file.name}, row {index}" for index in range(len(encoded))]
        labels.append(_labels(table, label_column, file))
        if class_names is None:
            class_names = _class_names(table, label_column)
    return UndecodedImages(sources, names, np.concatenate(labels)), class_names or ()


def _table(file: Path, name: str) -> "tuple[pa.Table, str, str]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(file).names
        image_column = next((column for column in IMAGE_COLUMNS if column in columns), None)
        label_column = next((column for column in LABEL_COLUMNS[name] if column in columns), None)
        if image_column is None or label_column is None:
            raise DataError(
                f"data.path: {file} has columns {', '.join(columns)[:200]}; {name} needs one of "
                f"{', '.join(IMAGE_COLUMNS)} and one of {', '.join(LABEL_COLUMNS[name])}"
            )
        return pq.read_table(file, columns=[image_column, label_column]), image_column, label_column
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"data.path: {file} cannot be read ({reason}); restore it") from error


def _encoded(table: "pa.Table", column: str, file: Path) -> list[bytes]:
    import pyarrow as pa

    images = table.column(column)
    if pa.types.is_struct(images.type) and "bytes" in [field.name for field in images.type]:
        images = pa.chunked_array(
            [chunk.field("bytes") for chunk in images.chunks], type=images.type.field("bytes").type
        )
    if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
        raise DataError(f"data.path: column {column!r} of {file} is {images.type}, not encoded images (binary)")
    if images.null_count:
        raise DataError(f"data.path: {images.null_count} rows of {file} have no image")
    encoded: list[bytes] = images.to_pylist()
    return encoded


def _labels(table: "pa.Table", column: str, file: Path) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    import pyarrow as pa

    labels = table.column(column)
    if not pa.types.is_integer(labels.type) or labels.null_count:
        problem = f"has {labels.null_count} gaps" if labels.null_count else f"is {labels.type}"
        raise DataError(f"data.path: column {column!r} of {file} {problem}; a label is a whole number from 0 on")
    return np.asarray(labels.to_numpy(), dtype=np.int64)


def _class_names(table: "pa.Table", column: str) -> tuple[str, ...]:
    """Return the names in the metadata of the `datasets` library, if there are any."""
    metadata = (table.schema.metadata or {}).get(b"huggingface", b"")
    try:
        return tuple(json.loads(metadata)["info"]["features"][column]["names"])
    except (TypeError, KeyError, ValueError):
        return ()
