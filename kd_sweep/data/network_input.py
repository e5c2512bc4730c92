"""The input of a study's networks: from an image as a person holds it to the tensor that they take.

Shapes: N images, D channels, H x W pixels.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_sweep.data.dataset import Dataset
from kd_sweep.data.dataset_loading import DIGIT_LEVELS, DIGIT_SIZE, enlarged_digits
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
        self._is_digits = data.name == "digits"
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
            return self._in_channels(torch.from_numpy(decode_image(Path(image), self._size, str(image)).copy()))
        if not isinstance(image, Image.Image):
            raise DataError(f"image: {type(image).__name__} is no image; possible: an image of Pillow, or a path")
        if self._is_digits and image.size == (DIGIT_SIZE, DIGIT_SIZE):
            return _digit(image, self._size)
        return self._in_channels(torch.from_numpy(opened_image(image, self._size).copy()))

    def _in_channels(self, pixels_DHW: Tensor) -> Tensor:
        """Return RGB pixels as the networks take them: grey, by ITU-R 601-2, where they have one channel."""
        if self._channels == len(pixels_DHW):
            return pixels_DHW
        grey = Image.fromarray(pixels_DHW.permute(1, 2, 0).numpy()).convert("L")
        return torch.from_numpy(np.array(grey))[None]


def _digit(image: Image.Image, image_size: int) -> Tensor:
    """Return an image of 8 x 8 pixels as scikit-learn's digits are: from their 17 levels, where it has no others."""
    pixels_HW = torch.from_numpy(opened_image(image, DIGIT_SIZE)[0].copy()).float()
    levels_HW = (pixels_HW * (DIGIT_LEVELS / 255)).round()
    if not torch.equal((levels_HW * (255 / DIGIT_LEVELS)).round(), pixels_HW):
        levels_HW = pixels_HW * (DIGIT_LEVELS / 255)
    return enlarged_digits(levels_HW[None, None], image_size)[0]
