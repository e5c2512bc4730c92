"""The oracle is NumPy on the outputs of the networks themselves, taken one image at a time."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, mutual_info_score

from kd_sweep.attention.class_activation import class_activation_maps
from kd_sweep.attention.maps import enlarged_to_unit_range
from kd_sweep.attention.regions import other_images
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.checkpoints import LAST
from kd_sweep.distill.ensembles import ensemble
from kd_sweep.distill.evaluation import checked_metrics
from kd_sweep.distill.image_means import ImageMeans
from kd_sweep.distill.teacher_records import teacher_record
from kd_sweep.distill.teachers import load_teacher
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import NonFiniteError, TrialError
from kd_sweep.networks.classifiers import build_model
from kd_sweep.storage.tensor_files import read_tensors
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.recipe import Augmentation, Metrics
from kd_sweep.study.trial import TrialConfig
from tests.distill.trials import metrics_of, run, tiny_trial
from tests.latest import latest


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def outputs(model, images_NDHW, image_size):
    """Return logits and attention regions, one image at a time."""
    logits, regions = [], []
    with torch.no_grad():
        for image_DHW in images_NDHW:
            logits_1C, features_1Dhw = model.forward_with_features(image_DHW[None])
            maps_1hw = class_activation_maps(features_1Dhw, model.classifier_weight)
            maps_1HW = enlarged_to_unit_range(maps_1hw, image_size)
            logits.append(logits_1C[0].double().numpy())
            regions.append((maps_1HW[0] > 0.4).numpy())
    return np.stack(logits), np.stack(regions)


PAIRS = ((0, 1), (0, 2), (1, 2))
"""Of three teachers."""


def overlap(first, second):
    return np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(first, second, strict=True)])


def test_a_row_says_of_the_validation_images_what_the_networks_do(tmp_path):
    config = tiny_trial(ensemble_size=3, augmentation_strength=0.0, metrics=Metrics(attention="cam", per_class=True))
    *earlier, row = run(config, tmp_path, tmp_path / "trial")
    dataset = resident_dataset(config.data, tmp_path)
    images_NDHW = (dataset.val.images_NDHW.double() / 255 - dataset.mean[0]) / dataset.std[0]
    labels_N = dataset.val.labels_N.numpy()
    student = build_model(config.student, dataset, 0).eval()
    tensors, _ = read_tensors(latest(tmp_path / "trial", LAST), kind="checkpoint")
    student.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
    student_NC, student_regions = outputs(student, images_NDHW.float(), 8)
    members = [outputs(load_teacher(t, tmp_path, device="cpu"), images_NDHW.float(), 8) for t in config.teachers]
    teacher_MNC, regions = np.stack([logits for logits, _ in members]), [region for _, region in members]

    expected = of_predictions(student_NC, teacher_MNC, labels_N) | of_attention(student_regions, regions)
    correct_N = (student_NC.argmax(1) == labels_N) & (softmax(teacher_MNC).mean(0).argmax(1) == labels_N)
    of_correct = [overlap(student_regions[correct_N], region[correct_N]) for region in regions]
    expected["attention_iou_student_correct"] = np.mean(of_correct)
    expected["generalization_gap"] = row["train_accuracy"] - expected["val_accuracy"]
    # A pixel of a map may fall on the other side of the threshold when images are taken one at a time.
    tolerance = {name: 5e-3 if name.startswith("attention") else 1e-5 for name in expected}
    assert {name: row[name] for name in expected} == {
        name: None if value is None else pytest.approx(value, abs=tolerance[name]) for name, value in expected.items()
    }
    for name, by_class in overlap_per_class(student_regions, regions, labels_N).items():
        assert row[name] == pytest.approx(by_class, abs=2e-2), name
    for name, kept in randomised(config, student, dataset, images_NDHW.float()).items():
        assert row[name] == pytest.approx(kept, abs=1e-4)  # rounding orders cells that are nearly alike
        assert [one[name] for one in earlier] == [None] * 2
    top1_MN = teacher_MNC.argmax(2)
    assert row["agreement_teachers"] == [accuracy_score(top1_MN[i], top1_MN[j]) for i, j in PAIRS]
    assert row["agreement_student"] == [accuracy_score(top1_N, student_NC.argmax(1)) for top1_N in top1_MN]
    for who, error in (("student", "ece"), ("teachers", "ece_teachers")):
        bins = np.array([row[f"reliability_{what}_{who}"] for what in ("count", "confidence", "accuracy")], dtype=float)
        counts, confidence, accuracy = bins[:, bins[0] > 0]
        assert counts.sum() == 100
        assert row[error] == pytest.approx((counts * abs(confidence - accuracy)).sum() / 100, abs=1e-12)


def of_predictions(student_NC, teacher_MNC, labels_N):
    """Return what the logits of the student and of three teachers say, by the name of the metric."""
    p_NC, q_NC = softmax(teacher_MNC).mean(0), softmax(student_NC)
    correct, top1_MN = student_NC.argmax(1) == labels_N, teacher_MNC.argmax(2)
    agree, wrong = student_NC.argmax(1) == p_NC.argmax(1), p_NC.argmax(1) != labels_N
    together = wrong & (top1_MN == top1_MN[0]).all(0)
    return {
        "fidelity_ensemble_right_val": agree[~wrong].mean(),
        "fidelity_ensemble_wrong_val": agree[wrong].mean(),
        "fidelity_ensemble_wrong_together_val": agree[together].mean() if together.any() else None,
        "fidelity_ensemble_wrong_apart_val": agree[wrong & ~together].mean(),
        "ensemble_wrong_together": together.mean(),
        "val_accuracy": correct.mean(),
        "val_augmented_accuracy": correct.mean(),
        "val_loss": -np.log(q_NC[np.arange(len(labels_N)), labels_N]).mean(),
        "val_top5_accuracy": np.mean([y in np.argsort(-z)[:5] for z, y in zip(student_NC, labels_N, strict=True)]),
        "fidelity_val": (student_NC.argmax(1) == p_NC.argmax(1)).mean(),
        "predictive_kl_val": (p_NC * np.log(p_NC / q_NC)).sum(1).mean(),
        "entropy_student": -(q_NC * np.log(q_NC)).sum(1).mean(),
        "entropy_teachers": -(p_NC * np.log(p_NC)).sum(1).mean(),
        "teacher_accuracy": (top1_MN == labels_N).mean(),
        "ensemble_accuracy": (p_NC.argmax(1) == labels_N).mean(),
        "predictive_kl_reverse_val": (q_NC * np.log(q_NC / p_NC)).sum(1).mean(),
        "mutual_information_val": mutual_info_score(student_NC.argmax(1), p_NC.argmax(1)),
        "diversity_teachers": np.mean(
            [(teacher_MNC[i].argmax(1) != teacher_MNC[j].argmax(1)).mean() for i, j in PAIRS]
        ),
    }


def of_attention(student_regions, regions):
    """Return what the regions of the student and of three teachers say, by the name of the metric."""
    expected = {
        "attention_iou_teachers": np.mean([overlap(regions[i], regions[j]) for i, j in PAIRS]),
        "attention_iou_student": np.mean([overlap(student_regions, region) for region in regions]),
        "attention_iou_student_chance": np.mean(
            [
                overlap(student_regions[own], region[other])
                for own, other in other_images(100, 2).numpy()
                for region in regions
            ]
        ),
        "attention_iou_teachers_chance": np.mean(
            [
                overlap(regions[i][indices[i]], regions[j][indices[j]])
                for indices in other_images(100, 3).numpy()
                for i, j in PAIRS
            ]
        ),
        "attention_iou_teachers_rethinkkd": np.all(regions, 0).sum() / np.any(regions, 0).sum(),
    }
    for of in ("student", "teachers"):
        iou, chance = (expected[f"attention_iou_{of}{suffix}"] for suffix in ("", "_chance"))
        expected[f"attention_overlap_{of}"] = (iou - chance) / (1 - chance)
    return expected


def overlap_per_class(student_regions, regions, labels_N):
    """Return the same by class, one image and one pair after another."""
    num_images = len(labels_N)
    same = [(n, n) for n in range(num_images)]
    of_student, of_teachers = other_images(num_images, 2).numpy(), other_images(num_images, 3).numpy()
    pairs = {
        "student": (
            [(student_regions, region, same) for region in regions],
            [(student_regions, region, list(zip(*way, strict=True))) for way in of_student for region in regions],
        ),
        "teachers": (
            [(regions[i], regions[j], same) for i, j in PAIRS],
            [(regions[i], regions[j], list(zip(way[i], way[j], strict=True))) for way in of_teachers for i, j in PAIRS],
        ),
    }

    def mean(compared, label):
        found = [
            (first[a] & second[b]).sum() / (first[a] | second[b]).sum()
            for first, second, images in compared
            for a, b in images
            if labels_N[a] == label
        ]
        return np.mean(found)

    expected = {}
    for who, (together, apart) in pairs.items():
        values = [(mean(together, label), mean(apart, label)) for label in range(10)]
        expected[f"attention_overlap_{who}_per_class"] = [(iou - chance) / (1 - chance) for iou, chance in values]
    return expected


def randomised(config, student, dataset, images_NDHW):
    """Return the rank correlations of the student's maps with those of other weights, by scipy."""
    seeds = config.init_seed, derived_seed("redrawn", config.init_seed)
    initial, redrawn = (build_model(config.student, dataset, seed).eval() for seed in seeds)

    def maps(model, classifier):
        with torch.no_grad():
            features_NDhw = model.forward_with_features(images_NDHW)[1]
        maps_Nhw = class_activation_maps(features_NDhw, classifier.classifier_weight)
        return enlarged_to_unit_range(maps_Nhw, 8).flatten(1).double().numpy()

    def correlation(other):
        return np.mean([spearmanr(a, b).statistic for a, b in zip(maps(student, student), other, strict=True)])

    return {
        "attention_randomised_classifier_student": correlation(maps(student, initial)),
        "attention_randomised_network_student": correlation(maps(redrawn, redrawn)),
    }


