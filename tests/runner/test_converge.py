"""How a launch ends: exit codes, and what the user is told."""

from collections import Counter

import pytest

from kd_sweep.runner.converge import Outcome


@pytest.mark.parametrize(
    ("counts", "interrupted", "code"),
    [
        ({"completed": 3, "stopped": 1}, None, 0),
        ({}, None, 0),
        ({"completed": 3, "interrupted": 1}, "SIGTERM", 1),
        ({"completed": 27, "failed": 1}, None, 3),
        ({"completed": 27, "lost": 1}, None, 3),
        ({"preempted": 1}, None, 3),
        ({"failed": 1, "interrupted": 1}, "SIGINT", 1),
    ],
)
def test_exit_codes(counts: dict[str, int], interrupted: str | None, code: int) -> None:
    assert Outcome(Counter(counts), ran=True, interrupted=interrupted).exit_code == code
