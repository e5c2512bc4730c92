"""Policies and ranges of AutoAugment and its successors, as data: operations, their magnitudes, sub-policies.

Shapes: B batch, O operations, S sub-policies of two steps each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kd_sweep.augmentation.operations import GEOMETRIC, OPERATIONS

FACTORS = frozenset({"brightness", "color", "contrast", "sharpness"})

COMMON_OPERATIONS = ("identity", *sorted(GEOMETRIC | FACTORS), "posterize", "solarize", "autocontrast", "equalize")
"""Of RandAugment and TrivialAugment."""


def operation_indices(names: Sequence[str]) -> Tensor:
    """Return the indices of ``names`` in `OPERATIONS`."""
    return torch.tensor([OPERATIONS.index(name) for name in names])


@dataclass(frozen=True)
class Ranges:
    """The meaning of levels 0 to 1: magnitudes of `augmentation.operations` at both ends, linear between them."""

    shear: float
    rotation_degrees: float
    shift: float
    """As a share of the width."""
    factors: tuple[float, float]
    """Of the operations in `FACTORS`."""
    bits: tuple[int, int]
    """Number of bits that posterize keeps."""
    lowest_inverted: tuple[int, int]
    """Lowest level that solarize inverts."""
    added: int = 0
    """Level that solarize_add adds."""
    max_shift_pixels: int | None = None
    drawn: tuple[str, ...] = COMMON_OPERATIONS
    """Operations, one of which is drawn for each image, all with the same probability."""
    signed: frozenset[str] = GEOMETRIC | FACTORS
    """Operations of which half of the images have a negative level."""
    rounds_down: bool = False
    """Bits and levels of pixels are rounded down; else bits are rounded to the nearest."""

    def magnitudes(self, operations_B: Tensor, levels_B: Tensor, width: int) -> Tensor:
        """Return the magnitude of each image's operation, float64; levels may have a sign."""
        shift = self.shift * width
        if self.max_shift_pixels is not None:
            shift = min(shift, self.max_shift_pixels)
        ends = {
            "rotate": (0, self.rotation_degrees),
            **dict.fromkeys(("shear_x", "shear_y"), (0, self.shear)),
            **dict.fromkeys(("translate_x", "translate_y"), (0, shift)),
            **dict.fromkeys(FACTORS, self.factors),
            "posterize": self.bits,
            "solarize": self.lowest_inverted,
            "solarize_add": (0, self.added),
        }
        ends_O2 = torch.tensor([ends.get(name, (0, 0)) for name in OPERATIONS], dtype=torch.float64)
        first_B, last_B = ends_O2[operations_B].unbind(1)
        magnitudes_B = first_B + (last_B - first_B) * levels_B
        if self.rounds_down:
            magnitudes_B = torch.where(_WHOLE_O[operations_B], magnitudes_B.floor(), magnitudes_B)
        return magnitudes_B

    def is_signed(self, operations_B: Tensor) -> Tensor:
        """Return whether each image's operation is one of `signed`."""
        return torch.tensor([name in self.signed for name in OPERATIONS])[operations_B]


_WHOLE_O = torch.tensor([name in ("posterize", "solarize", "solarize_add") for name in OPERATIONS])

STANDARD = Ranges(
    shear=0.3, rotation_degrees=30.0, shift=150 / 331, factors=(1.0, 1.9), bits=(8, 4), lowest_inverted=(255, 0)
)
"""arXiv 1805.09501, table 6."""
WIDE = Ranges(
    shear=0.99,
    rotation_degrees=135.0,
    shift=1.0,
    factors=(1.0, 1.99),
    bits=(8, 2),
    lowest_inverted=(255, 0),
    max_shift_pixels=32,
)
"""arXiv 2103.10158."""
RETHINKKD = Ranges(
    shear=0.3,
    rotation_degrees=30.0,
    shift=0.45,
    factors=(0.1, 1.9),
    bits=(0, 4),
    lowest_inverted=(0, 256),
    added=110,
    drawn=(
        *("autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add", "color", "contrast"),
        *("brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y"),
    ),
    signed=GEOMETRIC,
    rounds_down=True,
)
"""Of the RandAugment in the published code of arXiv 2405.00739, which is timm's with a largest level of m = 10."""

Step = tuple[str, float, int | None]
"""An operation, its probability, and its level in tenths 0 to 9, or None where it has no level."""
Policy = tuple[tuple[Step, Step], ...]
"""Sub-policies of AutoAugment (Cubuk et al. 2019, arXiv 1805.09501, tables 7 and 9)."""


class PolicyTensors(NamedTuple):
    """A policy as tensors, from which the steps of a whole batch are indexed."""

    operations_S2: Tensor
    probabilities_S2: Tensor
    levels_S2: Tensor

    @classmethod
    def of(cls, policy: Policy) -> "PolicyTensors":
        """Return ``policy`` with levels in [0, 1], float64."""
        steps_S2 = [[(name, probability, (tenths or 0) / 9) for name, probability, tenths in both] for both in policy]
        return cls(
            torch.stack([operation_indices([name for name, _, _ in both]) for both in steps_S2]),
            *(
                torch.tensor([[step[column] for step in both] for both in steps_S2], dtype=torch.float64)
                for column in (1, 2)
            ),
        )


CIFAR10_POLICY: Policy = (
    (("invert", 0.1, None), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, None), ("equalize", 0.9, None)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, None), ("equalize", 0.5, None)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, None), ("autocontrast", 0.4, None)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, None)),
    (("equalize", 0.2, None), ("autocontrast", 0.6, None)),
    (("equalize", 0.2, None), ("equalize", 0.6, None)),
    (("color", 0.9, 9), ("equalize", 0.6, None)),
    (("autocontrast", 0.8, None), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, None)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, None), ("solarize", 0.8, 3)),
    (("equalize", 0.8, None), ("invert", 0.1, None)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, None)),
)
IMAGENET_POLICY: Policy = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, None)),
    (("equalize", 0.8, None), ("equalize", 0.6, None)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, None), ("solarize", 0.2, 4)),
    (("equalize", 0.4, None), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, None)),
    (("posterize", 0.8, 5), ("equalize", 1.0, None)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, None), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, None)),
    (("equalize", 0.0, None), ("equalize", 0.8, None)),
    (("invert", 0.6, None), ("equalize", 1.0, None)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, None)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, None)),
    (("color", 0.4, 0), ("equalize", 0.6, None)),
    (("equalize", 0.4, None), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, None)),
    (("invert", 0.6, None), ("equalize", 1.0, None)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, None), ("equalize", 0.6, None)),
)
