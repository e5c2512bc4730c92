"""A dataset that is drawn: discs, squares and crosses of any size, anywhere, in noise."""

import numpy as np
from pydantic import Field

import kd_sweep

SIZE = 16
NAMES = ("disc", "square", "cross")


class Shapes(kd_sweep.Parameters):
    """The parameters of the dataset; they are keys of `data` in a study file."""

    num_images: int = Field(3000, ge=30)
    """Of all classes together."""
    noise: float = Field(0.2, ge=0, le=1)
    """How much of an image is noise."""


@kd_sweep.dataset("shapes", parameters=Shapes, image_size=SIZE, horizontal_flip=True)
def shapes(parameters):
    """Return the images and labels, the same at every call: the seed is fixed."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.arange(parameters.num_images) % len(NAMES)
    images = np.empty((len(labels), SIZE, SIZE))
    for image, label in zip(images, labels, strict=True):
        radius = random.uniform(3, 5)
        across, down = (np.abs(axis - random.uniform(6, 10)) for axis in (columns, rows))
        drawn = {
            "disc": across**2 + down**2 < radius**2,
            "square": np.maximum(across, down) < radius * 0.9,
            "cross": (np.minimum(across, down) < 1.2) & (np.maximum(across, down) < radius),
        }[NAMES[label]]
        image[:] = (1 - parameters.noise) * drawn + parameters.noise * random.random((SIZE, SIZE))
    return kd_sweep.Arrays(images, labels, class_names=NAMES)
