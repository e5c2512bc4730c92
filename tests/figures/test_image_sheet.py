"""Sheets, read back from their pixels."""

import matplotlib
import numpy as np
import pytest
import torch

from kd_sweep.figures.image_sheet import CELL, Block, Cell, Row, cell_pixels, map_scale, overlay, sheet

WHITE = [255, 255, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_image_is_enlarged_pixel_by_pixel(channels):
    image = torch.randint(0, 256, (channels, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = cell_pixels(image)
    assert pixels.shape == (CELL, CELL, 3)
    assert pixels.dtype == np.uint8
    factor = CELL // 16
    expected = np.repeat(np.repeat(image.expand(3, -1, -1).permute(1, 2, 0).numpy(), factor, 0), factor, 1)
    assert np.array_equal(pixels, expected)


def test_a_large_image_is_reduced_smoothly():
    stripes = torch.zeros(1, 448, 448, dtype=torch.uint8)
    stripes[:, :, ::2] = 200
    inside = cell_pixels(stripes)[4:-4, 4:-4]
    assert inside.min() > 90
    assert inside.max() < 110


def half_attended():
    """Attention on the left half of a dark image of 16 x 16 pixels."""
    heat = torch.zeros(16, 16)
    heat[:, :8] = 1.0
    return overlay(torch.zeros(1, 16, 16, dtype=torch.uint8), heat, 0.4).astype(int)


def test_attention_is_yellow_and_its_absence_violet():
    pixels = half_attended()
    left, right = pixels[:, : CELL // 2 - 12].mean((0, 1)), pixels[:, CELL // 2 + 12 :].mean((0, 1))
    assert min(left[:2]) > left[2] + 30
    assert min(right[0], right[2]) > right[1]


def test_the_colors_of_maps_are_those_of_viridis():
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3] * 255
    np.testing.assert_allclose(map_scale()[0], colors, atol=20)  # of 255, between nine colours


def test_the_border_of_the_region_is_white_and_lies_inside_it():
    white = (half_attended() == 255).all(2)
    assert white[:, CELL // 2 - 1].all()
    assert white.sum() == CELL, "one column, and none at the edge of the image"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_region_that_is_empty_or_everything_has_no_border(value):
    pixels = overlay(torch.zeros(3, 12, 12, dtype=torch.uint8), torch.full((12, 12), value), 0.4)
    assert not (pixels == 255).all(2).any()


def test_a_sheet_has_room_for_all_cells():
    def cell(level):
        color = np.array([level, 0, 255], dtype=np.uint8)
        return Cell(np.broadcast_to(color, (CELL, CELL, 3)).copy(), ("one line", "another"))

    rows = (Row(("label",), (cell(10), cell(20), cell(30))), Row((), (cell(40),)))
    image = np.asarray(sheet([Block("heading", rows), Block("", rows[:1])]))
    for level, times in ((10, 2), (20, 2), (30, 2), (40, 1)):
        assert (image == [level, 0, 255]).all(2).sum() == times * CELL * CELL
    assert image[0, 0].tolist() == WHITE
    assert (image[-1] == 255).all()
    assert (image[:, -1] == 255).all()


def test_text_is_drawn():
    blank = sheet([Block("", (Row((), (Cell(cell_pixels(torch.zeros(1, 8, 8, dtype=torch.uint8)), ("",)),)),))])
    lines = Cell(cell_pixels(torch.zeros(1, 8, 8, dtype=torch.uint8)), ("IoU 0.53",))
    written = sheet([Block("", (Row((), (lines,)),))])
    assert written.size == blank.size
    assert (np.asarray(written)[CELL + 8 :] < 128).sum() > 50
    assert (np.asarray(blank)[CELL + 8 :] == 255).all()


def test_a_long_line_stays_below_its_own_image():
    black = cell_pixels(torch.zeros(1, 8, 8, dtype=torch.uint8))
    alone = sheet([Block("", (Row((), (Cell(black, ("wrong: automobile (0.95)",)), Cell(black, ("",)))),))])
    right = alone.width - CELL - 8
    below = np.asarray(alone)[CELL + 8 :]
    assert (below[:, : right - 8] < 128).sum() > 50
    assert (below[:, right - 8 :] == 255).all()


def test_a_sheet_is_as_wide_as_its_longest_heading():
    rows = (Row((), (Cell(cell_pixels(torch.zeros(1, 8, 8, dtype=torch.uint8)), ()),)),)
    written = np.asarray(sheet([Block("strength 0.5, 3 teachers, seed 0 " * 4 + "|", rows)]))
    last_inked = int((written[:24] < 128).any((0, 2)).nonzero()[0][-1])
    assert written.shape[1] - 24 < last_inked < written.shape[1] - 4
