"""Overlaps of regions against scikit-learn's Jaccard score, and chance levels of independent regions."""

import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.attention.regions import (
    CHANCE_PAIRS,
    above_chance,
    attention_regions,
    intersection_over_union,
    iou_of_pairs,
    largest_regions,
    other_images,
)

packed = PackedRegions.of


def iou_mean_of_pairs(regions_MN):
    return float(iou_of_pairs(packed(regions_MN)).mean())


def iou_mean(student_regions_N, teacher_regions_MN):
    return float(intersection_over_union(packed(student_regions_N), packed(teacher_regions_MN)).mean())


@st.composite
def regions(draw, min_networks=1):
    """Regions of some networks on some images; some of them empty, full or equal."""
    networks, images = draw(st.integers(min_networks, 4)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shares = torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.2, 0.7, 1.0]), min_size=images, max_size=images)))
    shape = (networks, images, draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    return torch.rand(shape, generator=generator) < shares[None, :, None, None]


def test_regions_are_above_not_at_the_threshold():
    maps = torch.tensor([[[0.4, 0.41, 0.0, 1.0]]])
    assert attention_regions(maps, 0.4).tolist() == [[[False, True, False, True]]]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 1.0])
def test_regions_of_one_size_are_the_highest_pixels(share):
    maps = torch.rand(3, 20, 6, 7, generator=torch.Generator().manual_seed(0))
    maps = maps.masked_fill(maps == maps.amin((2, 3), keepdim=True), 0.0)
    found = largest_regions(maps, share).flatten(2).numpy()
    size = round(share * 42)
    expected = np.zeros(found.shape, dtype=bool)
    np.put_along_axis(expected, np.argsort(maps.flatten(2).numpy(), axis=2)[..., 42 - size :], True, axis=2)
    assert (found == (expected & (maps.flatten(2).numpy() > 0))).all()


def test_a_region_of_one_size_leaves_out_pixels_without_attention_and_takes_in_ties():
    maps = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0]], [[0.5, 0.5, 0.5, 1.0, 0.0]], [[0.0] * 5]])
    assert largest_regions(maps, 0.4).tolist() == [
        [[False, False, True, False, False]],
        [[True] * 4 + [False]],
        [[False] * 5],
    ]


def test_the_overlap_of_unrelated_regions_of_one_size_is_0_and_of_equal_ones_1():
    generator = torch.Generator().manual_seed(0)
    one, other = largest_regions(torch.rand(2, 2000, 10, 10, generator=generator), 0.2)
    (indices_MN,) = other_images(2000, 2)
    apart = torch.stack([one[indices_MN[0]], other[indices_MN[1]]])
    per_image = intersection_over_union(packed(one), packed(other))
    chance = iou_mean_of_pairs(apart)
    standard_error = float(per_image.std()) / 2000**0.5 / (1 - chance)
    corrected = above_chance(iou_mean_of_pairs(torch.stack([one, other])), chance)
    assert abs(corrected) < 3 * 2**0.5 * standard_error
    assert above_chance(iou_mean_of_pairs(torch.stack([one, one])), chance) == 1


