"""Against NumPy and scikit-learn on all images of the stream, batch by batch where the paper's code goes by batches."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from kd_sweep.distill import stream_meter
from kd_sweep.distill.stream_meter import StreamMeter


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def metered(split, student_NC, teacher_MNC, labels_N, batch_size=16):
    meter = StreamMeter(split)
    for indices in torch.arange(len(labels_N)).split(batch_size):
        meter.add(student_NC[indices], teacher_MNC[:, indices], labels_N[indices])
    return meter.metrics()


def drawn(num_images):
    generator = torch.Generator().manual_seed(num_images)
    student_NC, teacher_MNC = (torch.randn(*shape, num_images, 5, generator=generator) for shape in ((), (2,)))
    return student_NC, teacher_MNC, torch.arange(num_images) % 5


def by_batches(student_NC, teacher_MNC, labels_N, batches, split):
    """What the paper's code makes of these batches, each a slice of the images."""
    mean_NC, student_NC = teacher_MNC.double().numpy().mean(0), student_NC.double().numpy()
    p_NC, q_NC = softmax(mean_NC), softmax(student_NC)
    first_N, second_N = student_NC.argmax(1), mean_NC.argmax(1)
    kl_N = 10 * (q_NC * np.log(q_NC / p_NC)).sum(1)
    entropy_N = -(q_NC * np.log(q_NC)).sum(1)
    expected = {
        f"fidelity_{split}_rethinkkd": np.mean([(first_N[b] == second_N[b]).mean() for b in batches]),
        f"predictive_kl_{split}_rethinkkd": np.mean([kl_N[b].mean() for b in batches]),
        f"entropy_student_{split}_rethinkkd": np.mean([entropy_N[b].mean() for b in batches]),
        f"mutual_information_{split}_rethinkkd": np.mean([mutual_info_score(first_N[b], second_N[b]) for b in batches]),
    }
    if split == "train":
        confidence_N, correct_N = q_NC.max(1), first_N == labels_N.numpy()
        bins_N = np.ceil(confidence_N * 10)
        gaps = [
            abs(correct_N[bins_N == k].mean() - confidence_N[bins_N == k].mean()) if (bins_N == k).any() else 0
            for k in range(1, 11)
        ]
        expected["ece_train_rethinkkd"] = np.mean(gaps)
    return {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize("chunk", [1, 20, 64, 10_000])
@pytest.mark.parametrize("num_images", [90, 128, 300])
def test_metrics_do_not_depend_on_how_images_are_held(monkeypatch, num_images, chunk):
    student_NC, teacher_MNC, labels_N = drawn(num_images)
    monkeypatch.setattr(stream_meter, "CHUNK_IMAGES", chunk)
    p_NC, q_NC = softmax(teacher_MNC.double().numpy()).mean(0), softmax(student_NC.double().numpy())
    student_classes, ensemble_classes = q_NC.argmax(1), p_NC.argmax(1)
    table = contingency_matrix(student_classes, ensemble_classes, sparse=True)
    batches = [slice(first, first + 128) for first in range(0, num_images, 128)]
    assert metered("train", student_NC, teacher_MNC, labels_N) == {
        "mutual_information_train": pytest.approx(mutual_info_score(student_classes, ensemble_classes)),
        "mutual_information_train_shuffled": pytest.approx(expected_mutual_information(table, num_images)),
        "train_accuracy": pytest.approx((q_NC.argmax(1) == labels_N.numpy()).mean()),
        "fidelity_train": pytest.approx((q_NC.argmax(1) == p_NC.argmax(1)).mean()),
        "predictive_kl_train": pytest.approx((p_NC * np.log(p_NC / q_NC)).sum(1).mean()),
        **by_batches(student_NC, teacher_MNC, labels_N, batches, "train"),
    }


@pytest.mark.parametrize("chunk", [1, 64, 10_000])
@pytest.mark.parametrize("num_images", [128, 300, 511])
def test_the_papers_figures_on_augmented_validation_images_leave_out_a_last_smaller_batch(
    monkeypatch, num_images, chunk
):
    outputs = drawn(num_images)
    monkeypatch.setattr(stream_meter, "CHUNK_IMAGES", chunk)
    found = metered("val_augmented", *outputs, batch_size=100)
    batches = [slice(first, first + 128) for first in range(0, num_images - 127, 128)]
    expected = by_batches(*outputs, batches, "val_augmented")
    assert {name: value for name, value in found.items() if name.endswith("_rethinkkd")} == expected


def test_with_less_than_one_batch_of_validation_images_there_are_none():
    found = metered("val_augmented", *drawn(127))
    assert not [name for name in found if name.endswith("_rethinkkd")]
    assert 0 < found["fidelity_val_augmented"] < 1