def test_a_metric_that_is_not_finite_names_itself_and_the_epoch():
    measured = {"attention_iou_teachers": None, **dict.fromkeys(REPORTED_METRICS, 0.5)}
    assert list(checked_metrics(measured, 3, 10)) == list(REPORTED_METRICS)
    assert checked_metrics({**measured, "attention_iou_teachers": None}, 3, 10)["attention_iou_teachers"] is None
    for value in (float("nan"), float("inf"), None):
        with pytest.raises(NonFiniteError, match=f"predictive_kl_val is {value} in epoch 3"):
            checked_metrics({**measured, "predictive_kl_val": value}, 3, 10)


@pytest.mark.parametrize(
    ("name", "value", "within"),
    [
        ("val_accuracy", 87.5, 0.875),  # percent
        ("predictive_kl_val", -0.5, -1e-9),
        ("entropy_student", 2.4, 2.3),  # log(10) is 2.303
        ("generalization_gap", -1.2, -1.0),
        ("attention_overlap_student", 1.5, -3.0),
    ],
)
def test_a_metric_outside_its_range_names_itself_the_epoch_and_the_range(name, value, within):
    measured = dict.fromkeys(REPORTED_METRICS, 0.5)
    assert checked_metrics({**measured, name: within}, 3, 10)[name] == within
    with pytest.raises(TrialError, match=f"{name} is {value} in epoch 3, outside its range"):
        checked_metrics({**measured, name: value}, 3, 10)


