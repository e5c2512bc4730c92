import json
import math
import signal
from collections import Counter

import pytest
import torch

from kd_sweep.distill.checkpoints import BEST, LAST, read_header, read_history
from kd_sweep.distill.teacher_records import RECORD, teacher_folder, teacher_record
from kd_sweep.distill.teachers import ensure_teacher, forget_teachers
from kd_sweep.distill.trial import run_trial, trial_epochs
from kd_sweep.errors import NonFiniteError
from kd_sweep.storage.root import Root
from kd_sweep.storage.tensor_files import read_tensors
from kd_sweep.storage.terms import of_term
from kd_sweep.study.metric_catalogue import LIST_METRICS, METRICS_VERSION, REPORTED_METRICS, null_where
from kd_sweep.study.metric_record import Null
from kd_sweep.study.recipe import Distillation
from kd_sweep.study.spec import Objective
from tests.distill.trials import DIVERGES, fork_python, metrics_of, run, start_python, tiny_trial
from tests.latest import latest

TRIAL = """
import json, sys
from pathlib import Path
from kd_sweep.distill.trial import run_trial
from kd_sweep.study.trial import TrialConfig
from tests.latest import latest
from kd_sweep.storage.root import Root
config = TrialConfig.model_validate_json(sys.argv[1])
root = Path(sys.argv[2])
show = lambda row: print(json.dumps(row), flush=True)
run_trial(config, show, root=root, checkpoint_dir=root / "trial", device="cpu", num_threads=1)
"""


