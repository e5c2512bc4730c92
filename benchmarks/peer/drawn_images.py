"""A dataset of noise, as large as is asked for: what an epoch of it costs does not depend on what is seen."""

import numpy as np
from pydantic import Field

import kd_sweep


class Count(kd_sweep.Parameters):
    """How many images there are."""

    num_train: int = Field(640, ge=10)
    num_val: int = Field(128, ge=10)
    num_classes: int = Field(10, ge=2)


@kd_sweep.dataset("noise", parameters=Count, image_size=32, horizontal_flip=True)
def noise(parameters: Count) -> kd_sweep.Arrays:
    """Return RGB images of 32 x 32 pixels, the same at every call."""
    random = np.random.default_rng(0)

    def images(number: int) -> np.ndarray:
        return random.integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)

    labels = [np.arange(number) % parameters.num_classes for number in (parameters.num_train, parameters.num_val)]
    return kd_sweep.Arrays(images(parameters.num_train), labels[0], images(parameters.num_val), labels[1])
