"""Dataset `tiny_imagenet`: Tiny-ImageNet, as it is distributed."""

from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.traits import DatasetTraits
from kd_sweep.data.paths import PathParameters

if TYPE_CHECKING:
    from kd_sweep.data.undecoded_images import UndecodedDataset


@register(
    DATASET,
    "tiny_imagenet",
    parameters=PathParameters,
    traits=DatasetTraits(image_size=64, lists_files=True, has_validation=True),
)
def tiny_imagenet(parameters: PathParameters, cache_dir: Path | None) -> "UndecodedDataset":
    """Return its images."""
    from kd_sweep.data.readers.wordnet_folders import list_wordnet_folders

    return list_wordnet_folders(parameters.location, cache_dir)