@pytest.mark.parametrize("ensemble_size", [1, 2])
def test_a_row_has_every_reported_metric(tmp_path, ensemble_size):
    config = tiny_trial(ensemble_size=ensemble_size)
    rows = run(config, tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row.keys() == {
            *REPORTED_METRICS,
            *LIST_METRICS,
            "epoch",
            "metrics_version",
            "learning_rate",
            "epoch_s",
            "train_images_per_s",
        }
        nulls = {name for name in REPORTED_METRICS if row[name] is None}
        # These trials have 100 validation images.
        expected = {"affinity", "diversity"} | null_where(Null.NO_FULL_BATCH)
        expected |= set() if row is rows[-1] else null_where(Null.NOT_LAST)
        # Whether an image is of that kind is the networks' choice.
        assert nulls - null_where(Null.NO_SUCH_IMAGE) == expected | (
            null_where(Null.ONE_TEACHER) if ensemble_size == 1 else set()
        )
        assert all(type(row[name]) is float and math.isfinite(row[name]) for name in REPORTED_METRICS.keys() - nulls)
        assert row["epoch_s"] > 0
        assert row["train_images_per_s"] > 0
        assert row["metrics_version"] == METRICS_VERSION
        assert row["generalization_gap"] == row["train_accuracy"] - row["val_accuracy"]
        assert row["generalization_gap_augmented"] == row["train_accuracy"] - row["val_augmented_accuracy"]
        json.dumps(row, allow_nan=False)
    assert rows[0]["learning_rate"] > rows[1]["learning_rate"] > rows[2]["learning_rate"] > 0


def test_without_augmentation_both_validation_streams_are_the_same_images(tmp_path):
    for row in run(tiny_trial(augmentation_strength=0.0), tmp_path):
        assert row["val_accuracy"] == row["val_augmented_accuracy"]
        assert row["fidelity_val"] == row["fidelity_val_augmented"]
        assert row["predictive_kl_val"] == row["predictive_kl_val_augmented"]


def test_two_runs_are_equal_bit_for_bit_and_another_seed_is_not(tmp_path):
    config = tiny_trial(ensemble_size=2)
    first = metrics_of(run(config, tmp_path / "a"))
    assert metrics_of(run(config, tmp_path / "b")) == first
    assert metrics_of(run(tiny_trial(ensemble_size=2, seed=1), tmp_path / "a")) != first


def test_missing_teachers_are_trained_and_ensembles_share_them(tmp_path):
    trials = [tiny_trial(ensemble_size=size) for size in (1, 2, 3)]
    run(trials[2], tmp_path)
    assert len(list((tmp_path / "teachers").iterdir())) == 3
    records = {teacher.teacher_id: teacher_record(tmp_path, teacher.teacher_id) for teacher in trials[2].teachers}
    for trial in trials:
        run(trial, tmp_path)
        assert trial.teachers == trials[2].teachers[: trial.ensemble_size]
    assert len(list((tmp_path / "teachers").iterdir())) == 3
    assert all(teacher_record(tmp_path, name) == record for name, record in records.items())


@pytest.mark.parametrize("epochs_done", [1, 2])
def test_resumes_after_the_newest_checkpoint(tmp_path, epochs_done):
    config = tiny_trial()
    expected = metrics_of(run(config, tmp_path))
    folder = tmp_path / "trial"
    epochs = trial_epochs(config, root=tmp_path, checkpoint_dir=folder, device="cpu", num_threads=1)
    first = [next(epochs) for _ in range(epochs_done)]
    epochs.close()
    assert read_history(Root.open(folder)) == first
    rest = run(config, tmp_path, folder)
    assert metrics_of(first + rest) == expected
    assert read_history(Root.open(folder)) == first + rest
    assert run(config, tmp_path, folder) == []


def test_the_checkpoint_is_on_disk_before_the_row_is_out(tmp_path):
    folder = tmp_path / "trial"
    seen = []

    def on_epoch(row):
        seen.append(row)
        assert read_history(Root.open(folder)) == seen

    run_trial(tiny_trial(), on_epoch, root=tmp_path, checkpoint_dir=folder, device="cpu", num_threads=1)
    assert len(seen) == 3


def test_a_damaged_checkpoint_is_set_aside_and_the_trial_starts_anew(tmp_path):
    config, folder = tiny_trial(), tmp_path / "trial"
    expected = metrics_of(run(config, tmp_path, folder))
    content = bytearray(latest(folder, LAST).read_bytes())
    content[-100] ^= 1
    latest(folder, LAST).write_bytes(content)
    assert metrics_of(run(config, tmp_path, folder)) == expected
    assert [path.read_bytes() for path in folder.glob("last-*.corrupt")] == [content]


UNSTEADY = {"learning_rate": 1.0, "epochs": 8, "batch_size": 16}
"""A recipe that gets better and worse."""
FIRST_IS_WORST = UNSTEADY | {"epochs": 4}
"""One whose first epoch has the largest loss."""


@pytest.mark.parametrize("mode", ["max", "min"])
def test_after_every_epoch_the_best_one_is_on_disk_once(tmp_path, mode):
    objective = Objective(metric="fidelity_val", mode=mode)
    folder, values, kept = tmp_path / "trial", [], set()
    epochs = trial_epochs(
        tiny_trial(student=UNSTEADY), root=tmp_path, checkpoint_dir=folder, device="cpu", best_by=objective
    )
    for row in epochs:
        values.append(row["fidelity_val"])
        best = 1 + values.index(max(values) if mode == "max" else min(values))  # the first of equals
        assert read_header(latest(folder, LAST)).epoch == row["epoch"]
        if best == row["epoch"]:
            assert not latest(folder, BEST).exists()
        else:
            assert read_header(latest(folder, BEST)).epoch == best
        kept.add(best)
    assert len(kept) > 1
    assert best < 8


def test_the_best_checkpoint_holds_the_weights_of_its_epoch(tmp_path):
    config, folder = tiny_trial(student=FIRST_IS_WORST), tmp_path / "trial"
    run(
        config, tmp_path, folder, best_by=Objective(metric="train_loss", mode="max")
    )  # the first epoch's is the largest
    stopped = trial_epochs(config, root=tmp_path, checkpoint_dir=tmp_path / "short", device="cpu", num_threads=1)
    next(stopped)
    best, first = (
        read_tensors(path, kind="checkpoint")[0] for path in (latest(folder, BEST), latest(tmp_path / "short", LAST))
    )
    assert best.keys() == first.keys()
    assert all(torch.equal(best[name], first[name]) for name in best)


def test_a_trial_whose_newest_checkpoint_is_damaged_goes_on_from_its_best(tmp_path):
    config, folder = tiny_trial(student=FIRST_IS_WORST), tmp_path / "trial"
    by_loss = Objective(metric="train_loss", mode="max")
    rows = run(config, tmp_path, folder, best_by=by_loss)
    assert read_header(latest(folder, BEST)).epoch == 1
    latest(folder, LAST).write_bytes(latest(folder, LAST).read_bytes()[:-5])
    again = run(config, tmp_path, folder, best_by=by_loss)
    assert metrics_of(again) == metrics_of(rows[1:])
    assert read_header(latest(folder, BEST)).epoch == 1
    assert list(folder.glob("last-*.corrupt"))


def test_both_checkpoints_damaged(tmp_path):
    config, folder = tiny_trial(student=FIRST_IS_WORST), tmp_path / "trial"
    by_loss = Objective(metric="train_loss", mode="max")
    rows = run(config, tmp_path, folder, best_by=by_loss)
    for name in (BEST, LAST):
        latest(folder, name).write_bytes(latest(folder, name).read_bytes()[:-5])
    assert metrics_of(run(config, tmp_path, folder, best_by=by_loss)) == metrics_of(rows)


def test_without_an_objective_the_best_checkpoint_goes(tmp_path):
    config, folder = tiny_trial(student=FIRST_IS_WORST), tmp_path / "trial"
    epochs = trial_epochs(
        config, root=tmp_path, checkpoint_dir=folder, device="cpu", best_by=Objective(metric="train_loss", mode="max")
    )
    for _ in range(3):
        next(epochs)
    assert latest(folder, BEST).exists()
    run(config, tmp_path, folder)
    assert [path.name for path in folder.glob("*.*")] == [latest(folder, LAST).name]


def test_a_process_that_trains_loads_nothing_that_takes_long_and_is_not_needed(tmp_path):
    """Each worker would take the time again: what compiles networks, networks of libraries, readers of other data."""
    program = f"{TRIAL}\nprint(*sys.modules, file=sys.stderr)"
    process = start_python(program, tiny_trial(student={"epochs": 1}).model_dump_json(), str(tmp_path))
    rows, modules = process.communicate(timeout=120)
    assert len(rows.splitlines()) == 1
    loaded = set(modules.split())
    assert "torch.optim" in loaded
    assert not loaded & {
        "torch._dynamo",
        "torch._inductor",
        "sympy",
        "torchvision",
        "timm",
        "kornia",
        "sklearn",
        "pandas",
        "PIL",
    }


@pytest.mark.slow
def test_a_trial_killed_at_any_moment_and_resumed_equals_one_that_was_not(tmp_path):
    config = tiny_trial(ensemble_size=2, student={"epochs": 4})
    expected = metrics_of(run(config, tmp_path / "whole"))
    root = tmp_path / "killed"
    for kill_after in (0, 1, 2):  # 0: before the first row, while teachers are trained
        process = fork_python(TRIAL, config.model_dump_json(), str(root))
        if kill_after == 0:
            while not list(root.glob("teachers/*/last-*.safetensors")):
                assert process.poll() is None, process.communicate()
        for _ in range(min(kill_after, 1)):
            assert process.stdout.readline(), process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = read_history(Root.open(root / "trial"))
    assert 2 <= len(done) <= 4
    rest = run(config, root, root / "trial")
    assert metrics_of(done + rest) == expected


def test_a_student_that_diverges_is_an_error_that_names_epoch_and_batch(tmp_path):
    config = tiny_trial(student=DIVERGES)
    with pytest.raises(NonFiniteError, match=r"in epoch 1, batch \d"):
        run(config, tmp_path, tmp_path / "trial")
    assert not latest(tmp_path / "trial", LAST).exists()


@pytest.mark.parametrize(
    "fields",
    [{"loss": "mse_logits", "alpha": 0.0}, {"alpha": 1.0}, {"loss": "dkd"}, {"ensemble_reducer": "probabilities"}],
)
def test_other_losses(tmp_path, fields):
    config = tiny_trial(distillation=Distillation(**fields), student={"epochs": 6, "batch_size": 16})
    rows = run(config, tmp_path)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_a_student_without_teachers_is_the_same_whoever_they_are(tmp_path):
    """The baseline arm: the teachers are only compared with, so weights and accuracies do not depend on them."""
    baseline = Distillation(loss="none")
    one, two = (run(tiny_trial(distillation=baseline, ensemble_size=size), tmp_path) for size in (1, 2))
    own = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "entropy_student", "ece")
    assert [[row[name] for name in own] for row in one] == [[row[name] for name in own] for row in two]
    assert one[-1]["predictive_kl_val"] != two[-1]["predictive_kl_val"]


