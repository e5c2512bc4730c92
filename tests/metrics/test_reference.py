"""Figures computed by others, with the published code of the paper: every `expected_*` of the file is reproduced."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_sweep.attention.class_activation import class_activation_maps
from kd_sweep.attention.maps import enlarged_to_unit_range
from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.attention.regions import attention_regions
from kd_sweep.metrics import paper_code

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/data/rethinkkd_metric_reference.npz"
pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is absent")


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}


def one_and_other(reference, key):
    """`2T_S`: the first two teachers against the student. `T1_T2`: teacher 2 in the student's place."""
    if key == "T1_T2":
        return reference["teacher_logits"][1], reference["teacher_logits"][:1]
    return reference["student_logits"], reference["teacher_logits"][: int(key[0])]


def regions(reference, networks):
    size = reference["map_size"].item()
    maps = [class_activation_maps(reference["features"][n], reference["fc_weight"][n]) for n in networks]
    maps_MBHW = torch.stack([enlarged_to_unit_range(maps_Bhw, size) for maps_Bhw in maps])
    return PackedRegions.of(attention_regions(maps_MBHW, 0.4))


def value_of(reference, name):
    sizes, labels = reference["batch_sizes"].tolist(), reference["labels"]
    student, teachers = reference["student_logits"], reference["teacher_logits"]
    metric, _, key = name.removeprefix("expected_").partition("_")
    if metric == "iou":
        networks = [3 if network == "S" else int(network[1]) - 1 for network in re.findall(r"T\d|S", key)]
        return paper_code.attention_iou_rethinkkd(regions(reference, networks), sizes)
    if name == "expected_kd_loss_T3_a06_mean":
        return paper_code.distillation_loss_rethinkkd(student, teachers, labels, sizes, temperature=3.0, alpha=0.6)
    if name == "expected_ece_S_10bins":
        return paper_code.ece_rethinkkd(student, labels, 10)
    if name == "expected_entropy_S":
        return paper_code.entropy_rethinkkd(student, sizes)
    functions = {
        "fidelity": paper_code.fidelity_rethinkkd,
        "kl": paper_code.predictive_kl_rethinkkd,
        "mis": paper_code.mutual_information_rethinkkd,
    }
    return functions[metric](*one_and_other(reference, key), sizes)


EXPECTED = [
    *("fidelity_1T_S", "fidelity_2T_S", "fidelity_3T_S", "fidelity_T1_T2", "kl_1T_S", "kl_2T_S", "kl_T1_T2"),
    *("entropy_S", "mis_1T_S", "mis_T1_T2", "iou_T1T2", "iou_T1S", "iou_T1T2T3", "ece_S_10bins"),
    "kd_loss_T3_a06_mean",
]


@pytest.mark.parametrize("name", EXPECTED)
def test_is_reproduced(reference, name):
    expected = reference[f"expected_{name}"].item()
    assert value_of(reference, f"expected_{name}") == pytest.approx(expected, abs=1e-5)


def test_nothing_in_the_file_is_left_out(reference):
    assert {f"expected_{name}" for name in EXPECTED} == {name for name in reference if name.startswith("expected_")}


@pytest.mark.parametrize("name", ["fidelity_2T_S", "kl_1T_S", "mis_1T_S", "entropy_S", "iou_T1T2"])
def test_batches_matter(reference, name):
    """The test above can tell these definitions from those over the whole split."""
    whole = reference | {"batch_sizes": torch.tensor([len(reference["labels"])])}
    expected = reference[f"expected_{name}"].item()
    assert value_of(whole, f"expected_{name}") != pytest.approx(expected, abs=1e-5)
