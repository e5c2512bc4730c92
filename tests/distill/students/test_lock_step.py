"""Students in lock step against each of them alone: rows, weights, and how often teachers look at images."""

import gc
from collections import Counter

import pytest
import torch

from kd_sweep.distill import teacher_logits
from kd_sweep.distill.checkpoints import LAST
from kd_sweep.distill.ensembles.member import Member
from kd_sweep.distill.students.lock_step import LockStepGroup
from kd_sweep.distill.students.lock_step_trials import epochs_in_lock_step
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.errors import NonFiniteError, TrialError
from kd_sweep.storage.tensor_files import read_tensors
from kd_sweep.study.recipe import Augmentation, Distillation, Metrics
from tests.catalogue_entries import own_entries
from tests.distill.students import lock_step_entries
from tests.distill.trials import metrics_of, run, tiny_trial
from tests.latest import latest

BATCH, EPOCHS = 32, 2
NUM_TRAIN, NUM_VAL = 200, 100
TEACHER = {"epochs": 1}
ON_CPU = {"device": "cpu", "num_threads": 1}


@pytest.fixture(autouse=True)
def registered():
    with own_entries():
        lock_step_entries.register_all()
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where trials find the teachers of others."""
    return tmp_path_factory.mktemp("root")


def trial(size=1, *, of=None, view="consistent", batchnorm="eval", pipeline="strength", loss=None, **student):
    """Return a trial whose student sees the stream of all of them, of a pipeline, in this file."""
    student = {"epochs": EPOCHS, "batch_size": BATCH, **student}
    if of is not None:
        student |= {"model": f"tests:{of}", "width": None}
    distillation = {"teacher_view": view, "teacher_batchnorm": batchnorm, **(loss or {})}
    return tiny_trial(
        teacher=TEACHER,
        student=student,
        ensemble_size=size,
        augmentation=Augmentation(pipeline=pipeline),
        distillation=Distillation(**distillation),
        metrics=Metrics(attention="cam"),
    )


def kinds(pipeline="strength"):
    """Return trials that differ in all that students of a stream may differ in."""
    return [
        trial(1, pipeline=pipeline, of="unruly"),
        trial(3, pipeline=pipeline, loss={"loss": "dkd", "temperature": 2.0}, optimizer="adamw", learning_rate=0.002),
        trial(2, pipeline=pipeline, loss={"loss": "mse_logits", "alpha": 0.4}, of="small", learning_rate=0.02),
        trial(2, pipeline=pipeline, view="independent", label_smoothing=0.1),
        trial(2, pipeline=pipeline, batchnorm="train", width=6),
    ]


def alone(configs, root, **options):
    """Return the rows of each trial alone, by its id."""
    return {config.trial_id: metrics_of(run(config, root, **options)) for config in configs}


def rows_of(outcomes):
    return {config_id: metrics_of(rows) for config_id, rows in outcomes.items()}


def together(configs, root, **options):
    """Return the rows of each trial in lock step, by its id, and what ended those that failed."""
    rows, failures = {config.trial_id: [] for config in configs}, {}
    for config, outcome in epochs_in_lock_step(configs, root=root, **ON_CPU, **options):
        if isinstance(outcome, Exception):
            failures[config.trial_id] = outcome
        else:
            rows[config.trial_id].append(outcome)
    return rows_of(rows), failures


def weights(folder):
    return read_tensors(latest(folder, LAST), kind="checkpoint")[0]


@pytest.mark.parametrize("is_kept", [True, False])
def test_rows_and_weights_are_those_of_each_student_alone(root, tmp_path, monkeypatch, is_kept):
    """With answers of teachers that are kept for an epoch, and with such as are too large for that."""
    monkeypatch.setattr(teacher_logits, "MAX_FILE_BYTES", 2**28 if is_kept else 0)
    configs = kinds()
    rows = {}
    for config in configs:
        rows[config.trial_id] = metrics_of(run(config, root, tmp_path / "alone" / config.trial_id))
    folders = {config.trial_id: tmp_path / "together" / config.trial_id for config in configs}
    assert together(configs, root, checkpoint_dir=lambda config: folders[config.trial_id]) == (rows, {})
    for trial_id, folder in folders.items():
        expected, found = weights(tmp_path / "alone" / trial_id), weights(folder)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_mixed_images_and_their_labels_are_the_same_too(root):
    configs = kinds("mixup")[:3]
    assert together(configs, root) == (alone(configs, root), {})


@pytest.mark.parametrize("cache_logits", [True, False])
def test_each_teacher_answers_each_batch_once_whoever_asks(root, tmp_path, monkeypatch, cache_logits):
    configs = [trial(size, of="small", loss={"alpha": alpha}) for size in (1, 3, 2) for alpha in (0.0, 0.5)]
    together(configs[:2], root)  # teachers are there
    LogitCache.forget()
    seen = Counter()

    def count(method):
        counted = getattr(Member, method)

        def counting(member, images_BDHW):
            seen[member.teacher_id, method] += len(images_BDHW)
            return counted(member, images_BDHW)

        monkeypatch.setattr(Member, method, counting)

    count("train_logits")
    count("logits")
    whole = tiny_root(tmp_path, root)
    together(configs, whole, cache_logits=cache_logits)
    teachers = [teacher.teacher_id for teacher in configs[2].teachers]
    assert seen == {
        (teacher, method): EPOCHS * count
        for teacher in teachers
        for method, count in (("train_logits", NUM_TRAIN), ("logits", NUM_VAL))
    }


def tiny_root(tmp_path, root):
    """Return a root with the teachers of another, and none of their answers."""
    (tmp_path / "teachers").symlink_to(root / "teachers")
    return tmp_path


def test_one_that_leaves_and_one_that_joins_in_the_middle_change_nothing(root, tmp_path):
    stays, leaves, joins = (trial(size, of="unruly", epochs=3, loss={"alpha": 0.5}) for size in (1, 2, 3))
    expected = alone([stays, leaves, joins], root)
    group = LockStepGroup(stays.stream, root=root, **ON_CPU)
    group.join(stays)
    group.join(leaves, tmp_path / "leaves")
    found = {config.trial_id: [] for config in (stays, leaves, joins)}

    def epoch(*running):
        outcomes = group.run_epoch()
        assert outcomes.keys() == {config.trial_id for config in running}
        for trial_id, row in outcomes.items():
            found[trial_id].append(row)

    epoch(stays, leaves)
    group.leave(leaves.trial_id)
    group.join(joins)
    epoch(joins)  # the others wait for it
    epoch(stays, joins)
    group.join(leaves, tmp_path / "leaves")  # after its checkpoint
    epoch(leaves)
    epoch(stays, leaves, joins)
    assert not group.trial_ids
    assert rows_of(found) == expected


def test_one_that_fails_is_out_and_the_others_go_on(root):
    whole = [trial(2, of="small"), trial(1)]
    raises = trial(2, of="raises")
    diverges = trial(1, learning_rate=100.0, weight_decay=10.0, warmup_epochs=0.0)
    rows, failures = together([raises, whole[0], diverges, whole[1]], root)
    assert {trial_id: rows[trial_id] for trial_id in (config.trial_id for config in whole)} == alone(whole, root)
    assert len(rows[raises.trial_id]) == 1
    assert type(failures[raises.trial_id]) is TrialError
    assert "'tests:raises' raised KeyError: 'told to'" in str(failures[raises.trial_id])
    assert type(failures.pop(diverges.trial_id)) is NonFiniteError
    assert failures.keys() == {raises.trial_id}


def test_a_group_that_memory_does_not_suffice_for_goes_on_in_smaller_ones(root, tmp_path):
    configs = [trial(1, of="large", loss={"alpha": alpha}) for alpha in (0.1, 0.2, 0.3, 0.4, 0.5)]
    expected = alone(configs, root)
    gc.collect()
    gc.disable()  # a GPU's memory does not wait for it
    try:
        assert together(configs, root, checkpoint_dir=lambda config: tmp_path / config.trial_id) == (expected, {})
        assert together(configs, root) == (expected, {})
    finally:
        gc.enable()


def test_a_student_that_has_no_memory_alone_fails_and_the_others_do_not(root, monkeypatch):
    configs = [trial(1, of="large"), trial(1, of="small")]
    expected = alone(configs[1:], root)
    monkeypatch.setattr(lock_step_entries.Large, "most", 0)
    rows, failures = together(configs, root)
    assert rows == expected | {configs[0].trial_id: []}
    assert "raised OutOfMemoryError: no memory is left" in str(failures.pop(configs[0].trial_id))
    assert not failures


def test_a_student_of_another_stream_is_refused(root):
    group = LockStepGroup(trial().stream, root=root, **ON_CPU)
    with pytest.raises(ValueError, match="sees another stream"):
        group.join(trial(batch_size=8))
    assert not group.trial_ids


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_rows_are_those_of_each_student_alone(root):
    configs = kinds()
    expected = {config.trial_id: metrics_of(run(config, root, device="cuda")) for config in configs}
    rows = {config.trial_id: [] for config in configs}
    for config, row in epochs_in_lock_step(configs, root=root, device="cuda", num_threads=1):
        rows[config.trial_id].append(row)
    assert rows_of(rows) == expected