@pytest.mark.parametrize("sizes", [[7], [3, 1, 5], [100, 1]])
def test_means_of_parts_are_those_of_the_whole(sizes):
    values = np.random.default_rng(0).random(sum(sizes))
    means = ImageMeans()
    for part in np.split(values, np.cumsum(sizes)[:-1]):
        means.add({"x": part.mean(), "y": -part.mean()}, len(part))
    assert means.values() == {"x": pytest.approx(values.mean()), "y": pytest.approx(-values.mean())}


def test_grad_cam_changes_the_attention_metrics_and_nothing_else(tmp_path):
    cam, grad_cam = (
        run(tiny_trial(ensemble_size=2, metrics=Metrics(attention=kind), student={"epochs": 1}), tmp_path)[-1]
        for kind in ("cam", "grad_cam")
    )
    differ = {name for name in REPORTED_METRICS if cam[name] != grad_cam[name]}
    assert differ >= {"attention_iou_teachers", "attention_iou_student"}
    assert all(name.startswith("attention_") for name in differ)


def test_maps_that_are_too_many_to_hold_are_compared_to_the_same_bits(tmp_path, monkeypatch):
    config = tiny_trial(ensemble_size=3, student={"epochs": 2})
    held = run(config, tmp_path)
    monkeypatch.setattr(ensemble, "MAX_COMPARED_PIXELS", 0)
    assert metrics_of(run(config, tmp_path)) == metrics_of(held)


