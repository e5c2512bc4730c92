import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from kd_sweep.distill.checkpoints import LAST, read_history
from kd_sweep.distill.teacher_records import (
    BEGUN,
    RECORD,
    TEACHER_LEASE,
    WEIGHTS,
    teacher_folder,
    teacher_record,
    write_record,
)
from kd_sweep.distill.teachers import ensure_teacher, forget_teachers, load_teacher
from kd_sweep.errors import CorruptFileError, NonFiniteError
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.root import Root
from kd_sweep.storage.tensor_files import read_tensors
from kd_sweep.storage.terms import claims_on, of_term
from tests.distill.trials import DIVERGES, fork_python, run, tiny_trial
from tests.latest import latest
from tests.polling import until

TEACHER = tiny_trial().teachers[0]
LONG_TEACHER = tiny_trial(teacher={"epochs": 5}).teachers[0]

TRAIN = """
import sys
from pathlib import Path
from kd_sweep.distill.teachers import ensure_teacher
from kd_sweep.study.trial import TeacherConfig
from tests.latest import latest
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import claims_on, of_term
teacher = TeacherConfig.model_validate_json(sys.argv[1])
show = lambda row: print(row["epoch"], flush=True)
ensure_teacher(teacher, Path(sys.argv[2]), device="cpu", num_threads=1, on_epoch=show)
"""


def ensure(teacher, root, **options):
    return ensure_teacher(teacher, root, device="cpu", num_threads=1, **options).record


def folder_of(root, teacher=TEACHER):
    return teacher_folder(root, teacher.teacher_id).local_path()


def weights_of(root, teacher=TEACHER):
    return read_tensors(latest(folder_of(root, teacher), WEIGHTS), kind="teacher")[0]


