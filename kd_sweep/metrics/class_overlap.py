"""Attention overlap by class: how far regions on the images of each class overlap above those of other images.

Shapes: N compared regions, C classes.
"""

import torch
from torch import Tensor

from kd_sweep.attention.regions import above_chance


class ClassMeans:
    """Means of IoUs over the images of each class, from those of batches.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self._sums_C = torch.zeros(num_classes, dtype=torch.float64)
        self._counts_C = torch.zeros(num_classes, dtype=torch.int64)

    def add(self, iou: Tensor, labels: Tensor) -> None:
        """Take IoUs, float64 of any shape on the CPU, of images whose labels are of a shape that is enlarged to it."""
        labels_N = labels.cpu().expand_as(iou).flatten()
        self._sums_C += torch.bincount(labels_N, iou.flatten(), len(self._sums_C))
        self._counts_C += torch.bincount(labels_N, minlength=len(self._counts_C))

    def values(self) -> list[float | None]:
        """Return the mean of each class, in the order of the labels; None where there was none."""
        means_C = (self._sums_C / self._counts_C.clamp(min=1)).tolist()
        return [mean if count else None for mean, count in zip(means_C, self._counts_C.tolist(), strict=True)]


def overlap_per_class(overlap: ClassMeans, apart: ClassMeans) -> list[float | None]:
    r"""Return :math:`(\mathrm{IoU}_c - k_c) / (1 - k_c)` of each class *c*, as `attention.regions.above_chance` does.

    Args:
        overlap: IoUs of regions on the same image.
        apart: those of regions on the images of a class, each paired with another image of any class: :math:`k_c`.
    """
    return [above_chance(iou, chance) for iou, chance in zip(overlap.values(), apart.values(), strict=True)]
