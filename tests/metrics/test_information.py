"""Against scikit-learn, and closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from kd_sweep.metrics.information import mutual_information, shuffled_mutual_information


@st.composite
def predicted(draw):
    """Two predictors' classes; sometimes one image, one class, or equal ones."""
    images, classes = draw(st.integers(1, 200)), draw(st.integers(1, 30))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    first, second = torch.randint(0, classes, (2, images), generator=generator)
    copied = torch.rand(images, generator=generator) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    return first, torch.where(copied, first, second)


@settings(max_examples=50)
@given(predicted())
def test_is_scikit_learns(drawn):
    first, second = drawn
    value = mutual_information(first, second)
    assert value == pytest.approx(mutual_info_score(first, second), abs=1e-6)
    assert value == pytest.approx(mutual_information(second, first), abs=1e-12)
    assert value >= 0


@settings(max_examples=50)
@given(predicted(), st.integers(0, 100))
def test_shuffled_is_scikit_learns_of_a_permutation(drawn, seed):
    first, second = drawn
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(seed))
    value = shuffled_mutual_information(first, second, seed)
    assert value == pytest.approx(mutual_info_score(first[order], second), abs=1e-6)
    assert value == shuffled_mutual_information(first, second, seed)


def test_of_equal_predictions_is_their_entropy():
    classes = torch.tensor([0, 0, 1, 2])
    assert mutual_information(classes, classes) == pytest.approx(1.5 * math.log(2), abs=1e-12)


def test_of_independent_predictions_is_0():
    classes = torch.cartesian_prod(torch.arange(4), torch.arange(5))
    assert mutual_information(classes[:, 0], classes[:, 1]) == pytest.approx(0, abs=1e-12)


def test_names_of_the_classes_do_not_matter():
    classes = torch.randint(0, 9, (500,), generator=torch.Generator().manual_seed(0))
    renamed = torch.randperm(9, generator=torch.Generator().manual_seed(1))[classes]
    assert mutual_information(classes, renamed) == pytest.approx(mutual_information(classes, classes), abs=1e-12)


def test_shuffled_shows_the_bias_of_the_estimate():
    """Independent predictors of 10 classes on 5,000 images: about (C - 1)² / 2N."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(0, 10, (2, 5000), generator=generator)
    shuffled = [shuffled_mutual_information(first, second, seed) for seed in range(20)]
    assert len(set(shuffled)) > 1
    assert sum(shuffled) / 20 == pytest.approx(81 / 10_000, rel=0.2)
    assert mutual_information(first, second) == pytest.approx(sum(shuffled) / 20, rel=0.5)


def test_shuffling_takes_away_what_predictors_share():
    classes = torch.randint(0, 10, (5000,), generator=torch.Generator().manual_seed(0))
    assert mutual_information(classes, classes) > 100 * shuffled_mutual_information(classes, classes)


def test_counts_of_a_large_split_do_not_overflow():
    classes = torch.arange(1000).repeat(1300)
    assert mutual_information(classes, classes) == pytest.approx(math.log(1000), abs=1e-9)


@pytest.mark.parametrize("shapes", [((0,), (0,)), ((3,), (4,)), ((3, 2), (3, 2))])
def test_other_shapes_are_refused(shapes):
    one, other = (torch.zeros(shape, dtype=torch.int64) for shape in shapes)
    with pytest.raises(ValueError, match=r"are not both \(N,\) with at least one image"):
        mutual_information(one, other)
