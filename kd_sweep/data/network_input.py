"""The input of a study's networks: from an image as a person holds it to the tensor that they take.

Shapes: N images, D channels, H x W pixels.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_sweep.catalogue.traits import DatasetTraits
from kd_sweep.data.dataset import Dataset
from kd_sweep.data.dataset_loading import resized_arrays
from kd_sweep.data.decoding.decoder import decode_image, opened_image
from kd_sweep.data.normalization import Normalization
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data


class NetworkInput:
    """Decodes, crops, resizes and normalises images as a study did its validation images, bit for bit.

    Args:
        data: the `data` section of the study.
        dataset: its images, whose statistics of the training images normalise others.
    """

    def __init__(self, data: Data, dataset: Dataset) -> None:
        traits: DatasetTraits = data.entry.traits
        self._levels = None if traits.lists_files else traits.levels
        self._size, self._channels = dataset.image_size, dataset.channels
        self._normalization = Normalization.of(dataset, torch.device("cpu"))

    def of(self, image: "Image.Image | Path | str") -> Tensor:
        """Return one image as a batch of one, float32 (1, D, H, W), on the CPU.

        Args:
            image: of any size and mode, or the path of its file.

        Raises:
            DataError: it is no image, or one that no study could read.
        """
        return self._normalization.of_pixels(self._pixels(image)[None])

    def _pixels(self, image: "Image.Image | Path | str") -> Tensor:
        """Return uint8 (D, H, W)."""
        if isinstance(image, str | Path):
            return self._in_channels(torch.from_numpy(decode_image(str(image), self._size, str(image)).copy()))
        if not isinstance(image, Image.Image):
            raise DataError(f"image: {type(image).__name__} is no image; possible: an image of Pillow, or a path")
        if self._levels is not None and image.width == image.height:
            return self._of_array(image, self._levels)
        return self._in_channels(torch.from_numpy(opened_image(image, self._size).copy()))

    def _in_channels(self, pixels_DHW: Tensor) -> Tensor:
        """Return RGB pixels as the networks take them: grey, by ITU-R 601-2, where they have one channel."""
        if self._channels == len(pixels_DHW):
            return pixels_DHW
        grey = Image.fromarray(pixels_DHW.permute(1, 2, 0).numpy()).convert("L")
        return torch.from_numpy(np.array(grey))[None]

    def _of_array(self, image: Image.Image, levels: int) -> Tensor:
        """Return a square image as those of the dataset's arrays: of their levels, where it has no others."""
        pixels_DHW = self._in_channels(torch.from_numpy(opened_image(image, image.width).copy())).float()
        whole_DHW = (pixels_DHW * (levels / 255)).round()
        if torch.equal((whole_DHW * (255 / levels)).round(), pixels_DHW):
            pixels_DHW = whole_DHW * (255 / levels)
        return resized_arrays(pixels_DHW[None], self._size)[0]
