"""Against scikit-learn, and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.metrics.cluster import expected_mutual_information as expected_by_scikit_learn

from kd_sweep.metrics.information import expected_mutual_information, mutual_information


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
@given(predicted())
def test_expected_is_scikit_learns(drawn):
    first, second = drawn
    table = contingency_matrix(first, second, sparse=True)
    oracle = expected_by_scikit_learn(table, len(first))
    assert expected_mutual_information(first, second) == pytest.approx(oracle, abs=1e-9)
    assert expected_mutual_information(second, first) == pytest.approx(oracle, abs=1e-9)


def test_expected_is_scikit_learns_where_only_terms_around_the_mean_count():
    """Classes of 1 to 30,000 images: their pairs have means from 0.00002 to 15,000."""
    sizes = torch.tensor([1, 2, 30, 700, 8000, 21_267, 30_000])
    first = torch.repeat_interleave(torch.arange(7), sizes)
    second = torch.repeat_interleave(torch.arange(8), torch.tensor([30_000, 20_000, 9000, 900, 60, 30, 9, 1]))
    oracle = expected_by_scikit_learn(contingency_matrix(first, second, sparse=True), len(first))
    assert expected_mutual_information(first, second) == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize(("images", "classes", "shared"), [(150, 10, 0.8), (60, 20, 0.0)])
def test_expected_is_the_mean_over_permutations(images, classes, shared):
    generator = np.random.default_rng(0)
    first, other = generator.integers(0, classes, (2, images))
    second = np.where(generator.random(images) < shared, first, other)
    permuted = [mutual_info_score(generator.permutation(first), second) for _ in range(500)]
    error = np.std(permuted) / 500**0.5
    value = expected_mutual_information(torch.from_numpy(first), torch.from_numpy(second))
    assert value == pytest.approx(np.mean(permuted), abs=4 * error)
    assert error < 0.02 * value


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


def test_expected_is_the_bias_of_the_estimate():
    """Independent predictors of 10 classes on 5,000 images: about (C - 1)² / 2N."""
    first, second = torch.randint(0, 10, (2, 5000), generator=torch.Generator().manual_seed(0))
    assert expected_mutual_information(first, second) == pytest.approx(81 / 10_000, rel=0.02)
    assert mutual_information(first, second) == pytest.approx(81 / 10_000, rel=0.5)


def test_permuting_takes_away_what_predictors_share():
    classes = torch.randint(0, 10, (5000,), generator=torch.Generator().manual_seed(0))
    assert mutual_information(classes, classes) > 100 * expected_mutual_information(classes, classes)


def test_expected_of_one_class_or_one_image_is_0():
    one = torch.zeros(50, dtype=torch.int64)
    assert expected_mutual_information(one, torch.arange(50)) == pytest.approx(0, abs=1e-12)
    assert expected_mutual_information(one[:1], one[:1]) == 0


def test_counts_of_a_large_split_do_not_overflow():
    classes = torch.arange(1000).repeat(1300)
    assert mutual_information(classes, classes) == pytest.approx(math.log(1000), abs=1e-9)


@pytest.mark.parametrize("shapes", [((0,), (0,)), ((3,), (4,)), ((3, 2), (3, 2))])
def test_other_shapes_are_refused(shapes):
    one, other = (torch.zeros(shape, dtype=torch.int64) for shape in shapes)
    for metric in (mutual_information, expected_mutual_information):
        with pytest.raises(ValueError, match=r"are not both \(N,\) with at least one image"):
            metric(one, other)