def test_a_student_follows_its_teachers(tmp_path):
    learner = {"epochs": 8, "width": 8, "batch_size": 16}
    config = tiny_trial(augmentation_strength=0.0, ensemble_size=2, teacher=learner, student=learner)
    rows = run(config, tmp_path)
    assert rows[-1]["val_accuracy"] > 0.7  # chance is 0.1
    assert rows[-1]["fidelity_val"] > 0.7
    assert rows[-1]["predictive_kl_train"] < rows[0]["predictive_kl_train"]


def test_networks_made_for_224_pixels_at_32(tmp_path):
    """One of residual blocks teaches one made for phones."""
    config = tiny_trial(
        teacher={"model": "timm:test_resnet", "width": None, "stem": "small", "epochs": 1},
        student={"model": "shufflenet_v2_x0_5", "width": None, "stem": "small", "epochs": 1},
    )
    pytest.importorskip("timm")
    config = config.model_copy(update={"data": config.data.model_copy(update={"image_size": 32})})
    (row,) = run(config, tmp_path)
    assert 0 < row["attention_iou_student"] < 1


@pytest.mark.parametrize("is_there", [True, False])
def test_a_trial_reads_each_teachers_record_once(tmp_path, monkeypatch, is_there):
    """Not at all where it trains the teacher itself: it has written the record."""
    config = tiny_trial(ensemble_size=2, metrics={"affinity": True})
    if is_there:
        for teacher in config.needed_teachers:
            ensure_teacher(teacher, tmp_path, device="cpu", num_threads=1)
    forget_teachers()
    reads = Counter()
    reading = Root.reading

    def counted(root, name):
        reads[root.location_of(name)] += 1
        return reading(root, name)

    monkeypatch.setattr(Root, "reading", counted)
    assert len(run(config, tmp_path, cache_logits=False)) == config.student.epochs
    records = [teacher_folder(tmp_path, t.teacher_id).location_of(of_term(RECORD, 1)) for t in config.needed_teachers]
    assert len(records) == 3
    assert {record: reads[record] for record in records} == dict.fromkeys(records, int(is_there))
