"""Tiny-ImageNet as it is distributed: 200 classes named by WordNet ids, 64 x 64 pixels. No image is opened here.

Layout: `train/WNID/images/*.JPEG`, `val/images/*.JPEG`, and `val/val_annotations.txt` whose lines start with the
name of a validation image, a tab and its WordNet id. The test images have no labels and are not read.
"""

from pathlib import Path

import numpy as np

from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data
from kd_sweep.vision.files import Listing, existing_root, found_files, states_of
from kd_sweep.vision.folders import list_classes
from kd_sweep.vision.pictures import Found

LAYOUT = "tiny_imagenet is train/WNID/images/ with val/images/ and val/val_annotations.txt"


def find_tiny_imagenet(data: Data) -> Found:
    """Return the images at ``data.path``.

    Raises:
        DataError: missing, laid out in another way, annotations that are malformed or name absent files or classes.
    """
    root = existing_root(data.path or "", LAYOUT)
    annotations = root / "val" / "val_annotations.txt"
    for place in (root / "train", root / "val" / "images"):
        if not place.is_dir():
            raise DataError(f"data.path: {root} has no folder {place.relative_to(root)}; {LAYOUT}")
    if not annotations.is_file():
        raise DataError(f"data.path: {root} has no {annotations.relative_to(root)}; {LAYOUT}")
    class_names, train = list_classes(root / "train")
    return found_files("tiny_imagenet", root, class_names, train, _annotated(annotations, class_names))


def _annotated(annotations: Path, class_names: tuple[str, ...]) -> Listing:
    where = f"data.path: {annotations}"
    label_of = {name: label for label, name in enumerate(class_names)}
    paths, labels = [], []
    for number, line in enumerate(annotations.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        image, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0].strip()
        if wnid not in label_of:
            raise DataError(
                f"{where}, line {number}: {wnid[:80]!r} is not one of the {len(class_names)} class folders in train/"
            )
        paths.append(annotations.parent / "images" / image)
        labels.append(label_of[wnid])
    if not paths:
        raise DataError(f"{where} names no images; a line is IMAGE, a tab, WNID")
    states_N3, absent = states_of(paths)
    if absent:
        raise DataError(
            f"{where}: {len(absent)} of its {len(paths)} images cannot be found, {paths[absent[0]]} for one"
        )
    return Listing(paths, np.array(labels, dtype=np.int64), states_N3)
