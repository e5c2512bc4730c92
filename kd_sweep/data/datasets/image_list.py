"""Dataset `image_list`: images that text files name, a line `path label` for each, as for ImageNet-LT."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.traits import DatasetTraits
from kd_sweep.data.paths import PathParameters, dataset_name

if TYPE_CHECKING:
    from kd_sweep.data.undecoded_images import UndecodedDataset


class ListParameters(PathParameters):
    """Of `image_list`."""

    train_list: str | None = None
    """The training images of an `image_list`."""
    val_list: str | None = None
    """The validation images of an `image_list`; `validation_fraction` of the training images when null."""

    @model_validator(mode="after")
    def _training_images_are_listed(self) -> "ListParameters":
        if not self.train_list:
            raise ValueError(f"train_list is needed for data.name {dataset_name(self)!r}")
        return self


@register(DATASET, "image_list", parameters=ListParameters, traits=DatasetTraits(lists_files=True))
def image_list(parameters: ListParameters, cache_dir: Path | None) -> "UndecodedDataset":
    """Return its images."""
    from kd_sweep.data.readers.image_lists import list_image_lists

    return list_image_lists(parameters.location, parameters.train_list or "", parameters.val_list, cache_dir)
