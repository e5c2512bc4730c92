"""What teachers know and see in the arms of a study, against a few lines of torch."""

import math

import pytest
import torch
from torch.nn import functional as F

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.ensembles.ensemble import Ensemble
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teacher_records import read_record
from kd_sweep.distill.teachers import ensure_teacher, load_teacher, taught_dataset
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Augmentation, Distillation, Metrics
from kd_sweep.study.trial import TeacherConfig
from tests.distill.trials import metrics_of, run, tiny_trial

ON_CPU = {"device": "cpu", "num_threads": 1}
NUM_CLASSES = 10


def trial(control="none", view="consistent", **fields):
    return tiny_trial(distillation=Distillation(teacher_control=control, teacher_view=view), **fields)


def ensemble_of(config, root, *, cache_logits=True):
    stream = AugmentationStream(config.stream, resident_dataset(config.data, root), "cpu")
    options = {"root": root, "device": torch.device("cpu"), "num_threads": 1}
    return stream, Ensemble(config, stream, LogitCache(root, enabled=cache_logits), **options)


def clean_images(dataset):
    """All training images as networks take them, by hand."""
    pixels = dataset.train.images_NDHW.double() / 255
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True, correction=0)
    return ((pixels - mean) / std).float()


def given_logits(config, root, epoch, **options):
    """Batches of the student's stream, and what teachers answer to each."""
    stream, ensemble = ensemble_of(config, root, **options)
    ensemble.ensure_trained()
    answers = ensemble.epoch(epoch)
    pairs = [(batch, answers.train_logits(batch)) for batch in stream.batches(epoch)]
    val = [answers.val_augmented_logits(batch) for batch in stream.augmented_val(epoch)]
    return pairs, val


# --- what they cost ---------------------------------------------------------------------------------------------------


def test_a_teacher_that_shares_epochs_is_one_trained_for_fewer_with_a_warmup_as_much_shorter():
    shared = Distillation(ensemble_epochs="shared")
    for size, epochs, warmup in ((1, 9, 1.5), (2, 4, 1.5 * 4 / 9), (3, 3, 0.5)):
        recipe, fewer = {"epochs": 9, "warmup_epochs": 1.5}, {"epochs": epochs, "warmup_epochs": warmup}
        found = tiny_trial(teacher=recipe, distillation=shared, ensemble_size=size)
        alike = tiny_trial(teacher=fewer, ensemble_size=size)
        assert [teacher.teacher_id for teacher in found.teachers] == [teacher.teacher_id for teacher in alike.teachers]
        assert found.trial_id not in (alike.trial_id, tiny_trial(teacher=recipe, ensemble_size=size).trial_id)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"epochs": 2}, "'shared' leaves none of 2 epochs to each of 3 teachers; possible: 3 epochs or more"),
        ({"epochs": 8, "schedule": "step", "milestones": (4,)}, "no milestones for fewer epochs; possible: schedule"),
    ],
)
def test_epochs_that_teachers_cannot_share(recipe, message):
    with pytest.raises(ValueError, match=message):
        tiny_trial(teacher=recipe, distillation=Distillation(ensemble_epochs="shared"), ensemble_size=3)


# --- what they see ----------------------------------------------------------------------------------------------------


def test_fixed_logits_are_the_teachers_logits_of_the_clean_images_in_every_epoch(tmp_path):
    config = trial(view="fixed", ensemble_size=2)
    images = clean_images(resident_dataset(config.data, tmp_path))
    expected = []
    for teacher in config.teachers:
        ensure_teacher(teacher, tmp_path, **ON_CPU)
        expected.append(load_teacher(teacher, tmp_path, device="cpu")(images))
    for epoch in (1, 2):
        for batch, logits_MBC in given_logits(config, tmp_path, epoch)[0]:
            assert logits_MBC.shape == (2, len(batch), NUM_CLASSES)
            for logits_BC, whole_NC in zip(logits_MBC, expected, strict=True):
                assert torch.allclose(logits_BC, whole_NC[batch.indices_B], atol=1e-4)


