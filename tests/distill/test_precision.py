"""Mixed precision: what is computed in bfloat16, and what is not."""

import itertools

import pytest
import torch

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.compute import forward
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teachers import load_teacher
from kd_sweep.distill.training import train_epoch
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Learner
from kd_sweep.study.trial import TrialConfig
from tests.distill.trials import metrics_of, run, tiny_trial

MIXED = {"precision": "bfloat16"}


@pytest.fixture
def stream():
    config = tiny_trial()
    return AugmentationStream(config.stream, resident_dataset(config.data, "unused"))


def test_a_forward_pass_is_torchs_autocast_and_its_logits_are_float32(stream):
    model = build_model(Learner(width=4), stream.dataset, 0)
    images = next(iter(stream.batches(1))).images_BDHW
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(images)
    assert expected.dtype == torch.bfloat16
    mixed, full = forward(model, images, "bfloat16"), forward(model, images, "float32")
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, expected.float())
    assert torch.equal(full, model(images))
    assert not torch.equal(mixed, full)
    torch.testing.assert_close(mixed, full, rtol=0.05, atol=0.05)


def test_weights_gradients_and_losses_stay_float32(stream):
    model = build_model(Learner(width=4), stream.dataset, 0)
    seen = []

    def batch_loss(logits_BC, batch):
        loss = torch.nn.functional.cross_entropy(logits_BC, batch.labels_B)
        seen.extend((logits_BC.dtype, loss.dtype))
        return loss

    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train_epoch(model, optimizer, stream.batches(1), batch_loss, lambda step: 0.1, 1, "bfloat16")
    momenta = [state["momentum_buffer"].dtype for state in optimizer.state.values()]
    dtypes = [parameter.grad.dtype for parameter in model.parameters()]
    assert {*seen, *momenta, *dtypes} == {torch.float32}
    floats = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.float32}


def test_the_precision_is_part_of_the_recipe_and_its_default_is_not():
    plain = TrialConfig()
    spelt = TrialConfig(teacher=Learner(precision="float32"), student=Learner(precision="float32"))
    assert spelt.trial_id == plain.trial_id
    mixed_teacher, mixed_student = TrialConfig(teacher=Learner(**MIXED)), TrialConfig(student=Learner(**MIXED))
    assert len({plain.trial_id, mixed_teacher.trial_id, mixed_student.trial_id}) == 3
    assert mixed_teacher.teachers[0].teacher_id != plain.teachers[0].teacher_id
    assert mixed_student.teachers[0].teacher_id == plain.teachers[0].teacher_id


def test_a_trial_is_the_same_with_a_cache_without_it_and_after_an_interruption(tmp_path):
    config = tiny_trial(ensemble_size=2, teacher=MIXED, student=MIXED)
    expected = metrics_of(run(config, tmp_path, cache_logits=False))
    assert expected != metrics_of(run(tiny_trial(ensemble_size=2), tmp_path))
    assert metrics_of(run(config, tmp_path)) == expected  # fills the cache
    LogitCache.forget()
    assert metrics_of(run(config, tmp_path)) == expected  # from disk
    options = {"root": tmp_path, "checkpoint_dir": tmp_path / "trial", "device": "cpu", "num_threads": 1}
    first = list(itertools.islice(trial_epochs(config, **options), 1))
    assert metrics_of(first + list(trial_epochs(config, **options))) == expected


def test_teachers_teach_in_their_precision_and_are_measured_in_float32(tmp_path):
    config = tiny_trial(teacher=MIXED, student={"epochs": 1})
    run(config, tmp_path)
    (teacher,) = config.teachers
    dataset = resident_dataset(config.data, tmp_path)
    stream = AugmentationStream(config.stream, dataset)
    kept = LogitCache(tmp_path).epoch(teacher.teacher_id, config.stream.stream_id, 1, (200, 100, 10))
    clean = LogitCache(tmp_path).clean(teacher.teacher_id, config.metrics.attention, (100, 10))
    network = load_teacher(teacher, tmp_path, device="cpu")

    def logits(batches, precision):
        with torch.no_grad():
            return torch.cat([forward(network, batch.images_BDHW, precision) for batch in batches])

    assert torch.equal(kept.train_NC, logits(stream.batches(1), "bfloat16"))
    assert torch.equal(kept.val_augmented_VC, logits(stream.augmented_val(1), "float32"))
    assert torch.equal(clean.logits_VC, logits(stream.clean_batches(dataset.val), "float32"))