@pytest.mark.parametrize("num_pixels", [1, 7, 8, 63, 64, 65, 200])
def test_a_packed_region_has_every_pixel_once(num_pixels):
    alone = packed(torch.eye(num_pixels, dtype=torch.bool)[:, None])
    assert alone.counts().tolist() == [1] * num_pixels
    assert (alone[:1] & alone).counts().tolist() == [1] + [0] * (num_pixels - 1)
    drawn = torch.rand(3, 5, num_pixels, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    assert (packed(drawn).counts() == drawn.sum((2, 3)).numpy()).all()
    some = packed(drawn).select(np.array([4, 1]))
    assert (some.counts() == drawn[:, [4, 1]].sum((2, 3)).numpy()).all()


def iou_by_scikit_learn(one, two):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jaccard_score(one.flatten().numpy(), two.flatten().numpy(), zero_division=1.0)


@settings(max_examples=50)
@given(regions(min_networks=2))
def test_iou_per_image_is_scikit_learns_jaccard_score(drawn):
    expected = [iou_by_scikit_learn(one, two) for one, two in zip(drawn[0], drawn[1], strict=True)]
    assert intersection_over_union(packed(drawn[0]), packed(drawn[1])).tolist() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(regions(min_networks=2))
def test_pairs_are_the_mean_over_images_and_pairs(drawn):
    expected = np.mean(
        [iou_by_scikit_learn(a, b) for one, two in combinations(drawn, 2) for a, b in zip(one, two, strict=True)]
    )
    assert iou_mean_of_pairs(drawn) == pytest.approx(expected, abs=1e-12)
    assert iou_mean_of_pairs(drawn.flip(0)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(regions(min_networks=2))
def test_student_is_the_mean_over_images_and_teachers(drawn):
    student, teachers = drawn[0], drawn[1:]
    expected = np.mean([iou_by_scikit_learn(a, b) for one in teachers for a, b in zip(student, one, strict=True)])
    assert iou_mean(student, teachers) == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    left = torch.tensor([[[True, True, False, False]]])
    middle = torch.tensor([[[False, True, True, False]]])
    right = torch.tensor([[[False, False, False, True]]])
    assert iou_mean_of_pairs(torch.stack([left, middle])) == pytest.approx(1 / 3)
    assert iou_mean_of_pairs(torch.stack([left, middle, right])) == pytest.approx(1 / 9)
    assert iou_mean(left, torch.stack([left, right])) == 0.5


def test_images_weigh_the_same_however_large_their_regions():
    """Pooled over the images the IoU would be 1/11, not 1/2."""
    one = torch.zeros(2, 1, 10, dtype=torch.bool)
    other = one.clone()
    one[0, 0, 0] = other[0, 0, 0] = True
    one[1] = True
    assert iou_mean_of_pairs(torch.stack([one, other])) == 0.5


def test_one_teacher_has_no_pair():
    assert iou_of_pairs(packed(torch.ones(1, 3, 4, 4, dtype=torch.bool))).shape == (0, 3)


def test_two_empty_regions_are_equal_and_one_empty_region_is_not():
    empty, full = torch.zeros(1, 2, 2, dtype=torch.bool), torch.ones(1, 2, 2, dtype=torch.bool)
    assert iou_mean_of_pairs(torch.stack([empty, empty])) == 1
    assert iou_mean_of_pairs(torch.stack([empty, full])) == 0
    assert iou_mean(empty, torch.stack([empty, full])) == 0.5


@pytest.mark.parametrize("num_networks", [1, 2, 3, 5])
@pytest.mark.parametrize("num_images", [1, 2, 3, 4, 5, 17, 360, 999, 1000, 2500])
def test_other_images_are_never_the_same_and_each_is_taken_as_often(num_images, num_networks):
    indices = other_images(num_images, num_networks)
    num_shifts = len(indices)
    assert indices.shape == (num_shifts, num_networks, num_images)
    assert (num_shifts > 0) == (num_images >= max(2, num_networks))
    for indices_MN in indices.numpy():
        assert all(sorted(indices_N) == list(range(num_images)) for indices_N in indices_MN)
        for first_N, second_N in combinations(indices_MN, 2):
            assert (first_N != second_N).all()
    if num_images >= 50:
        assert num_images * (num_shifts - 1) < CHANCE_PAIRS <= num_images * num_shifts
    assert torch.equal(indices, other_images(num_images, num_networks))


@pytest.mark.parametrize("num_images", [3, 40, 360])
def test_no_pair_of_images_is_compared_twice(num_images):
    indices_RMN = other_images(num_images, 2)
    assert len(torch.unique(indices_RMN.transpose(1, 2).reshape(-1, 2), dim=0)) == len(indices_RMN) * num_images


def test_the_overlap_of_unrelated_regions_is_what_chance_gives():
    """Regions of one shape at positions that have nothing to do with each other: IoU .3, and no overlap beyond that."""
    generator = torch.Generator().manual_seed(0)
    related = torch.rand(2000, 6, 6, generator=generator) < 0.5
    unrelated = torch.rand(2000, 6, 6, generator=generator) < 0.5
    (indices_MN,) = other_images(2000, 2)

    def overlap(first, second):
        regions = torch.stack([first, second])
        apart = torch.stack([region_N[indices_N] for region_N, indices_N in zip(regions, indices_MN, strict=True)])
        iou = iou_mean_of_pairs(regions)
        return iou, above_chance(iou, iou_mean_of_pairs(apart))

    iou, corrected = overlap(related, unrelated)
    assert iou == pytest.approx(1 / 3, abs=0.01)
    assert corrected == pytest.approx(0, abs=0.01)
    assert overlap(related, related) == (1, 1)
    half = torch.where(torch.rand(2000, 1, 1, generator=generator) < 0.5, related, unrelated)
    assert overlap(related, half)[1] == pytest.approx(0.5, abs=0.03)


def test_above_chance_is_none_where_it_is_not_defined():
    assert above_chance(0.6, 0.2) == pytest.approx(0.5)
    assert above_chance(0.2, 0.6) == pytest.approx(-1)
    assert above_chance(1.0, 1.0) is above_chance(None, 0.5) is above_chance(0.5, None) is None