def test_independent_views_are_the_same_images_in_other_pixels_and_consistent_ones_are_the_same_pixels(tmp_path):
    config = trial(view="independent")
    dataset = resident_dataset(config.data, tmp_path)
    own, views = AugmentationStream(config.stream, dataset), AugmentationStream(config.teacher_stream, dataset)
    pairs = list(zip(own.batches(1), views.batches(1), strict=True))
    assert all(torch.equal(batch.indices_B, view.indices_B) for batch, view in pairs)
    assert all(torch.equal(batch.labels_B, view.labels_B) for batch, view in pairs)
    # An image is clean with a probability of 0 at this strength, but for what rounds to it.
    differ = torch.cat([(batch.images_BDHW != view.images_BDHW).flatten(1).any(1) for batch, view in pairs])
    assert differ.float().mean() > 0.95
    again = trial()
    assert again.teacher_stream == again.stream

    for chosen, seen in ((again, [batch for batch, _ in pairs]), (config, [view for _, view in pairs])):
        ensure_teacher(chosen.teachers[0], tmp_path, **ON_CPU)
        teacher = load_teacher(chosen.teachers[0], tmp_path, device="cpu")
        given = given_logits(chosen, tmp_path, 1)[0]
        for (_, logits_1BC), batch in zip(given, seen, strict=True):
            assert torch.equal(logits_1BC[0], teacher(batch.images_BDHW))


def test_views_are_a_function_of_seed_epoch_and_batch(tmp_path):
    dataset = resident_dataset(trial().data, tmp_path)

    def pixels(epoch, **fields):
        stream = AugmentationStream(trial(view="independent", **fields).teacher_stream, dataset)
        return torch.cat([batch.images_BDHW for batch in stream.batches(epoch)])

    assert torch.equal(pixels(1), pixels(1))
    assert not torch.equal(pixels(1), pixels(2))
    assert not torch.equal(pixels(1), pixels(1, seed=1))


@pytest.mark.parametrize("view", ["independent", "fixed"])
def test_augmented_validation_images_are_the_student_s_whatever_the_view(tmp_path, view):
    config = trial(view=view)
    pairs = [given_logits(each, tmp_path, 1, cache_logits=False)[1] for each in (trial(), config)]
    assert all(torch.equal(same, other) for same, other in zip(*pairs, strict=True))


@pytest.mark.parametrize("view", ["independent", "fixed"])
def test_a_view_changes_what_a_student_learns_the_same_with_and_without_kept_logits(tmp_path, view):
    kept = metrics_of(run(trial(view=view), tmp_path))
    assert metrics_of(run(trial(view=view), tmp_path)) == kept  # what the first has kept
    assert metrics_of(run(trial(view=view), tmp_path, cache_logits=False)) == kept
    assert metrics_of(run(trial(), tmp_path))[-1]["val_loss"] != kept[-1]["val_loss"]


@pytest.mark.parametrize("view", ["independent", "fixed"])
def test_an_interrupted_trial_goes_on_with_the_same_views(tmp_path, view):
    config = trial(view=view)
    whole = metrics_of(run(config, tmp_path))
    epochs = trial_epochs(config, root=tmp_path, checkpoint_dir=tmp_path / "t", cache_logits=False, **ON_CPU)
    first = [next(epochs)]
    epochs.close()
    assert metrics_of(first + run(config, tmp_path, tmp_path / "t", cache_logits=False)) == whole


def test_the_student_s_loss_is_against_fixed_logits(tmp_path):
    config = trial(view="fixed", student={"epochs": 1, "learning_rate": 1e-9, "batch_size": 200, "warmup_epochs": 0.0})
    row = run(config, tmp_path)[-1]
    dataset = resident_dataset(config.data, tmp_path)
    stream = AugmentationStream(config.stream, dataset)
    batch = next(stream.batches(1))
    student = build_model(config.student, dataset, config.init_seed)
    teacher = load_teacher(config.teachers[0], tmp_path, device="cpu")
    with torch.no_grad():
        logits = student.train()(batch.images_BDHW)
        targets = teacher(clean_images(dataset)[batch.indices_B])
    match = F.kl_div(
        F.log_softmax(logits / 4, 1), F.log_softmax(targets / 4, 1), log_target=True, reduction="batchmean"
    )
    expected = 0.1 * F.cross_entropy(logits, batch.labels_B) + 0.9 * 16 * match
    assert row["train_loss"] == pytest.approx(float(expected), rel=1e-4)


def test_images_that_are_mixed_have_no_fixed_logits():
    with pytest.raises(ValueError, match="teacher_view 'fixed' has no logits of images that are mixed"):
        trial(view="fixed", augmentation=Augmentation(pipeline="mixup"))
    assert trial(view="independent", augmentation=Augmentation(pipeline="mixup")).teacher_stream


