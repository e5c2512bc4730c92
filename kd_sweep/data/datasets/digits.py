"""Dataset `digits`: scikit-learn's 1,797 handwritten digits, which are installed with it."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.catalogue.parameters import NoParameters
from kd_sweep.catalogue.traits import DatasetTraits

if TYPE_CHECKING:
    from kd_sweep.data.arrays import Arrays

SIZE, LEVELS = 8, 16
"""Height and width in pixels, and the level of white."""

TRAITS = DatasetTraits(image_size=16, horizontal_flip=False, has_fingerprint=False, levels=LEVELS, presets="cifar")


@register(DATASET, "digits", traits=TRAITS)
def digits(_: NoParameters) -> "Arrays":
    """Return them, greyscale, 8 x 8 pixels."""
    from importlib.metadata import distribution

    import numpy as np

    from kd_sweep.data.arrays import Arrays

    # Read without scikit-learn, which would take every worker a second of CPU to import.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    digits_NF = np.loadtxt(str(file), delimiter=",", dtype=np.float32)  # 64 levels, and the label
    return Arrays(digits_NF[:, :-1].reshape(-1, SIZE, SIZE) / LEVELS, digits_NF[:, -1].astype(np.int64))