@pytest.mark.parametrize("pipeline", ["strength", "weak_strong", "cutmix"])
def test_affinity_and_diversity_compare_with_a_teacher_that_saw_only_clean_images(tmp_path, pipeline):
    config = tiny_trial(
        augmentation_strength=1.0,
        augmentation=Augmentation(pipeline=pipeline),
        metrics=Metrics(affinity=True),
        teacher={"epochs": 6, "batch_size": 16},
        student={"epochs": 2},
    )
    rows = run(config, tmp_path)
    without = Augmentation() if pipeline == "weak_strong" else config.augmentation  # at strength 0
    teacher = TrialConfig(data=config.data, augmentation=without, teacher=config.teacher).teachers[0]
    assert config.needed_teachers == (*config.teachers, teacher)
    model, dataset = load_teacher(teacher, tmp_path, device="cpu"), resident_dataset(config.data, tmp_path)
    stream = AugmentationStream(config.stream, dataset)
    with torch.no_grad():
        augmented = torch.cat([model(batch.images_BDHW) for batch in stream.augmented_val(1)]).argmax(1)
        clean = torch.cat([model(batch.images_BDHW) for batch in stream.clean_batches(dataset.val)]).argmax(1)
    labels = dataset.val.labels_N
    expected = accuracy_score(labels, augmented) / accuracy_score(labels, clean)
    assert [row["affinity"] for row in rows] == [pytest.approx(expected)] * 2
    assert expected < 0.95
    ours, clean_one = (teacher_record(tmp_path, t.teacher_id).history[-1] for t in (config.teachers[0], teacher))
    assert [row["diversity"] for row in rows] == [ours["train_loss"] / clean_one["train_loss"]] * 2
    assert rows[0]["diversity"] > 1.1


def test_the_strength_0_teacher_of_a_study_is_the_one_that_affinity_needs():
    clean, strong = (tiny_trial(augmentation_strength=s, metrics=Metrics(affinity=True)) for s in (0.0, 1.0))
    assert clean.needed_teachers == clean.teachers
    assert strong.reference_teacher == clean.teachers[0]
    assert tiny_trial().needed_teachers == tiny_trial().teachers


def test_fidelity_per_class_adds_up_to_fidelity(tmp_path):
    config = tiny_trial(ensemble_size=2, metrics=Metrics(per_class=True), student={"epochs": 1})
    (row,) = run(config, tmp_path)
    per_class = np.array(row["fidelity_per_class_val"])
    counts = np.bincount(resident_dataset(config.data, tmp_path).val.labels_N, minlength=10)
    assert per_class.shape == (10,)
    assert (per_class * counts).sum() / counts.sum() == pytest.approx(row["fidelity_val"])
    assert per_class.mean() == pytest.approx(row["fidelity_macro_val"])
    assert per_class.min() == row["fidelity_worst_class_val"] < per_class.max()
