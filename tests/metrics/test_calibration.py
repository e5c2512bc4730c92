import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from kd_sweep.metrics.calibration import expected_calibration_error, reliability


@settings(max_examples=60)
@given(
    st.integers(0, 2**31), st.integers(1, 300), st.integers(2, 12), st.sampled_from([0.3, 1.0, 2.0]), st.integers(1, 30)
)
def test_is_torchmetrics(seed, num_images, num_classes, scale, num_bins):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_images, num_classes, generator=generator, dtype=torch.float64) * scale
    labels = torch.randint(0, num_classes, (num_images,), generator=generator)
    # In single precision torchmetrics may put a confidence into the next bin, and one that rounds to 1 into a
    # bin of its own; logits of this size give none.
    expected = multiclass_calibration_error(torch.softmax(logits, 1), labels, num_classes, num_bins, norm="l1").item()
    assert expected_calibration_error(logits, labels, num_bins) == pytest.approx(expected, abs=1e-6)


def test_by_hand():
    """Two bins used: confidence 0.9 four times, right thrice; 0.6 twice, never right."""
    probabilities = torch.tensor([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 0, 0])
    expected = 4 / 6 * (0.9 - 0.75) + 2 / 6 * 0.6
    assert expected_calibration_error(probabilities.log(), labels) == pytest.approx(expected, abs=1e-12)


def test_sure_and_right_is_0_and_sure_and_wrong_is_1():
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    assert expected_calibration_error(logits, torch.tensor([0, 1])) == 0
    assert expected_calibration_error(logits, torch.tensor([1, 0])) == 1


def test_one_class_one_image_and_ties():
    assert expected_calibration_error(torch.zeros(1, 1), torch.tensor([0])) == 0
    assert expected_calibration_error(torch.zeros(4, 4), torch.arange(4)) == pytest.approx(0, abs=1e-12)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin():
    """0.5 with two bins: (0, 0.5] holds it, so 0.9 is in another bin and the errors do not cancel."""
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    expected = 0.5 * 0.5 + 0.5 * 0.9
    assert expected_calibration_error(probabilities.log(), labels, 2) == pytest.approx(expected, abs=1e-12)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(2, 12), st.integers(1, 30))
def test_reliability_is_scikit_learns_calibration_curve_and_its_distance_is_the_error(
    seed, num_images, num_classes, num_bins
):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_images, num_classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, num_classes, (num_images,), generator=generator)
    confidence_N, predicted_N = torch.softmax(logits, 1).max(1)
    accuracy, confidence = calibration_curve(predicted_N == labels, confidence_N, n_bins=num_bins)
    found = reliability(logits, labels, num_bins)
    assert [value for value in found.accuracy if value is not None] == pytest.approx(accuracy.tolist(), abs=1e-12)
    assert [value for value in found.confidence if value is not None] == pytest.approx(confidence.tolist(), abs=1e-12)
    counts = np.histogram(confidence_N, bins=np.linspace(0, 1, num_bins + 1))[0]
    assert found.num_images == counts.tolist()
    assert [value is None for value in found.accuracy] == [count == 0 for count in counts]
    pairs = zip(found.num_images, found.confidence, found.accuracy, strict=True)
    error = sum(count * abs(sure - right) for count, sure, right in pairs if count) / num_images
    assert expected_calibration_error(logits, labels, num_bins) == pytest.approx(error, abs=1e-12)
