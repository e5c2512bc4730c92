"""The preprocessing of a study, as a function of images."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.errors import DataError
from kd_sweep.storage.root import Root
from kd_sweep.study.recipe import Data
from kd_sweep.tables.rendering.html_tables import html_blocks, html_facts

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from kd_sweep.data.network_input import NetworkInput


class Preprocessing:
    """Decodes, crops, resizes and normalises images exactly as a study did its validation images.

    The first call reads the study's dataset, whose training images the normalisation is of.

    Args:
        root: the results root, which keeps decoded images.
        data: the `data` section of a trial.
    """

    def __init__(self, root: Root, data: Data) -> None:
        self._root, self._data = root, data

    def __call__(self, images: "Image.Image | str | Path | Iterable[Image.Image | str | Path]") -> "Tensor":
        """Return what the networks of the study take: float32 (B, D, H, W) on the CPU; B is 1 for a single image.

        D is 1 for digits and other greyscale arrays, else 3; H and W are `data.image_size`.

        Args:
            images: an image of Pillow of any size and mode, the path of a file, or several of these. They stay as they
                are.

        Raises:
            DataError: one is no image, or of a kind that no study can read; or the study's dataset is not where it was.
        """
        import torch
        from PIL import Image

        several = [images] if isinstance(images, Image.Image | str | Path) else _listed(images)
        return torch.cat([self._input.of(image) for image in several])

    @cached_property
    def _input(self) -> "NetworkInput":
        from kd_sweep.data.network_input import NetworkInput
        from kd_sweep.trained.trained_networks import readable_dataset

        return NetworkInput(self._data, readable_dataset(self._data, self._root))

    def __repr__(self) -> str:
        size = self._data.image_size
        return f"<preprocessing of {self._data.name}: images -> (B, D, {size}, {size})>"

    def _repr_html_(self) -> str:
        return html_blocks("preprocessing", html_facts({"data": self._data.name, "image_size": self._data.image_size}))


def _listed(images: object) -> list["Image.Image | str | Path"]:
    listed = list(images) if isinstance(images, Iterable) else []
    if not listed:
        name = type(images).__name__
        raise DataError(f"image: {name} is no image; possible: an image of Pillow, a path, or several of these")
    return listed
