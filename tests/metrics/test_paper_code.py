"""The paper code's variants against scikit-learn, scipy and torch, batch by batch, on random and degenerate input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics as sklearn_metrics

from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.metrics import paper_code


@st.composite
def splits(draw):
    """Student and teachers' logits, labels and a batch size; sometimes one image, one class, ties, huge values."""
    members, images, classes = draw(st.integers(1, 3)), draw(st.integers(1, 30)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(members + 1, images, classes, generator=generator) * draw(st.sampled_from([0.0, 1.0, 1e4]))
    if draw(st.booleans()):
        logits = logits.round()
    labels = torch.randint(0, classes, (images,), generator=generator)
    return logits[0], logits[1:], labels, draw(st.integers(1, 35))


def by_batch(metric, batch_size, *arrays):
    starts = range(0, len(arrays[0]), batch_size)
    return np.mean([metric(*(array[start : start + batch_size] for array in arrays)) for start in starts])


@settings(max_examples=50)
@given(splits())
def test_predictions(drawn):
    student, teachers, _, size = drawn
    z, t = student.double().numpy(), teachers.double().numpy().mean(0)
    expected = by_batch(sklearn_metrics.accuracy_score, size, z.argmax(1), t.argmax(1))
    assert paper_code.fidelity_rethinkkd(student, teachers, size) == pytest.approx(expected, abs=1e-6)
    expected = by_batch(sklearn_metrics.mutual_info_score, size, z.argmax(1), t.argmax(1))
    assert paper_code.mutual_information_rethinkkd(student, teachers, size) == pytest.approx(expected, abs=1e-6)

    def kl(q_logits, p_logits):
        log_q, log_p = special.log_softmax(q_logits, 1), special.log_softmax(p_logits, 1)
        return 10 * (np.exp(log_q) * (log_q - log_p)).sum(1).mean()

    expected = by_batch(kl, size, z, t)
    assert paper_code.predictive_kl_rethinkkd(student, teachers, size) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    expected = by_batch(lambda logits: special.entr(special.softmax(logits, 1)).sum(1).mean(), size, z)
    assert paper_code.entropy_rethinkkd(student, size) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50)
@given(splits())
def test_ece_is_the_mean_gap_of_ten_bins(drawn):
    student, _, labels, _ = drawn
    probabilities = special.softmax(student.double().numpy(), 1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    bins = np.ceil(confidence * 10 - 1e-12).clip(1, 10)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) if (bins == b).any() else 0 for b in range(1, 11)
    ]
    assert paper_code.ece_rethinkkd(student, labels) == pytest.approx(np.mean(gaps), abs=1e-6)


@settings(max_examples=50)
@given(splits())
def test_distillation_loss_is_torchs(drawn):
    student, teachers, labels, size = drawn

    def loss(z, y, *members):
        log_q = torch.log_softmax(z / 3, 1)
        kl = [torch.nn.KLDivLoss(reduction="batchmean")(log_q, torch.softmax(member / 3, 1)) for member in members]
        return (0.6 * torch.nn.CrossEntropyLoss()(z, y) + 0.4 * 9 * sum(kl) / len(kl)).item()

    expected = by_batch(loss, size, student.double(), labels, *teachers.double())
    value = paper_code.distillation_loss_rethinkkd(student, teachers, labels, size)
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(max_examples=50)
@given(
    st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 9), st.integers(1, 10), st.sampled_from([0.0, 0.4, 1.0])
)
def test_iou_is_pooled_and_of_all_networks_at_once(seed, networks, images, size, share):
    regions = torch.rand(networks, images, 4, 4, generator=torch.Generator().manual_seed(seed)) < share
    values, weights = [], []
    for start in range(0, images, size):
        pixels = [set(map(tuple, batch.nonzero().tolist())) for batch in regions[:, start : start + size]]
        union = len(set.union(*pixels))
        values.append(len(set.intersection(*pixels)) / union if union else 1.0)
        weights.append(min(size, images - start))
    expected = np.average(values, weights=weights)
    assert paper_code.attention_iou_rethinkkd(PackedRegions.of(regions), size) == pytest.approx(expected, abs=1e-12)


def test_one_network_has_no_iou():
    assert paper_code.attention_iou_rethinkkd(PackedRegions.of(torch.ones(1, 3, 4, 4, dtype=torch.bool))) is None


def test_large_regions_weigh_more_than_small_ones():
    """Image 1: regions of one pixel, equal. Image 2: one of ten pixels and an empty one. Pooled 1/11, per image 1/2."""
    one = torch.zeros(2, 1, 10, dtype=torch.bool)
    other = one.clone()
    one[0, 0, 0] = other[0, 0, 0] = True
    one[1] = True
    assert paper_code.attention_iou_rethinkkd(PackedRegions.of(torch.stack([one, other]))) == pytest.approx(1 / 11)


def test_extreme_logits_give_finite_values():
    student = torch.tensor([[3e38, -3e38, 0.0], [0.0, 0.0, 1e30]])
    teachers = torch.stack([student.flip(1), student.roll(1, dims=1)])
    labels = torch.tensor([1, 0])
    values = [
        paper_code.fidelity_rethinkkd(student, teachers),
        paper_code.predictive_kl_rethinkkd(student, teachers),
        paper_code.entropy_rethinkkd(student),
        paper_code.mutual_information_rethinkkd(student, teachers),
        paper_code.ece_rethinkkd(student, labels),
        paper_code.distillation_loss_rethinkkd(student, teachers, labels),
    ]
    assert all(math.isfinite(value) for value in values)
