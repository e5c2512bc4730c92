"""Checks of arguments that several commands share."""

from pathlib import Path

import pytest

from kd_sweep.cli.arguments import check_image_file
from kd_sweep.errors import StorageError


def test_an_image_file_needs_a_folder_and_a_suffix_of_images(tmp_path: Path):
    check_image_file(tmp_path / "a.PNG")
    with pytest.raises(StorageError, match=r"a.txt is not the name of an image file; possible: .png, "):
        check_image_file(tmp_path / "a.txt")
    with pytest.raises(StorageError, match=r"--out: .*nowhere is not a folder"):
        check_image_file(tmp_path / "nowhere" / "a.png")