# --- what they know ---------------------------------------------------------------------------------------------------


def test_shuffled_labels_are_those_of_other_images_and_one_order_for_all_teachers_of_a_seed(tmp_path):
    config = trial("shuffled_labels", ensemble_size=2)
    right = resident_dataset(config.data, tmp_path)
    first, second = (taught_dataset(teacher, right) for teacher in config.teachers)
    other = taught_dataset(trial("shuffled_labels", seed=1).teachers[0], right)
    assert torch.equal(first.train.labels_N, second.train.labels_N)
    assert not torch.equal(first.train.labels_N, other.train.labels_N)
    assert torch.equal(first.train.labels_N.sort().values, right.train.labels_N.sort().values)
    agree = (first.train.labels_N == right.train.labels_N).float().mean()
    assert agree < 0.1 + 4 * math.sqrt(0.09 / len(right.train))
    assert torch.equal(first.val.labels_N, right.val.labels_N)
    assert taught_dataset(trial().teachers[0], right) is right


def test_a_teacher_of_shuffled_labels_learns_them_by_heart_and_is_right_by_chance(tmp_path):
    recipe = {"epochs": 40, "batch_size": 20, "width": 16}
    config = trial("shuffled_labels", augmentation_strength=0.0, teacher=recipe)
    network = ensure_teacher(config.teachers[0], tmp_path, **ON_CPU).network
    right = resident_dataset(config.data, tmp_path)
    answers = network(clean_images(right)).argmax(1)
    learned = taught_dataset(config.teachers[0], right).train.labels_N
    assert (answers == learned).float().mean() > 0.9
    assert (answers == right.train.labels_N).float().mean() < 0.25
    record = read_record(tmp_path, config.teachers[0].teacher_id)
    assert record.train_accuracy > 0.8
    assert record.val_accuracy < 0.25  # of 100 images of 10 classes


def test_random_weights_are_those_that_training_would_begin_with(tmp_path):
    config = trial("random_weights", ensemble_size=2)
    dataset = resident_dataset(config.data, tmp_path)
    trained = trial(ensemble_size=2)
    for teacher, like in zip(config.teachers, trained.teachers, strict=True):
        network = ensure_teacher(teacher, tmp_path, **ON_CPU).network
        expected = build_model(like.learner, dataset, like.init_seed).state_dict()
        found = network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        record = read_record(tmp_path, teacher.teacher_id)
        assert (record.epochs, record.train_s, record.train_accuracy, record.history) == (0, 0.0, None, ())
        assert 0 <= record.val_accuracy < 0.35


def test_random_weights_are_one_teacher_whatever_the_recipe_and_the_images(tmp_path):
    first = trial("random_weights").teachers[0]
    other = trial("random_weights", teacher={"epochs": 9, "learning_rate": 0.01}, augmentation_strength=1.0).teachers[0]
    assert other == first
    assert other.teacher_id == first.teacher_id
    assert trial("random_weights", teacher={"width": 8}).teachers[0].teacher_id != first.teacher_id
    assert TeacherConfig.model_validate_json(first.model_dump_json()) == first
    assert first.epochs == 0


def test_controls_have_ids_of_their_own_and_others_keep_theirs():
    ids = [trial(control).teachers[0].teacher_id for control in ("none", "shuffled_labels", "random_weights")]
    assert len(set(ids)) == 3
    assert len({trial(view=view).trial_id for view in ("consistent", "independent", "fixed")}) == 3
    assert {trial(view=view).teachers[0].teacher_id for view in ("independent", "fixed")} == {ids[0]}
    plain = tiny_trial()
    assert (plain.trial_id, plain.teachers[0].teacher_id, plain.stream.stream_id) == (
        trial().trial_id,
        ids[0],
        trial().stream.stream_id,
    )


def test_teachers_that_know_nothing_have_no_affinity_and_need_no_reference(tmp_path):
    config = trial("random_weights", metrics=Metrics(affinity=True))
    assert [teacher.control for teacher in config.needed_teachers] == ["random_weights"]
    row = run(config, tmp_path)[-1]
    assert (row["affinity"], row["diversity"]) == (None, None)
    assert row["attention_randomised_classifier"] == pytest.approx(1.0)
