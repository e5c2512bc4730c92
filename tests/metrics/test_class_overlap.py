"""Attention overlap by class against a loop over the classes."""

import numpy as np
import pytest
import torch

from kd_sweep.metrics.class_overlap import ClassMeans, overlap_per_class


def test_means_of_batches_are_those_of_a_loop_over_the_classes_and_a_class_without_images_has_none() -> None:
    generator = torch.Generator().manual_seed(3)
    labels_N = torch.randint(0, 5, (90,), generator=generator)
    labels_N[labels_N == 2] = 4
    iou_RPN = torch.rand(2, 3, 90, generator=generator, dtype=torch.float64)
    chance_RPN = 0.5 * torch.rand(2, 3, 90, generator=generator, dtype=torch.float64)
    overlap, apart = ClassMeans(6), ClassMeans(6)
    for indices_B in torch.arange(90).split(32):
        overlap.add(iou_RPN[..., indices_B], labels_N[indices_B])
        apart.add(chance_RPN[..., indices_B], labels_N[indices_B].expand(2, 3, -1))
    found = overlap_per_class(overlap, apart)
    for label in range(6):
        of_class = (labels_N == label).numpy()
        if label in (2, 5):
            assert found[label] is None
            continue
        iou, chance = (np.mean(values.numpy()[..., of_class]) for values in (iou_RPN, chance_RPN))
        assert found[label] == pytest.approx((iou - chance) / (1 - chance), abs=1e-12)


def test_a_class_whose_chance_is_1_or_unknown_has_no_overlap() -> None:
    ones, none = ClassMeans(2), ClassMeans(2)
    ones.add(torch.ones(4, dtype=torch.float64), torch.tensor([0, 0, 0, 0]))
    assert overlap_per_class(ones, ones) == [None, None]
    assert overlap_per_class(ones, none) == [None, None]
