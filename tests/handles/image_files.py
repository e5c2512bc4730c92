"""Folders of image files of every sort, whose classes a small network can tell apart."""

import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cifar_archive import ARCHIVE
from tests.data.encoded_images import exif

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 70), "red": (210, 60, 40)}
MODES = ("RGB", "RGBA", "L", "P", "CMYK", "LA", "1", "I;16")


def write_odd_files(folder: Path, per_class: int = 12) -> None:
    """Write images of three colours in many modes, formats and sizes, some turned by their metadata."""
    random = np.random.default_rng(5)
    for split in ("train", "val"):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(per_class):
                height, width = random.integers(9, 40, 2)
                noise = random.normal(0, 60, (height, width, 3))
                image = Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))
                _save(image, MODES[number % len(MODES)], folder / split / name / f"{number:02}", 1 + number % 8)


def _save(image: Image.Image, mode: str, file: Path, orientation: int) -> None:
    if mode == "I;16":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(file.with_suffix(".png"))
    elif mode == "CMYK":
        image.convert("CMYK").save(file.with_suffix(".jpg"), exif=exif(orientation))
    elif mode == "RGB":
        image.save(file.with_suffix(".webp"), exif=exif(orientation))
    elif mode in ("RGBA", "LA"):
        image.putalpha(image.convert("L"))
        image.convert(mode).save(file.with_suffix(".png"))
    else:
        image.convert(mode).save(file.with_suffix(".png"), exif=exif(orientation))


def write_cifar_files(folder: Path, per_class: int = 60, num_classes: int = 3) -> None:
    """Write the archive's JPEG files of some classes, a third of them for validation."""
    counts: dict[str, int] = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            name, seen = Path(member.name).parent.name, counts.get(Path(member.name).parent.name, 0)
            file = archive.extractfile(member) if member.isfile() else None
            if file is None or seen == per_class:
                continue
            if name not in counts and len(counts) == num_classes:
                return
            counts[name] = seen + 1
            target = folder / ("val" if seen % 3 == 0 else "train") / name
            target.mkdir(parents=True, exist_ok=True)
            (target / Path(member.name).name).write_bytes(file.read())
