"""Dataset `cifar100`: CIFAR-100 (Krizhevsky 2009), from a copy in one of several forms."""

from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.traits import DatasetTraits
from kd_sweep.data.datasets.cifar10 import CifarParameters

if TYPE_CHECKING:
    from kd_sweep.data.undecoded_images import UndecodedDataset


@register(
    DATASET,
    "cifar100",
    parameters=CifarParameters,
    traits=DatasetTraits(image_size=32, lists_files=True, has_validation=True, presets="cifar"),
)
def cifar100(parameters: CifarParameters, cache_dir: Path | None) -> "UndecodedDataset":
    """Return its images."""
    from kd_sweep.data.readers.cifar import list_cifar

    return list_cifar("cifar100", parameters.location, parameters.download, cache_dir)
