"""Sampling grids of warps: the input position of each output pixel.

Shapes: B batch, H x W pixels.
"""

import torch
from torch import Tensor


def sampling_grid(inverse_B23: Tensor, y_H: Tensor, x_W: Tensor) -> Tensor:
    """Return the position that each output pixel is read from, (B, H, W, 2), x first.

    Bit for bit that of `torch.nn.functional.affine_grid` on a CPU, whose many products of small matrices take ten
    times as long.

    Args:
        inverse_B23: affine maps from output to input coordinates.
        y_H: coordinates of the rows.
        x_W: coordinates of the columns.
    """
    grid_BHW2 = inverse_B23.new_empty(len(inverse_B23), len(y_H), len(x_W), 2)
    for axis, row_B3 in enumerate(inverse_B23.unbind(1)):
        of_x_B1, of_y_B1, offset_B1 = torch.split(row_B3, 1, 1)
        positions_BHW = grid_BHW2[..., axis]
        torch.add((of_x_B1 * x_W)[:, None, :], (of_y_B1 * y_H)[:, :, None], out=positions_BHW)
        positions_BHW.add_(offset_B1[:, :, None])
    return grid_BHW2
