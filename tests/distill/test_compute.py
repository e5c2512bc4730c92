import pytest
import torch

from kd_sweep.distill.compute import EpochRandomness, reproducible, resolve_device
from kd_sweep.errors import ClusterError

CPU = torch.device("cpu")


def test_settings_are_restored_even_after_an_error():
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    inside = []

    def fails():
        with reproducible(1):
            inside.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert inside == [(1, True)]
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_epoch_randomness_depends_on_seed_and_epoch_alone_and_leaves_the_process_as_it_was():
    def draw(seed, epoch):
        torch.rand(3)
        with EpochRandomness(seed, epoch, CPU):
            return torch.rand(4).tolist()

    assert draw(1, 1) == draw(1, 1)
    assert len({tuple(draw(seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}) == 4
    torch.manual_seed(5)
    expected = torch.rand(2).tolist()
    torch.manual_seed(5)
    with EpochRandomness(1, 1, CPU):
        torch.rand(7)
    assert torch.rand(2).tolist() == expected


def test_epoch_randomness_goes_on_where_it_was_left_whatever_is_drawn_in_between():
    with EpochRandomness(1, 1, CPU):
        expected = torch.rand(4).tolist()
    one, other, drawn = EpochRandomness(1, 1, CPU), EpochRandomness(2, 1, CPU), []
    for _ in range(2):
        with one:
            drawn += torch.rand(2).tolist()
        torch.rand(3)
        with other:
            torch.rand(5)
    assert drawn == expected


def test_auto_is_a_device_that_is_there():
    assert torch.zeros(1, device=resolve_device("auto")).sum() == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_line():
    with pytest.raises(ClusterError, match="needs a CUDA GPU"):
        resolve_device("cuda:0")
