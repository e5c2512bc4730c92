"""Small copies of CIFAR as real files: Python batches and Parquet files of random images."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from kd_sweep.study.recipe import Data

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_BATCH = 10
SIZES = {"cifar10": (10, 50), "cifar100": (100, 200)}


def noise_images(count):
    return np.random.default_rng(count).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def write_pickle(path, content):
    """As Python 2 wrote them: protocol 2, text as bytes that are read as latin-1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=2)


def write_batches(root, name):
    """Write the Python batches; return pixels and labels of train and test."""
    num_classes, num_train = SIZES[name]
    train, test = noise_images(num_train), noise_images(num_classes)
    labels, test_labels = [i % num_classes for i in range(num_train)], list(range(num_classes))
    if name == "cifar10":
        for i in range(5):
            part = slice(i * PER_BATCH, (i + 1) * PER_BATCH)
            write_pickle(
                root / "cifar-10-batches-py" / f"data_batch_{i + 1}",
                {"data": train[part].reshape(-1, 3072), "labels": labels[part], "batch_label": "a batch"},
            )
        write_pickle(
            root / "cifar-10-batches-py" / "test_batch", {"data": test.reshape(-1, 3072), "labels": test_labels}
        )
        write_pickle(root / "cifar-10-batches-py" / "batches.meta", {"label_names": list(NAMES)})
        return train, labels, test, test_labels
    for file, pixels, fine in (("train", train, labels), ("test", test, test_labels)):
        coarse = [label // 5 for label in fine]
        content = {"data": pixels.reshape(-1, 3072), "fine_labels": fine, "coarse_labels": coarse}
        write_pickle(root / "cifar-100-python" / file, content)
    write_pickle(root / "cifar-100-python" / "meta", {"fine_label_names": [f"fine{i}" for i in range(100)]})
    return train, labels, test, test_labels


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(root, name, image="img", label="label", nested=True, metadata=None):
    """Write a Parquet file per split; return the pixels of train and test."""
    num_classes, num_train = SIZES[name]
    train, test = noise_images(num_train), noise_images(num_classes)
    root.mkdir(parents=True, exist_ok=True)
    for split, pixels in (("train", train), ("test", test)):
        encoded = [png(image_DHW) for image_DHW in pixels]
        images = [{"bytes": one, "path": None} for one in encoded] if nested else encoded
        table = pa.table({image: images, label: [i % num_classes for i in range(len(pixels))]})
        if metadata:
            table = table.replace_schema_metadata({"huggingface": metadata})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")
    return train, test


def cifar(root, name="cifar10", **fields):
    return Data(**({"name": name, "path": str(root), "image_size": 32} | fields))
