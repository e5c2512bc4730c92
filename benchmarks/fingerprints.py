"""Seconds until a dataset of many small image files is known, beside reading every byte of it. Prints one table.

All of it is in the page cache: what is measured is the work of the processors.

    python -m benchmarks.fingerprints
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kd_sweep.data import fingerprints
from kd_sweep.data.dataset_listing import list_images
from kd_sweep.study.recipe import Data

NUM_CLASSES = 10
FILE_BYTES = 1_500
"""About a JPEG of 32 x 32 pixels."""


def write_files(root: Path, num_files: int) -> None:
    """Write files of noise; no image is decoded here."""
    for label in range(NUM_CLASSES):
        (root / f"class{label}").mkdir()
    for number in range(num_files):
        (root / f"class{number % NUM_CLASSES}" / f"{number}.jpg").write_bytes(os.urandom(FILE_BYTES))


def read_all(root: Path) -> int:
    """Read every byte, as simply as can be."""
    num_bytes = 0
    for folder in os.scandir(root):
        for file in os.scandir(folder):
            opened = os.open(file.path, os.O_RDONLY)
            while chunk := os.read(opened, fingerprints.READ_BYTES):
                num_bytes += len(chunk)
            os.close(opened)
    return num_bytes


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the fastest of ``repeats`` runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    table = Table("", "seconds", title=f"{arguments.files:,} files of {FILE_BYTES:,} bytes")
    with tempfile.TemporaryDirectory() as place:
        root, memory = Path(place, "images"), Path(place, "datasets")
        root.mkdir()
        write_files(root, arguments.files)
        data = Data(name="image_folder", path=str(root), image_size=32)
        time.sleep(fingerprints.SETTLED_S)  # else the files are too new to be remembered

        def first() -> None:
            fingerprints.IN_PROCESS.clear()
            list_images(data)

        def later() -> None:
            fingerprints.IN_PROCESS.clear()
            list_images(data, memory)

        table.add_row("every byte read", f"{seconds(lambda: read_all(root), arguments.repeats):.2f}")
        table.add_row("the first launch", f"{seconds(first, arguments.repeats):.2f}")
        fingerprints.store_fingerprint(list_images(data).fingerprint, memory)
        table.add_row("a later launch", f"{seconds(later, arguments.repeats):.2f}")
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
