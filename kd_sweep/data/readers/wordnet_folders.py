"""Tiny-ImageNet as it is distributed: 200 classes named by WordNet ids, 64 x 64 pixels. No image is decoded here.

Layout: `train/WNID/images/*.JPEG`, `val/images/*.JPEG`, and `val/val_annotations.txt` whose lines start with the
name of a validation image, a tab and its WordNet id. The test images have no labels and are not read.
"""

from pathlib import Path

from kd_sweep.data.paths import dataset_root
from kd_sweep.data.readers.class_folders import list_classes
from kd_sweep.data.readers.folder_walk import Walk, files_at
from kd_sweep.data.readers.image_files import ImageFiles, dataset_of_files
from kd_sweep.data.readers.text_files import read_lines
from kd_sweep.data.undecoded_images import UndecodedDataset
from kd_sweep.errors import DataError

LAYOUT = "tiny_imagenet is train/WNID/images/ with val/images/ and val/val_annotations.txt"


def list_wordnet_folders(path: str, cache_dir: Path | None = None) -> UndecodedDataset:
    """Return the images at ``path``.

    Args:
        path: `data.path`.
        cache_dir: where earlier processes stored fingerprints; None: all files are read for the fingerprint.

    Raises:
        DataError: missing, laid out in another way, annotations that are malformed or name absent files or classes.
    """
    root = dataset_root(path, LAYOUT)
    annotations = root / "val" / "val_annotations.txt"
    for folder in (root / "train", root / "val" / "images"):
        if not folder.is_dir():
            raise DataError(f"data.path: {root} has no folder {folder.relative_to(root)}; {LAYOUT}")
    if not annotations.is_file():
        raise DataError(f"data.path: {root} has no {annotations.relative_to(root)}; {LAYOUT}")
    walk = Walk(root)
    class_names, train = list_classes(walk, root / "train")
    val = _annotated(annotations, class_names)
    return dataset_of_files("tiny_imagenet", root, class_names, train, val, cache_dir, walk.passed_over, published=True)


def _annotated(annotations: Path, class_names: tuple[str, ...]) -> ImageFiles:
    origin = f"data.path: {annotations}"
    label_of = {name: label for label, name in enumerate(class_names)}
    paths, labels = [], []
    for number, line in enumerate(read_lines(annotations, origin, "a line is IMAGE, a tab, WNID"), start=1):
        if not line.strip():
            continue
        image, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0].strip()
        if wnid not in label_of:
            raise DataError(
                f"{origin}, line {number}: {wnid[:80]!r} is not one of the {len(class_names)} class folders in train/"
            )
        paths.append(str(annotations.parent / "images" / image))
        labels.append(label_of[wnid])
    if not paths:
        raise DataError(f"{origin} names no images; a line is IMAGE, a tab, WNID")
    return ImageFiles.of(files_at(paths), labels, origin)
