"""The message with which a network is refused."""

from collections.abc import Callable

import pytest

from kd_sweep.errors import SpecError


def message_of(call: Callable[..., object], *arguments: object) -> str:
    """Return the one line of the SpecError that ``call`` raises."""
    with pytest.raises(SpecError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message
