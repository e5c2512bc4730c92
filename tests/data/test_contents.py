"""The contents of a dataset as a launch reports them, compared with its files."""

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data.contents import inspect_data
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.study.recipe import Data
from tests.data.folders import folder_data


def write_folders(root, folders):
    """Write so many images into each folder."""
    random = np.random.default_rng(len(folders))
    for folder, count in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(root / folder / f"{number}.png")


def test_counts_classes_and_what_is_passed_over(tmp_path):
    write_folders(
        tmp_path, {"train/cat": 4, "train/dog": 3, "val/cat": 2, "val/dog": 1, "val/dog/@eaDir": 2, "extra/x": 1}
    )
    (tmp_path / "train/cat/.DS_Store").write_text("")
    (tmp_path / "train/cat/labels.csv").write_text("")
    assert inspect_data(folder_data(tmp_path)).lines() == [
        "data: 7 training and 3 validation images of 2 classes (cat, dog)",
        "passed over: 1 folder beside the two (extra), 1 hidden, 1 of the system (@eaDir), 1 not images (.csv)",
    ]


@pytest.mark.parametrize(
    "fields", [{}, {"max_train_images": 10}, {"validation_fraction": 0.5}, {"imbalance_ratio": 4.0}]
)
def test_counts_are_of_the_images_that_are_loaded(tmp_path, fields):
    write_folders(tmp_path, dict.fromkeys(("a", "b", "c"), 12))
    data = folder_data(tmp_path, **fields)
    dataset = load_dataset(data)
    assert inspect_data(data).lines() == [
        f"data: {len(dataset.train)} training and {len(dataset.val)} validation images of 3 classes (a, b, c)"
    ]


def test_digits():
    assert inspect_data(Data()).lines() == ["data: 1,438 training and 359 validation images of 10 classes (0, 1, 2, …)"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("airplane", "automobile", "bird", "cat"), "(airplane, automobile, …)"),
        (("a" * 50, "b", "c"), f"({'a' * 50}, …)"),
        (("\x1b[31mred", "two\nlines"), r"(\x1b[31mred, two lines)"),
    ],
)
def test_class_names_fill_a_line_and_never_move_a_terminal(tmp_path, names, shown):
    write_folders(tmp_path, dict.fromkeys(names, 2))
    (tmp_path / "notes.a\nb\x1b[2J").write_text("")
    line, passed_over = inspect_data(folder_data(tmp_path)).lines()
    assert passed_over == r"passed over: 1 not images (.a b\x1b[2j)"
    assert line.endswith(f" classes {shown}")
    assert len(line) <= 80 or len(names[0]) == 50


def test_copies_are_counted(tmp_path):
    write_folders(tmp_path, {"train/cat": 2, "train/dog": 2, "val/cat": 1, "val/dog": 1})
    for number in range(2000):
        (tmp_path / f"val/dog/{number}.png").write_text(str(number))
    (tmp_path / "val/cat/copy.png").write_bytes((tmp_path / "train/dog/1.png").read_bytes())
    assert inspect_data(folder_data(tmp_path)).lines()[1:] == [
        "copies: 1 validation images are copies of training images"
    ]
