"""Rank correlations of maps against scipy's, and what unrelated maps have."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from kd_sweep.attention.rank_correlation import (
    CELLS,
    rank_correlation,
    rank_correlation_pairs,
    unit_ranks,
)


@st.composite
def maps(draw, min_networks=2):
    """Maps of some networks on some images: rough enough that cells are equal, and some constant."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(min_networks, 4)), draw(st.integers(1, 5)), *(draw(st.integers(2, 8)) for _ in range(2)))
    levels = draw(st.sampled_from([1, 2, 5, 1000]))
    return (torch.rand(shape, generator=generator) * levels).round() / levels


def by_scipy(one, other):
    one, other = one.flatten().double().numpy(), other.flatten().double().numpy()
    constant = np.ptp(one) == 0 or np.ptp(other) == 0
    return 0.0 if constant else spearmanr(one, other).statistic


@settings(max_examples=80)
@given(maps())
def test_is_scipys_with_0_for_constant_maps(drawn):
    expected = [by_scipy(one, other) for one, other in zip(drawn[0], drawn[1], strict=True)]
    assert rank_correlation(drawn[0], drawn[1]).tolist() == pytest.approx(expected, abs=1e-9)
    pairs = [by_scipy(a, b) for one, two in combinations(drawn, 2) for a, b in zip(one, two, strict=True)]
    assert rank_correlation_pairs(unit_ranks(drawn)).flatten().tolist() == pytest.approx(pairs, abs=1e-9)


def test_large_maps_are_taken_over_the_means_of_cells():
    generator = torch.Generator().manual_seed(0)
    large = torch.rand(2, 3, 4 * CELLS, 4 * CELLS, generator=generator)
    cells = large.reshape(2, 3, CELLS, 4, CELLS, 4).mean((3, 5))
    expected = [by_scipy(one, other) for one, other in zip(*cells, strict=True)]
    assert rank_correlation(large[0], large[1]).tolist() == pytest.approx(expected, abs=1e-9)


def test_equal_maps_are_1_reversed_ones_minus_1_and_unrelated_ones_0_within_the_standard_error():
    one, other = torch.rand(2, 4000, 5, 5, generator=torch.Generator().manual_seed(0))
    assert rank_correlation(one, one).tolist() == pytest.approx([1.0] * 4000, abs=1e-12)
    assert rank_correlation(one, -one).tolist() == pytest.approx([-1.0] * 4000, abs=1e-12)
    standard_error = (25 - 1) ** -0.5 / 4000**0.5
    assert abs(float(rank_correlation(one, other).mean())) < 3 * standard_error


def test_one_teacher_has_no_pair_and_a_map_that_is_not_finite_ranks_nothing():
    assert rank_correlation_pairs(unit_ranks(torch.rand(1, 3, 4, 4))).shape == (0, 3)
    broken = torch.tensor([[[0.0, float("nan")], [1.0, float("inf")]]])
    assert rank_correlation(broken, torch.rand(1, 2, 2)).tolist() == [0.0]
