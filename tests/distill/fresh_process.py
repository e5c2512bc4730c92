"""A process without anything that an earlier test kept in memory."""

from collections.abc import Iterator

import pytest
import torch

from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teachers import forget_teachers


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Let no test live on what another one kept in memory. One thread: for networks this small, more only wait."""
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    forget_teachers()
    LogitCache.forget()
    yield
    forget_teachers()
    LogitCache.forget()
    torch.set_num_threads(threads_before)
