"""Image folders as data sections of a study, and the message of the error that a dataset gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.data.contents import check_data
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data


def folder_data(root: Path, **fields: Any) -> Data:
    return Data(name="image_folder", path=str(root), image_size=8, **fields)


def message_of(data: Any, call: Callable[[Any], object] = check_data) -> str:
    """Return the one line of the DataError that ``call`` raises."""
    with pytest.raises(DataError) as caught:
        call(data)
    message = str(caught.value)
    assert "\n" not in message
    return message
