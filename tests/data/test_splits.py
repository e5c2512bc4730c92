"""Splits and samples of random labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kd_sweep.data.splits import evenly_over_classes, stratified_sample, stratified_split

LABELS = st.lists(st.integers(0, 5), min_size=2, max_size=200).map(lambda values: np.array(values, dtype=np.int64))
SEEDS = st.integers(0, 2**31)


@given(LABELS, st.floats(0.01, 0.99), SEEDS)
def test_split_is_a_partition_with_each_class_in_proportion(labels, fraction, seed):
    train, val = stratified_split(labels, fraction, seed)
    assert sorted([*train, *val]) == list(range(len(labels)))
    for label in np.unique(labels):
        total, held_out = (labels == label).sum(), (labels[val] == label).sum()
        assert held_out < total
        assert held_out == 0 if total == 1 else held_out >= 1
        if 1 <= fraction * total <= total - 1:
            assert abs(held_out - fraction * total) <= 0.5


@given(LABELS, SEEDS, st.data())
def test_smaller_samples_lie_in_larger_ones(labels, seed, data):
    larger = data.draw(st.integers(1, len(labels)))
    smaller = data.draw(st.integers(1, larger))
    small, large = (stratified_sample(labels, limit, seed) for limit in (smaller, larger))
    assert (len(small), len(large)) == (smaller, larger)
    assert set(small) <= set(large)


@given(LABELS, SEEDS, st.data())
def test_sample_has_every_class_in_proportion(labels, seed, data):
    classes = np.unique(labels)
    limit = data.draw(st.integers(len(classes), max(len(classes), len(labels))))
    sample = stratified_sample(labels, limit, seed)
    assert set(labels[sample]) == set(classes)
    for label in classes:
        expected = limit * (labels == label).mean()
        # Ranks are steps of 1 / class size; the cut falls within one step per class.
        assert abs((labels[sample] == label).sum() - expected) <= len(classes)


def test_seeds_draw_different_images():
    labels = np.repeat(np.arange(4), 50)
    first, second = (stratified_split(labels, 0.3, seed)[1].tolist() for seed in (0, 1))
    assert first != second
    assert first == stratified_split(labels, 0.3, 0)[1].tolist()


def test_no_limit_keeps_all_in_order():
    assert stratified_sample(np.array([1, 0, 1]), None, 3).tolist() == [0, 1, 2]


def test_the_first_of_every_class_comes_before_the_second():
    labels_N = np.array([2, 2, 2, 0, 0, 1])
    assert evenly_over_classes(labels_N, 3).tolist() == [3, 5, 0]
    assert evenly_over_classes(labels_N, 4).tolist() == [3, 5, 0, 4]
    assert evenly_over_classes(labels_N, 9).tolist() == [3, 5, 0, 4, 1, 2]
