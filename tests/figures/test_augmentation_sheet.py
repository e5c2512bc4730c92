"""Sheets of augmented images: their rows, columns and strengths."""

import numpy as np
import pytest
from PIL import Image

from kd_sweep.errors import DataError
from kd_sweep.figures.augmentation_sheet import augmentation_sheet, shown_strengths
from kd_sweep.figures.image_sheet import CELL
from kd_sweep.study.file.load import parse_spec

STUDY = """
name: look
data: {name: digits, image_size: 8}
search:
  augmentation_strength: {grid: [0.5, 0.0, 1.0]}
"""


def spec_of(text, *overrides):
    return parse_spec(text, "look.yaml", overrides)


def cells(sheet, num_images):
    """Rows of images, from the rows of pixels that are not all paper."""
    pixels = np.asarray(sheet)[:, -num_images * (CELL + 8) - 8 :]
    inked = (pixels != 255).any((1, 2)) | (pixels == 0).any((1, 2))
    starts = [row for row in range(1, len(inked)) if inked[row : row + CELL].all() and not inked[row - 1]]
    return [[pixels[row : row + CELL, 8 + i * (CELL + 8) :][:, :CELL] for i in range(num_images)] for row in starts]


def test_a_row_per_strength_and_a_column_per_class():
    sheet = augmentation_sheet(spec_of(STUDY), 10)
    rows = cells(sheet, 10)
    assert len(rows) == 4, "the clean images and three strengths"
    clean, none, half, full = rows
    assert all(np.array_equal(one, two) for one, two in zip(clean, none, strict=True))
    far = [
        np.mean([np.square(one.astype(float) - two).mean() for one, two in zip(clean, row, strict=True)])
        for row in (half, full)
    ]
    assert 0 < far[0] < far[1]
    assert len({image.tobytes() for image in clean}) == 10


def test_no_other_validation_images_are_decoded(write_images):
    """Of a folder in which all but the first validation images of each class are damaged."""
    root = write_images("set/train", ("a", "b", "c"), count=2).parent
    write_images("set/val", ("a", "b", "c"), count=5)
    for name, first_damaged in {"a": 4, "b": 3, "c": 3}.items():
        for number in range(first_damaged, 5):
            (root / "val" / name / f"{number}.png").write_bytes(b"no image")
    data = f"data={{name: image_folder, path: '{root}', image_size: 8}}"
    clean, *_ = cells(augmentation_sheet(spec_of(STUDY, data), 10), 10)
    assert len({image.tobytes() for image in clean}) == 10
    with pytest.raises(DataError, match="cannot be decoded"):
        augmentation_sheet(spec_of(STUDY, data), 11)


def test_strengths_of_a_study():
    assert shown_strengths(spec_of(STUDY)) == [0.0, 0.5, 1.0]
    ranged = spec_of("name: x\nsampler: {name: random}\nsearch: {augmentation_strength: {uniform: [0.0, 0.8]}}")
    assert shown_strengths(ranged) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8]
    assert shown_strengths(spec_of("name: x")) == [0.0]
    apart = "name: x\nsearch:\n  teacher_strengths: {grid: [[0.0, 1.0], [0.5, 1.0]]}\n  student_strength: {grid: [0.3]}"
    assert shown_strengths(spec_of(apart)) == [0.0, 0.3, 0.5, 1.0]


@pytest.mark.parametrize("pipeline", ["mixup", "cutmix"])
@pytest.mark.parametrize("num_images", [1, 5])
def test_images_are_mixed_however_few_are_shown(pipeline, num_images):
    spec = spec_of(STUDY, f"augmentation.pipeline={pipeline}", "search.augmentation_strength={grid: [0.0, 1.0]}")
    clean, none, mixed = cells(augmentation_sheet(spec, num_images), num_images)
    assert len(clean) == num_images
    assert all(np.array_equal(one, two) for one, two in zip(clean, none, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(clean, mixed, strict=True))


def test_the_command_writes_a_sheet(tmp_path):
    from kd_sweep.cli import main

    (tmp_path / "look.yaml").write_text(STUDY)
    for out, code in ((tmp_path / "grid.png", 0), (tmp_path / "grid.txt", 2)):
        with pytest.raises(SystemExit) as caught:
            main(["augmentations", str(tmp_path / "look.yaml"), "--out", str(out), "--images", "3"])
        assert caught.value.code == code
    with Image.open(tmp_path / "grid.png") as image:
        assert image.format == "PNG"