def equal(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def start_training(teacher, root):
    return fork_python(TRAIN, teacher.model_dump_json(), str(root))


def test_a_finished_teacher_is_described_and_never_trained_again(tmp_path):
    rows = []
    record = ensure(TEACHER, tmp_path, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert record.sha256 == hashlib.sha256(latest(folder_of(tmp_path), WEIGHTS).read_bytes()).hexdigest()
    assert record.config == TEACHER
    assert record.epochs == 2
    assert record.val_accuracy == rows[-1]["val_accuracy"]
    assert record.train_s == pytest.approx(sum(row["epoch_s"] for row in rows))
    model = load_teacher(TEACHER, tmp_path, device="cpu")
    assert record.num_parameters == sum(weight.numel() for weight in model.parameters())
    written = {path.name for path in folder_of(tmp_path).iterdir() if not path.name.startswith(".")}
    assert {of_term(WEIGHTS, 1), of_term(RECORD, 1)} < written
    assert len(written) == 3, "and the released lease"

    assert ensure(TEACHER, tmp_path, on_epoch=rows.append) == record == teacher_record(tmp_path, TEACHER.teacher_id)
    assert len(rows) == 2


def test_the_same_teacher_has_the_same_bytes_everywhere(tmp_path):
    assert ensure(TEACHER, tmp_path / "a").sha256 == ensure(TEACHER, tmp_path / "b").sha256
    other = tiny_trial(ensemble_size=2).teachers[1]
    assert ensure(other, tmp_path / "a").sha256 != teacher_record(tmp_path / "a", TEACHER.teacher_id).sha256


def test_teachers_learn(tmp_path):
    teacher = tiny_trial(augmentation_strength=0.0, teacher={"epochs": 6, "width": 8, "batch_size": 16}).teachers[0]
    record = ensure(teacher, tmp_path)
    assert record.val_accuracy > 0.7  # chance is 0.1
    assert record.history[0]["train_loss"] > record.history[-1]["train_loss"]


@pytest.mark.slow
def test_two_processes_train_it_once(tmp_path):
    processes = [start_training(LONG_TEACHER, tmp_path) for _ in range(2)]
    printed = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert sorted(out.split() for out, _ in printed) in ([[], list("12345")], [list("12345"), []])
    assert teacher_record(tmp_path, LONG_TEACHER.teacher_id).epochs == 5


@pytest.mark.slow
def test_a_killed_training_is_taken_over_where_it_stood(tmp_path):
    first = start_training(LONG_TEACHER, tmp_path / "killed")
    assert [first.stdout.readline().strip() for _ in range(2)] == ["1", "2"]
    first.send_signal(signal.SIGSTOP)  # alive, and in nobody's way, until the second one waits
    second = start_training(LONG_TEACHER, tmp_path / "killed")
    with pytest.raises(Exception, match="timed out"):
        second.communicate(timeout=4)
    first.kill()
    first.communicate()
    out, error = second.communicate(timeout=120)
    assert second.returncode == 0, error
    done = len(json.loads(latest(folder_of(tmp_path / "killed", LONG_TEACHER), RECORD).read_text())["history"])
    assert done == 5
    assert out.split()[0] in ("3", "4")
    assert out.split()[-1] == "5"
    ensure(LONG_TEACHER, tmp_path / "whole")
    assert equal(weights_of(tmp_path / "killed", LONG_TEACHER), weights_of(tmp_path / "whole", LONG_TEACHER))


SUSPENDED = """
import functools, os, signal, socket, sys
socket.gethostname = lambda: "elsewhere"
from pathlib import Path
from kd_sweep.distill import teachers
from kd_sweep.storage.lease import Lease
from kd_sweep.study.trial import TeacherConfig
teachers.Lease.acquire = functools.partial(Lease.acquire, lease_s=1.0)
def suspend(row):
    if row["epoch"] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGSTOP)
teacher = TeacherConfig.model_validate_json(sys.argv[1])
trained = teachers.ensure_teacher(teacher, Path(sys.argv[2]), device="cpu", num_threads=1, on_epoch=suspend)
print(trained.record.pid)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suspended_after", [1, LONG_TEACHER.learner.epochs])
def test_a_trainer_that_was_suspended_and_replaced_changes_nothing(tmp_path, suspended_after):
    """Before its next checkpoint, and before it publishes."""
    first = fork_python(SUSPENDED, LONG_TEACHER.model_dump_json(), str(tmp_path), str(suspended_after))
    until(lambda: Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    record = ensure(LONG_TEACHER, tmp_path)
    folder = folder_of(tmp_path, LONG_TEACHER)
    before = {path.name: path.read_bytes() for path in folder.glob("*-*") if not path.name.startswith("lease-")}
    assert before.keys() == {of_term(WEIGHTS, 2), of_term(RECORD, 2)}
    first.send_signal(signal.SIGCONT)
    out, error = first.communicate(timeout=120)
    assert (first.returncode, out.strip()) == (0, str(os.getpid())), error
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert teacher_record(tmp_path, LONG_TEACHER.teacher_id) == record


def test_a_record_that_comes_after_another_training_has_begun_never_counts(tmp_path):
    record = ensure(TEACHER, tmp_path / "elsewhere")
    folder = teacher_folder(tmp_path, TEACHER.teacher_id)
    folder.write_bytes(of_term(BEGUN, 2), b"")
    write_record(tmp_path, record, 1)
    assert teacher_record(tmp_path, TEACHER.teacher_id) is None
    write_record(tmp_path, record.model_copy(update={"pid": 7}), 2)
    write_record(tmp_path, record, 1)
    folder.delete(of_term(BEGUN, 2))
    assert teacher_record(tmp_path, TEACHER.teacher_id).pid == 7


def test_an_error_in_the_callback_leaves_a_checkpoint_to_go_on_from(tmp_path):
    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(TEACHER, tmp_path, on_epoch=stop)
    assert teacher_record(tmp_path, TEACHER.teacher_id) is None
    assert len(read_history(Root.open(folder_of(tmp_path)))) == 1
    rows = []
    ensure(TEACHER, tmp_path, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [2]


def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(tmp_path):
    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(TEACHER, tmp_path, on_epoch=stop)
    path = latest(folder_of(tmp_path), LAST)
    path.write_bytes(path.read_bytes()[:-10])
    rows = []
    ensure(TEACHER, tmp_path, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert list(folder_of(tmp_path).glob("last-*.corrupt"))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "another teacher's", "record"])
def test_a_damaged_teacher_is_set_aside_and_trained_again(tmp_path, damage):
    ensure(TEACHER, tmp_path)
    weights, record = latest(folder_of(tmp_path), WEIGHTS), latest(folder_of(tmp_path), RECORD)
    before = weights_of(tmp_path)
    content = weights.read_bytes()
    if damage == "flipped":
        weights.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        weights.unlink()
    elif damage == "record":
        record.write_text(record.read_text()[:-40])
    else:
        other = tiny_trial(ensemble_size=2).teachers[1]
        ensure(other, tmp_path)
        weights.write_bytes(latest(folder_of(tmp_path, other), WEIGHTS).read_bytes())
    with pytest.raises(CorruptFileError, match="teacher-" if damage == "record" else "model-"):
        load_teacher(TEACHER, tmp_path, device="cpu")
    model = ensure_teacher(TEACHER, tmp_path, device="cpu", num_threads=1).network
    assert equal(weights_of(tmp_path), before)
    assert equal(dict(model.state_dict()), before)
    assert (damage == "missing") == (not list(folder_of(tmp_path).glob("model-*.corrupt")))


def test_teaching_leaves_weights_and_statistics_byte_for_byte_as_they_were(tmp_path):
    config = tiny_trial(ensemble_size=2)
    for teacher in config.teachers:
        ensure(teacher, tmp_path)
    models = [ensure_teacher(teacher, tmp_path, device="cpu", num_threads=1).network for teacher in config.teachers]
    in_memory = [{name: value.numpy().tobytes() for name, value in model.state_dict().items()} for model in models]
    on_disk = [(latest(folder_of(tmp_path, teacher), WEIGHTS)).read_bytes() for teacher in config.teachers]
    assert any(name.endswith("running_mean") for name in in_memory[0])

    run(config, tmp_path, cache_logits=False)

    for teacher, model, memory, disk in zip(config.teachers, models, in_memory, on_disk, strict=True):
        assert ensure_teacher(teacher, tmp_path, device="cpu", num_threads=1).network is model
        assert {name: value.numpy().tobytes() for name, value in model.state_dict().items()} == memory
        assert (latest(folder_of(tmp_path, teacher), WEIGHTS)).read_bytes() == disk
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_loaded_teacher_is_kept_until_it_is_forgotten(tmp_path):
    first = ensure_teacher(TEACHER, tmp_path, device="cpu", num_threads=1).network
    assert ensure_teacher(TEACHER, tmp_path, device="cpu", num_threads=1).network is first
    forget_teachers()
    assert ensure_teacher(TEACHER, tmp_path, device="cpu", num_threads=1).network is not first


def test_a_teacher_that_diverges_is_an_error_and_frees_its_lease(tmp_path):
    teacher = tiny_trial(teacher=DIVERGES).teachers[0]
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=r"the training loss is (nan|inf) in epoch 1, batch \d"):
            ensure(teacher, tmp_path)
    assert teacher_record(tmp_path, teacher.teacher_id) is None
    left = [path.name for path in folder_of(tmp_path, teacher).iterdir() if not path.name.startswith(".")]
    assert len(left) == len([*claims_on(TEACHER_LEASE, left), of_term(BEGUN, 2)]) == 2
    assert not Lease.acquire(TEACHER_LEASE, root=teacher_folder(tmp_path, teacher.teacher_id)).release()
