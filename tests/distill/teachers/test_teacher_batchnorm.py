"""Teachers while they teach: frozen to the byte by default, drifting as in the paper's published code on request."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.checkpoints import LAST
from kd_sweep.distill.ensembles.ensemble import Ensemble
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teacher_records import WEIGHTS
from kd_sweep.distill.teachers import ensure_teacher, load_teacher
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.storage.tensor_files import read_tensors
from kd_sweep.study.recipe import Distillation
from tests.distill.trials import metrics_of, run, tiny_trial
from tests.latest import latest

MODES = ("eval", "train")
ON_CPU = {"device": "cpu", "num_threads": 1}


def trial(mode, **fields):
    return tiny_trial(distillation=Distillation(teacher_batchnorm=mode), **fields)


def all_bytes(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def ensemble_of(config, root):
    stream = AugmentationStream(config.stream, resident_dataset(config.data, root), "cpu")
    options = {"root": root, "device": torch.device("cpu"), "num_threads": 1}
    return stream, Ensemble(config, stream, LogitCache(root), **options)


@pytest.mark.parametrize("cache_logits", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_teacher_shared_with_other_trials_is_byte_identical_after_teaching(tmp_path, mode, cache_logits):
    config = trial(mode, ensemble_size=2)
    for teacher in config.teachers:
        ensure_teacher(teacher, tmp_path, **ON_CPU)
    models = [ensure_teacher(teacher, tmp_path, **ON_CPU).network for teacher in config.teachers]
    files = [latest(tmp_path / "teachers" / teacher.teacher_id, WEIGHTS) for teacher in config.teachers]
    before = [all_bytes(model) for model in models], [file.read_bytes() for file in files]
    run(config, tmp_path, cache_logits=cache_logits)
    assert [all_bytes(model) for model in models] == before[0]
    assert [file.read_bytes() for file in files] == before[1]
    assert ensure_teacher(config.teachers[0], tmp_path, **ON_CPU).network is models[0]
    assert not any(module.training for model in models for module in model.modules())


def drifted(tmp_path, config):
    """The statistics in the trial's checkpoint, and those of the teacher as it was trained."""
    tensors, _ = read_tensors(latest(tmp_path / "trial", LAST), kind="checkpoint")
    prefix = f"drifting/teacher-{config.teachers[0].teacher_id}/"
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return found, dict(load_teacher(config.teachers[0], tmp_path, device="cpu").named_buffers())


def test_under_train_the_statistics_drift_with_every_batch(tmp_path):
    config = trial("train")
    run(config, tmp_path, tmp_path / "trial")
    after, before = drifted(tmp_path, config)
    assert after.keys() == before.keys()
    num_batches = config.student.epochs * 4  # 200 images in batches of 64
    for name, value in before.items():
        if name.endswith("num_batches_tracked"):
            assert after[name] == value + num_batches
        else:
            assert not torch.equal(after[name], value)


def test_under_eval_there_is_nothing_to_keep(tmp_path):
    config = trial("eval")
    run(config, tmp_path, tmp_path / "trial")
    assert not drifted(tmp_path, config)[0]


@pytest.mark.parametrize("mode", MODES)
def test_the_logits_that_teach_are_those_of_torch_in_that_mode(tmp_path, mode):
    config = trial(mode)
    stream, ensemble = ensemble_of(config, tmp_path)
    oracle = ensure_teacher(config.teachers[0], tmp_path, **ON_CPU).network
    weights = {name: tensor.clone() for name, tensor in oracle.state_dict().items()}
    answers = ensemble.epoch(1)
    taught = [answers.train_logits(batch)[0] for batch in stream.batches(1)]
    looked = [answers.val_augmented_logits(batch)[0] for batch in stream.augmented_val(1)]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in oracle.state_dict().items())
    with torch.no_grad():
        oracle.train(mode == "train")  # these networks have no dropout
        expected = [oracle(batch.images_BDHW) for batch in stream.batches(1)]
        oracle.eval()
        expected_looks = [oracle(batch.images_BDHW) for batch in stream.augmented_val(1)]
    for one, other in itertools.chain(zip(taught, expected, strict=True), zip(looked, expected_looks, strict=True)):
        torch.testing.assert_close(one, other)


def test_the_validation_metrics_of_drifted_teachers_are_those_of_their_new_statistics(tmp_path):
    config = trial("train", augmentation_strength=0.0)
    rows = run(config, tmp_path, tmp_path / "trial")
    model = load_teacher(config.teachers[0], tmp_path, device="cpu")
    buffers, _ = drifted(tmp_path, config)
    model.load_state_dict({**model.state_dict(), **buffers})
    dataset = resident_dataset(config.data, tmp_path)
    images = (dataset.val.images_NDHW.double() / 255 - dataset.mean[0]) / dataset.std[0]
    with torch.no_grad():
        logits = model.eval()(images.float()).double()
    entropy = -(F.softmax(logits, 1) * F.log_softmax(logits, 1)).sum(1).mean().item()
    assert rows[-1]["entropy_teachers"] == pytest.approx(entropy, abs=1e-5)
    assert len({row["entropy_teachers"] for row in rows}) == len(rows)
    frozen = run(trial("eval", augmentation_strength=0.0), tmp_path)
    assert len({row["entropy_teachers"] for row in frozen}) == 1


def test_a_trial_with_drifting_teachers_neither_reads_nor_writes_the_cache(tmp_path):
    config = trial("train", ensemble_size=2)
    expected = metrics_of(run(config, tmp_path))
    assert not (tmp_path / "logits").exists()
    run(trial("eval", ensemble_size=2), tmp_path)
    assert metrics_of(run(config, tmp_path)) == expected


def test_an_interrupted_trial_goes_on_with_its_drifted_teachers(tmp_path):
    config = trial("train", ensemble_size=2)
    expected = metrics_of(run(config, tmp_path))
    checkpoint = tmp_path / "trial"
    first = list(itertools.islice(trial_epochs(config, root=tmp_path, checkpoint_dir=checkpoint, **ON_CPU), 1))
    rest = run(config, tmp_path, checkpoint)
    assert [row["epoch"] for row in rest] == [2, 3]
    assert metrics_of(first + rest) == expected


def test_a_checkpoint_without_the_drifted_statistics_is_set_aside(tmp_path):
    frozen, drifting = trial("eval"), trial("train")
    assert frozen.trial_id != drifting.trial_id
    run(frozen, tmp_path, tmp_path / "trial")
    expected = metrics_of(run(drifting, tmp_path))
    assert metrics_of(run(drifting, tmp_path, tmp_path / "trial")) == expected
    assert list((tmp_path / "trial").glob("last-*.corrupt"))
