"""Dataset `cifar10`: CIFAR-10 (Krizhevsky 2009), from a copy in one of several forms."""

from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.traits import DatasetTraits
from kd_sweep.data.paths import PathParameters

if TYPE_CHECKING:
    from kd_sweep.data.undecoded_images import UndecodedDataset


class CifarParameters(PathParameters):
    """Of `cifar10` and `cifar100`."""

    download: bool = False
    """Download `cifar10` or `cifar100` to `path` at launch where it is not there yet."""


@register(
    DATASET,
    "cifar10",
    parameters=CifarParameters,
    traits=DatasetTraits(image_size=32, lists_files=True, has_validation=True, presets="cifar"),
)
def cifar10(parameters: CifarParameters, cache_dir: Path | None) -> "UndecodedDataset":
    """Return its images."""
    from kd_sweep.data.readers.cifar import list_cifar

    return list_cifar("cifar10", parameters.location, parameters.download, cache_dir)
