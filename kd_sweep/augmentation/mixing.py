"""Mixup and CutMix: every image of a batch with a share of another one, its partner, in it.

Pure functions of (images, partners, draws, strength). At strength 1 they are the published ones with lambda uniform in
[0, 1], drawn for each image. Of the two, the one with the larger share is called the own image, and gives the batch its
label: each of a pair is as likely to be it, so that no distribution changes. The partner's share grows with strength.

Shapes: B batch, D channels, H x W pixels, N images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_DRAWS = 3
"""Size and position (down, across); mixup uses the first."""

Mixing = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""``(images_BDHW, partners_BDHW, draws_B3, strength) -> (mixed_BDHW, share_B)``.

The draws are uniform in [0, 1), on the CPU. The share is the partner's, in [0, 1/2], on the device of the images.
"""


@dataclass(frozen=True)
class Partners:
    """The other images that are mixed into the images of a batch.

    Attributes:
        labels_B: int64, of the image that is mixed in; on the device.
        share_B: float32, its share in [0, 1/2]; on the device.
    """

    labels_B: Tensor
    share_B: Tensor


def mixup(images_BDHW: Tensor, partners_BDHW: Tensor, draws_B3: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Return ``images_BDHW`` faded towards ``partners_BDHW`` and how far (Zhang et al. 2017, arXiv 1710.09412, eq. 1).

    The share is uniform in [0, ``strength`` / 2].
    """
    share_B = (draws_B3[:, 0] * (strength / 2)).to(images_BDHW.device)
    return torch.lerp(images_BDHW, partners_BDHW, share_B[:, None, None, None]), share_B


def cutmix(images_BDHW: Tensor, partners_BDHW: Tensor, draws_B3: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Return ``images_BDHW`` with pixels of ``partners_BDHW`` and how many (Yun et al. 2019, arXiv 1905.04899, eq. 1).

    A rectangle of a uniform area is centred anywhere and cut off at the border. Where it holds at most half of the
    image, the partner is inside, else around it. At a strength s a rectangle of the first kind has s times the
    area; one of the second kind leaves margins of s times the width.
    """
    length_21 = torch.tensor(images_BDHW.shape[-2:])[:, None]
    num_pixels = images_BDHW[0, 0].numel()
    area_B, center_2B = draws_B3[:, 0], (draws_B3[:, 1:].T * length_21).floor()
    first_2B, end_2B = _rectangle(center_2B, area_B, length_21)
    around_B = 2 * (end_2B - first_2B).prod(0) > num_pixels
    inner = _rectangle(center_2B, area_B * strength, length_21)
    outer = (first_2B * strength).floor(), length_21 - ((length_21 - end_2B) * strength).floor()
    first_2B, end_2B = (torch.where(around_B, *ends) for ends in zip(outer, inner, strict=True))
    covered_B = (end_2B - first_2B).prod(0)
    share_B = torch.where(around_B, num_pixels - covered_B, covered_B) / num_pixels

    device = images_BDHW.device
    inside_BHW = _pixels(first_2B.to(device), end_2B.to(device), images_BDHW)
    own_B1HW = (inside_BHW == around_B.to(device)[:, None, None])[:, None]
    return torch.where(own_B1HW, images_BDHW, partners_BDHW), share_B.to(device)


def partner_indices(count: int, generator: torch.Generator) -> Tensor:
    """Return for each of ``count`` images the index of its partner, (N,): the next in a random circle of all."""
    order_N = torch.randperm(count, generator=generator)
    partner_N = torch.empty_like(order_N)
    partner_N[order_N] = order_N.roll(-1)
    return partner_N


def _rectangle(center_2B: Tensor, area_B: Tensor, length_21: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and end pixel, down and across, (2, B) each, of cut-off rectangles of an area as a fraction."""
    half_2B = (area_B.sqrt() * length_21 / 2).floor()
    return (center_2B - half_2B).clamp(min=0), torch.minimum(center_2B + half_2B, length_21)


def _pixels(first_2B: Tensor, end_2B: Tensor, images_BDHW: Tensor) -> Tensor:
    """Return which pixels of an image lie in its rectangle, (B, H, W)."""
    inside: list[Tensor] = []
    for length, first_B, end_B in zip(images_BDHW.shape[-2:], first_2B, end_2B, strict=True):
        position = torch.arange(length, device=images_BDHW.device)
        inside.append((position >= first_B[:, None]) & (position < end_B[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]
