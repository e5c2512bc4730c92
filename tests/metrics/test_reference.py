"""Figures computed by others, from the published code of the paper, wherever their definition is ours in another form.

The reference averages over batches, pools the IoU within one, and takes KL the other way round, times ten.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from kd_sweep.metrics.predictions import agreement, predictive_entropy, predictive_kl
from kd_sweep.vision.attention import attention_masks

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/data/rethinkkd_metric_reference.npz"
pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is absent")


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}


def batches(reference, *tensors):
    sizes = reference["batch_sizes"].tolist()
    return zip(*(tensor.split(sizes) for tensor in tensors), strict=True)


@pytest.mark.parametrize("num_teachers", [1, 2, 3])
def test_fidelity(reference, num_teachers):
    mean_logits = reference["teacher_logits"][:num_teachers].double().mean(0)
    values = [agreement(a, b) for a, b in batches(reference, mean_logits, reference["student_logits"])]
    assert np.mean(values) == pytest.approx(reference[f"expected_fidelity_{num_teachers}T_S"].item(), abs=1e-12)


def test_fidelity_between_teachers(reference):
    values = [agreement(a, b) for a, b in batches(reference, *reference["teacher_logits"][:2])]
    assert np.mean(values) == pytest.approx(reference["expected_fidelity_T1_T2"].item(), abs=1e-12)


def test_kl(reference):
    student, teachers = reference["student_logits"], reference["teacher_logits"]
    for key, one, other in (
        ("expected_kl_1T_S", teachers[0], student),
        ("expected_kl_2T_S", teachers[:2].double().mean(0), student),
        ("expected_kl_T1_T2", teachers[0], teachers[1]),
    ):
        values = [10 * predictive_kl(b[None], a) for a, b in batches(reference, one, other)]
        assert np.mean(values) == pytest.approx(reference[key].item(), abs=1e-5)


def test_entropy(reference):
    values = [predictive_entropy(logits) for (logits,) in batches(reference, reference["student_logits"])]
    assert np.mean(values) == pytest.approx(reference["expected_entropy_S"].item(), abs=1e-5)


@pytest.mark.parametrize(("key", "networks"), [("T1T2", (0, 1)), ("T1S", (0, 3)), ("T1T2T3", (0, 1, 2))])
def test_attention_regions_give_the_pooled_iou(reference, key, networks):
    """Our maps, then the reference's own way of pooling: all pixels of a batch in one intersection and one union."""
    size = reference["map_size"].item()
    regions = [
        attention_masks(reference["features"][network], reference["fc_weight"][network], size, 0.4)
        for network in networks
    ]
    values = []
    for parts in batches(reference, *regions):
        stacked = torch.stack(parts)
        values.append((stacked.all(0).sum() / stacked.any(0).sum()).item())
    value = np.average(values, weights=reference["batch_sizes"].numpy())
    assert value == pytest.approx(reference[f"expected_iou_{key}"].item(), abs=1e-7)
