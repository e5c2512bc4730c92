"""Trials whose images are mixed: what labels count for, in teachers and students, and that nothing else changes."""

import pytest
import torch
import torch.nn.functional as F

from kd_sweep.augmentation.mixing import Partners
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.distillation_loss import distillation_loss, label_loss
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teachers import ensure_teacher
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.networks.classifiers import initial_model
from kd_sweep.study.recipe import Augmentation, Distillation, Metrics
from tests.distill.trials import metrics_of, run, tiny_trial

MIXINGS = ("mixup", "cutmix")


def mixed_label(labels_B, partners, num_classes):
    own_BC, other_BC = (F.one_hot(each_B, num_classes) for each_B in (labels_B, partners.labels_B))
    share_B1 = partners.share_B[:, None]
    return (1 - share_B1) * own_BC + share_B1 * other_BC


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits_BC = torch.randn(6, 5, dtype=torch.float64, generator=generator) * 3
    teacher_MBC = torch.randn(2, 6, 5, dtype=torch.float64, generator=generator) * 3
    labels_B = torch.tensor([0, 1, 2, 3, 4, 0])
    share_B = torch.tensor([0.0, 0.5, 0.1, 0.25, 0.3, 0.4], dtype=torch.float64)
    return logits_BC, teacher_MBC, labels_B, Partners(torch.tensor([1, 1, 0, 4, 2, 3]), share_B)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_with_the_mixed_label(case, smoothing):
    logits_BC, _, labels_B, partners = case
    expected = F.cross_entropy(logits_BC, mixed_label(labels_B, partners, 5), label_smoothing=smoothing)
    torch.testing.assert_close(label_loss(logits_BC, labels_B, smoothing, partners), expected)
    logits_BC.requires_grad_()
    ours, theirs = (
        torch.autograd.grad(loss, logits_BC)[0]
        for loss in (
            label_loss(logits_BC, labels_B, smoothing, partners),
            F.cross_entropy(logits_BC, mixed_label(labels_B, partners, 5), label_smoothing=smoothing),
        )
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("loss", ["kl", "mse_logits", "dkd", "none"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_partners_change_the_part_of_the_label_alone(case, loss, alpha):
    logits_BC, teacher_MBC, labels_B, partners = case
    spec = Distillation(loss=loss, alpha=alpha)
    mixed, plain = (distillation_loss(logits_BC, teacher_MBC, labels_B, spec, 0.1, p) for p in (partners, None))
    weight = 1.0 if loss == "none" else alpha
    hard_mixed = F.cross_entropy(logits_BC, mixed_label(labels_B, partners, 5), label_smoothing=0.1)
    hard_plain = F.cross_entropy(logits_BC, labels_B, label_smoothing=0.1)
    torch.testing.assert_close(mixed - plain, weight * (hard_mixed - hard_plain))


@pytest.mark.parametrize("pipeline", MIXINGS)
def test_teacher_and_student_start_at_the_loss_of_mixed_labels(tmp_path, pipeline):
    """In one epoch of one batch the loss is that of the initial weights."""
    learner = {"epochs": 1, "batch_size": 200, "label_smoothing": 0.1}
    config = tiny_trial(
        augmentation=Augmentation(pipeline=pipeline),
        augmentation_strength=1.0,
        distillation=Distillation(alpha=1.0),
        teacher=learner,
        student=learner,
    )
    teacher = config.teachers[0]
    record = ensure_teacher(teacher, tmp_path, device="cpu", num_threads=1).record
    (row,) = run(config, tmp_path)
    dataset = resident_dataset(config.data, tmp_path)
    for loss, accuracy, stream, seed in (
        (record.history[0]["train_loss"], record.train_accuracy, teacher.stream, teacher.init_seed),
        (row["train_loss"], row["train_accuracy"], config.stream, config.init_seed),
    ):
        (batch,) = AugmentationStream(stream, dataset).batches(1)
        assert len(batch) == 200
        with torch.no_grad():
            logits_BC = initial_model(config.student, dataset, seed).train()(batch.images_BDHW)
        target_BC = mixed_label(batch.labels_B, batch.partners, 10)
        expected = F.cross_entropy(logits_BC, target_BC, label_smoothing=0.1).item()
        assert loss == pytest.approx(expected, rel=1e-5)
        assert loss != pytest.approx(F.cross_entropy(logits_BC, batch.labels_B, label_smoothing=0.1).item(), rel=1e-5)
        assert accuracy == pytest.approx((logits_BC.argmax(1) == batch.labels_B).float().mean().item())


@pytest.mark.parametrize("pipeline", MIXINGS)
def test_rows_are_equal_with_and_without_cached_logits_and_after_a_resume(tmp_path, pipeline):
    config = tiny_trial(
        augmentation=Augmentation(pipeline=pipeline),
        augmentation_strength=0.8,
        ensemble_size=2,
        student={"epochs": 2},
        distillation=Distillation(loss="dkd", alpha=0.5),
        metrics=Metrics(affinity=True),
    )
    expected = metrics_of(run(config, tmp_path, cache_logits=False))
    assert not (tmp_path / "logits").exists()
    assert metrics_of(run(config, tmp_path)) == expected  # writes them
    LogitCache.forget()
    assert metrics_of(run(config, tmp_path)) == expected  # reads them
    assert len(list((tmp_path / "logits").rglob(f"{config.stream.stream_id}/*"))) == 2 * 2

    folder = tmp_path / "trial"
    started = trial_epochs(config, root=tmp_path, checkpoint_dir=folder, device="cpu", num_threads=1)
    first = [next(started)]
    started.close()
    assert metrics_of(first + run(config, tmp_path, folder)) == expected


def test_a_mixed_trial_is_another_trial_with_other_teachers():
    plain, mixed, cut = (tiny_trial(augmentation=Augmentation(pipeline=name)) for name in ("strength", *MIXINGS))
    assert len({trial.trial_id for trial in (plain, mixed, cut)}) == 3
    assert len({trial.teachers[0].teacher_id for trial in (plain, mixed, cut)}) == 3
    assert len({trial.stream.stream_id for trial in (plain, mixed, cut)}) == 3


def test_students_learn_from_mixed_images(tmp_path):
    learner = {"epochs": 8, "width": 8, "batch_size": 16}
    config = tiny_trial(
        augmentation=Augmentation(pipeline="cutmix"),
        augmentation_strength=1.0,
        ensemble_size=2,
        distillation=Distillation(alpha=0.5),
        teacher=learner,
        student=learner,
    )
    rows = run(config, tmp_path)
    assert rows[-1]["val_accuracy"] > 0.6  # chance is 0.1
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["val_augmented_accuracy"] < rows[-1]["val_accuracy"]
