"""Against scikit-learn, scipy and torchmetrics, on random, tied, single and extreme input."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional import classification

from kd_sweep.metrics.predictions import (
    accuracy,
    affinity,
    agreement,
    agreement_among,
    agreement_per_class,
    diversity,
    ensemble_log_probabilities,
    errs_together,
    negative_log_likelihood,
    pairwise_agreement,
    pairwise_disagreement,
    predictive_entropy,
    predictive_kl,
    reverse_predictive_kl,
    top_1,
    top_k_accuracy,
)


@st.composite
def predictions(draw, max_members=3):
    """Members' logits, a student's logits and labels; sometimes with ties, one image, one class, huge values."""
    members, images, classes = draw(st.integers(1, max_members)), draw(st.integers(1, 40)), draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1.0, 10.0, 1e4]))
    logits = torch.randn(members + 1, images, classes, generator=generator)
    if draw(st.booleans()):
        logits = logits.round()  # Ties.
    labels = torch.randint(0, classes, (images,), generator=generator)
    return logits[1:] * scale, logits[0] * scale, labels


@given(predictions())
@settings(max_examples=50)
def test_accuracy_is_scikit_learns(drawn):
    _, logits, labels = drawn
    predicted = logits.numpy().argmax(1)
    assert accuracy(logits, labels) == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted), abs=1e-12)
    assert top_1(logits).tolist() == predicted.tolist()


@given(predictions(), st.integers(1, 6))
@settings(max_examples=50)
def test_top_k_is_scikit_learns_where_nothing_ties(drawn, k):
    _, logits, labels = drawn
    num_classes = logits.shape[1]
    distinct = logits.double() + torch.arange(num_classes) * 1e-6
    if k >= num_classes:
        assert top_k_accuracy(distinct, labels, k) == 1.0
        return
    if num_classes == 2:
        # scikit-learn takes two classes for a binary problem with one score.
        expected = sklearn_metrics.accuracy_score(labels, distinct.argmax(1))
    else:
        expected = sklearn_metrics.top_k_accuracy_score(labels, distinct, k=k, labels=range(num_classes))
    assert top_k_accuracy(distinct, labels, k) == pytest.approx(expected, abs=1e-12)


@given(predictions())
@settings(max_examples=50)
def test_top_1_of_k_is_accuracy_and_more_is_never_less(drawn):
    _, logits, labels = drawn
    values = [top_k_accuracy(logits, labels, k) for k in range(1, logits.shape[1] + 3)]
    assert values[0] == accuracy(logits, labels)
    assert values == sorted(values)
    assert values[-1] == 1.0


def test_ties_go_to_the_first_class():
    logits = torch.tensor([[1.0, 1.0, 1.0], [0.0, 2.0, 2.0]])
    assert top_1(logits).tolist() == [0, 1]
    assert accuracy(logits, torch.tensor([0, 2])) == 0.5
    assert top_k_accuracy(logits, torch.tensor([2, 2]), 2) == 0.5


@given(predictions())
@settings(max_examples=50)
def test_agreement_is_scikit_learns_accuracy_between_predictors(drawn):
    members, student, _ = drawn
    expected = sklearn_metrics.accuracy_score(members[0].argmax(1), student.argmax(1))
    assert agreement(student, members[0]) == pytest.approx(expected, abs=1e-12)
    assert agreement(student, members[0]) == agreement(members[0], student)
    assert agreement(student, student) == 1.0


@given(predictions())
@settings(max_examples=50)
def test_ensemble_is_the_mean_of_the_probabilities(drawn):
    members, _, _ = drawn
    expected = special.softmax(members.double().numpy(), axis=2).mean(0)
    np.testing.assert_allclose(ensemble_log_probabilities(members).exp(), expected, atol=1e-12)


def test_ensemble_is_not_the_mean_of_the_logits():
    """One member is sure of class 0, two lean to class 1: by probabilities class 0 loses, by logits it wins."""
    members = torch.tensor([[[9.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
    assert top_1(members.mean(0)).item() == 0
    by_hand = (1 / (1 + math.exp(-9)) + 2 / (1 + math.e)) / 3
    assert ensemble_log_probabilities(members)[0, 0].exp().item() == pytest.approx(by_hand, abs=1e-12)
    assert agreement(ensemble_log_probabilities(members), torch.tensor([[1.0, 0.0]])) == float(by_hand > 0.5)


@given(predictions())
@settings(max_examples=50)
def test_predictive_kl_is_scipys_relative_entropy(drawn):
    members, student, _ = drawn
    ensemble = special.softmax(members.double().numpy(), axis=2).mean(0)
    log_student = special.log_softmax(student.double().numpy(), axis=1)
    # scipy's entropy would divide by probabilities that underflow; its terms p log p do not.
    expected = (special.xlogy(ensemble, ensemble) - ensemble * log_student).sum(1).mean()
    assert predictive_kl(members, student) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    if student.abs().max() < 100:
        expected = stats.entropy(ensemble, np.exp(log_student), axis=1).mean()
        assert predictive_kl(members, student) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(predictions(max_members=1))
@settings(max_examples=50)
def test_predictive_kl_is_torchmetrics(drawn):
    from torchmetrics.functional.regression import kl_divergence

    members, student, _ = drawn
    if student.abs().max() > 1e3:
        return
    log_p, log_q = (torch.log_softmax(logits.double(), 1) for logits in (members[0], student))
    assert predictive_kl(members, student) == pytest.approx(kl_divergence(log_p, log_q, log_prob=True).item(), abs=1e-9)


@given(predictions())
@settings(max_examples=50)
def test_reverse_predictive_kl_is_scipys(drawn):
    members, student, _ = drawn
    log_members = special.log_softmax(members.double().numpy(), axis=2)
    log_ensemble = special.logsumexp(log_members, axis=0) - math.log(len(members))
    log_student = special.log_softmax(student.double().numpy(), axis=1)
    probabilities = np.exp(log_student)
    expected = (special.xlogy(probabilities, probabilities) - probabilities * log_ensemble).sum(1).mean()
    assert reverse_predictive_kl(members, student) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    swapped = predictive_kl(student[None], ensemble_log_probabilities(members))
    assert reverse_predictive_kl(members, student) == pytest.approx(swapped, rel=1e-9, abs=1e-9)


@given(predictions())
@settings(max_examples=50)
def test_agreement_per_class_is_scikit_learns_within_each_class(drawn):
    members, student, labels = drawn
    values = agreement_per_class(student, members[0], labels)
    assert len(values) == student.shape[1]
    for label, value in enumerate(values):
        of_class = labels == label
        if not of_class.any():
            assert value is None
            continue
        expected = sklearn_metrics.accuracy_score(members[0][of_class].argmax(1), student[of_class].argmax(1))
        assert value == pytest.approx(expected, abs=1e-12)


@given(predictions())
@settings(max_examples=50)
def test_disagreement_is_one_minus_scikit_learns_accuracy_over_pairs(drawn):
    members, _, _ = drawn
    predicted = members.argmax(2)
    pairs = [1 - sklearn_metrics.accuracy_score(one, other) for one, other in combinations(predicted, 2)]
    expected = np.mean(pairs) if pairs else None
    assert pairwise_disagreement(members) == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_disagreement_by_hand():
    """Classes (0, 0), (0, 1), (1, 1): the pairs differ on 1/2, 1 and 1/2 of the images."""
    members = torch.nn.functional.one_hot(torch.tensor([[0, 0], [0, 1], [1, 1]]), 2).float()
    assert pairwise_disagreement(members) == pytest.approx(2 / 3)
    assert pairwise_disagreement(members[:1]) is None


@given(predictions())
@settings(max_examples=50)
def test_affinity_is_a_ratio_of_scikit_learns_accuracies(drawn):
    members, student, labels = drawn
    clean, augmented = (sklearn_metrics.accuracy_score(labels, z.argmax(1)) for z in (members[0], student))
    assert affinity(student, members[0], labels) == (pytest.approx(augmented / clean) if clean else None)


def test_diversity_is_a_ratio_of_losses():
    assert diversity(0.5, 0.25) == 2
    assert diversity(0.5, 0.0) is None


@given(predictions())
@settings(max_examples=50)
def test_agreement_of_pairs_is_scikit_learns_accuracy_of_one_by_the_other(drawn):
    members, _, _ = drawn
    top_MN = members.numpy().argmax(2)
    expected = [sklearn_metrics.accuracy_score(one, other) for one, other in combinations(top_MN, 2)]
    assert pairwise_agreement(members) == pytest.approx(expected, abs=1e-12)
    if expected:
        assert pairwise_disagreement(members) == pytest.approx(1 - np.mean(expected), abs=1e-12)


@given(predictions())
@settings(max_examples=50)
def test_agreement_where_the_ensemble_is_right_and_where_it_errs_is_that_of_these_images_alone(drawn):
    members, student, labels = drawn
    log_p = ensemble_log_probabilities(members)
    answers, truth = log_p.numpy().argmax(1), labels.numpy()
    is_unanimous = (members.numpy().argmax(2) == members.numpy().argmax(2)[0]).all(0)
    assert errs_together(members, log_p, labels).tolist() == ((answers != truth) & is_unanimous).tolist()
    for mask in (answers == truth, answers != truth):
        found = agreement_among(student, log_p, torch.from_numpy(mask))
        if mask.any():
            expected = sklearn_metrics.accuracy_score(answers[mask], student.numpy().argmax(1)[mask])
            assert found == pytest.approx(expected, abs=1e-12)
        else:
            assert found is None


def test_affinity_by_hand():
    right, wrong = torch.eye(4), torch.eye(4).roll(1, dims=1)
    half = torch.cat([right[:2], wrong[2:]])
    assert affinity(half, right, torch.arange(4)) == 0.5
    assert affinity(right, half, torch.arange(4)) == 2
    assert affinity(right, wrong, torch.arange(4)) is None


def test_predictive_kl_by_hand():
    """Ensemble (3/4, 1/4), student (1/2, 1/2): log 2 - H(1/4)."""
    members = torch.log(torch.tensor([[[0.9, 0.1]], [[0.6, 0.4]]], dtype=torch.float64))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert predictive_kl(members, torch.zeros(1, 2)) == pytest.approx(math.log(2) - entropy, abs=1e-12)
    assert predictive_kl(torch.zeros(1, 1, 2), torch.zeros(1, 2)) == 0.0


@given(predictions())
@settings(max_examples=50)
def test_predictive_kl_of_a_predictor_with_itself_is_0(drawn):
    _, student, _ = drawn
    assert predictive_kl(student[None].expand(3, -1, -1), student) == pytest.approx(0, abs=1e-9)


@given(predictions())
@settings(max_examples=50)
def test_entropy_is_scipys(drawn):
    members, student, _ = drawn
    expected = stats.entropy(special.softmax(student.double().numpy(), axis=1), axis=1).mean()
    assert predictive_entropy(student) == pytest.approx(expected, abs=1e-9)
    of_ensemble = stats.entropy(special.softmax(members.double().numpy(), axis=2).mean(0), axis=1).mean()
    assert predictive_entropy(ensemble_log_probabilities(members)) == pytest.approx(of_ensemble, abs=1e-9)
    assert 0 <= predictive_entropy(student) <= math.log(student.shape[1]) + 1e-12


def test_entropy_of_a_uniform_prediction():
    assert predictive_entropy(torch.full((3, 8), -4.0)) == pytest.approx(math.log(8), abs=1e-12)


@given(predictions())
@settings(max_examples=50)
def test_negative_log_likelihood_is_scikit_learns(drawn):
    _, logits, labels = drawn
    num_classes = logits.shape[1]
    if num_classes == 1:
        assert negative_log_likelihood(logits, labels) == 0
        return
    if logits.abs().max() < 20:  # scikit-learn clips probabilities.
        probabilities = special.softmax(logits.double().numpy(), axis=1)
        expected = sklearn_metrics.log_loss(labels, probabilities, labels=range(num_classes))
        assert negative_log_likelihood(logits, labels) == pytest.approx(expected, abs=1e-9)
    log_probabilities = special.log_softmax(logits.double().numpy(), axis=1)
    expected = -log_probabilities[np.arange(len(labels)), labels].mean()
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("size", [1e4, 1e30, 3e38])
def test_extreme_logits_give_finite_values(size):
    student = torch.tensor([[size, -size, 0.0], [0.0, 0.0, size], [-size, -size, -size]])
    members = torch.stack([student.flip(1), student.roll(1, dims=1)])
    labels = torch.tensor([1, 0, 2])
    values = [
        *(accuracy(student, labels), agreement(student, members[0]), predictive_kl(members, student)),
        *(predictive_entropy(student), negative_log_likelihood(student, labels)),
        *(predictive_entropy(ensemble_log_probabilities(members)), top_k_accuracy(student, labels)),
        *(reverse_predictive_kl(members, student), pairwise_disagreement(members)),
        *agreement_per_class(student, members[0], labels),
    ]
    assert all(math.isfinite(value) for value in values)
    assert ensemble_log_probabilities(members).exp().isfinite().all()


def test_half_precision_is_computed_in_double():
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(50) % 7
    assert negative_log_likelihood(logits, labels) == negative_log_likelihood(logits.double(), labels)
    assert predictive_kl(logits[None], logits.flip(0)) == predictive_kl(logits[None].double(), logits.flip(0).double())


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 0), (2, 3, 4)])
def test_no_image_or_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"are not \(N, C\) with at least one image and class"):
        accuracy(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64))
    with pytest.raises(ValueError, match="not"):
        agreement(torch.zeros(shape), torch.zeros(shape))


def test_divergence_over_no_image_is_refused():
    with pytest.raises(ValueError, match="over no image"):
        predictive_kl(torch.zeros(2, 0, 3), torch.zeros(0, 3))


def test_top_5_is_torchmetrics():
    logits = torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(500) % 20
    expected = classification.multiclass_accuracy(logits, labels, 20, top_k=5, average="micro").item()
    assert top_k_accuracy(logits, labels) == pytest.approx(expected, abs=1e-6)
