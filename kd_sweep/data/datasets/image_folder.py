"""Dataset `image_folder`: images of the user's own, a folder per class."""

from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.traits import DatasetTraits
from kd_sweep.data.paths import PathParameters

if TYPE_CHECKING:
    from kd_sweep.data.undecoded_images import UndecodedDataset


@register(DATASET, "image_folder", parameters=PathParameters, traits=DatasetTraits(lists_files=True))
def image_folder(parameters: PathParameters, cache_dir: Path | None) -> "UndecodedDataset":
    """Return its images."""
    from kd_sweep.data.readers.class_folders import list_class_folders

    return list_class_folders(parameters.location, "image_folder", cache_dir)
