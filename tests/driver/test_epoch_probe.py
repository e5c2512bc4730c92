import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data.contents import check_data, count_images
from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.selection import selected_indices
from kd_sweep.driver import epoch_probe
from kd_sweep.driver.epoch_probe import seconds_per_epoch
from kd_sweep.study.recipe import Data
from kd_sweep.study.trial import TrialConfig
from tests.command_line import environment
from tests.distill.trials import tiny_trial
from tests.warm_python import WarmProcess, command_program, run_warm

UNEVEN = {"train": (90, 40, 1, 2), "val": (3, 30, 2, 1)}
"""Images of each class."""


@pytest.fixture
def folder(tmp_path):
    """Return an image folder of uneven classes, none of whose files is an image yet."""
    for part, counts in UNEVEN.items():
        for label, count in enumerate(counts):
            (tmp_path / "images" / part / str(label)).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "images" / part / str(label) / f"{number:02}.png").write_text(
                    f"no image {part} {label} {number}"
                )
    return tmp_path / "images"


def write_png(path):
    pixels = np.random.default_rng(list(str(path).encode())).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def trial_on(folder, **fields):
    data = Data(name="image_folder", path=str(folder), image_size=8, **fields)
    small = {"width": 1, "batch_size": 8}
    return tiny_trial(teacher=small, student=small).model_copy(update={"data": check_data(data)})


def test_nothing_but_the_probed_images_is_decoded(folder, monkeypatch):
    monkeypatch.setattr(epoch_probe, "PROBE_IMAGES", 12)
    # Of 133 + 36 files, those that are drawn for 12 + 12 are images.
    few = Data(name="image_folder", path=str(folder), image_size=8, max_train_images=12, max_val_images=12)
    for path in picked(few):
        write_png(path)
    assert len(load_dataset(few).train) == 12
    teacher_s, student_s = seconds_per_epoch(trial_on(folder), device="cpu", num_threads=1)
    assert teacher_s > 0
    assert student_s > 0


def picked(data):
    found = list_images(data)
    train_N, val_N = selected_indices(data, found.train.labels_N, found.val.labels_N)
    return [Path(found.train.sources[i]) for i in train_N] + [Path(found.val.sources[i]) for i in val_N]


@pytest.mark.parametrize(
    ("limits", "fields", "num_train", "num_val"),
    [
        (20, {}, 133, 36),
        (3, {}, 133, 36),  # fewer than there are classes
        (1000, {}, 133, 36),
        (20, {"max_train_images": 50, "max_val_images": 30}, 50, 30),
        (20, {"max_train_images": 10}, 10, 36),
        # int(90 * 80^(-i / 3)) is 90, 20, 4, 1, and the third class has a single image.
        (20, {"imbalance_ratio": 80.0}, 90 + 20 + 1 + 1, 36),
    ],
)
def test_times_are_scaled_by_what_is_trained_on_and_evaluated(folder, monkeypatch, limits, fields, num_train, num_val):
    """Of a machine that needs exactly 2 ms for an image to train on, 0.5 ms for one to evaluate on."""
    monkeypatch.setattr(epoch_probe, "PROBE_IMAGES", limits)
    used = []

    def counted(data):
        images = count_images(data)
        used.append((images.train, images.val))
        return images

    def ensure_teacher(teacher, root, *, on_epoch, **_):
        on_epoch({"epoch_s": 100.0})
        on_epoch({"epoch_s": 0.002 * counted(teacher.data).train})

    def trial_epochs(trial, **_):
        images = counted(trial.data)
        epoch_s = 0.002 * images.train + 0.0005 * images.val
        return iter([{"epoch_s": 1.0, "train_images_per_s": 1.0}, {"epoch_s": epoch_s, "train_images_per_s": 500.0}])

    monkeypatch.setattr(epoch_probe, "ensure_teacher", ensure_teacher)
    monkeypatch.setattr(epoch_probe, "trial_epochs", trial_epochs)
    teacher_s, student_s = seconds_per_epoch(trial_on(folder, **fields))
    assert teacher_s == pytest.approx(0.002 * num_train)
    assert student_s == pytest.approx(0.002 * num_train + 0.0005 * num_val)
    assert set(used) == {(min(num_train, max(limits, 4)), min(num_val, limits))}


@pytest.mark.parametrize("fields", [{}, {"max_train_images": 100}, {"validation_fraction": 0.5}, {"split_seed": 4}])
def test_counts_are_those_of_the_loaded_digits(fields):
    data = Data(image_size=8, **fields)
    loaded, counted = load_dataset(data), count_images(data)
    assert (counted.train, counted.val, counted.classes) == (len(loaded.train), len(loaded.val), 10)


@pytest.mark.slow
def test_the_next_probe_removes_what_a_killed_one_left(tiny, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    plans = command_program("plan", str(tiny), "--root", str(tmp_path / "r"))
    given = environment() | {"TMPDIR": str(temporary)}
    killed = WarmProcess(plans, given)
    while not list(temporary.glob("kd-sweep-probe-*/teachers")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert list(temporary.glob("kd-sweep-*"))
    assert run_warm(plans, tmp_path, given).returncode == 0
    assert list(temporary.glob("kd-sweep-*")) == []


def test_teachers_that_differ_count_as_often_as_they_have_epochs(folder, monkeypatch):
    """Of a machine that needs 1 s for an epoch of one network, and 4 s for one of the other."""
    monkeypatch.setattr(epoch_probe, "PROBE_IMAGES", 1000)
    probed = []

    def ensure_teacher(teacher, root, *, on_epoch, **_):
        probed.append(teacher.learner.model)
        on_epoch({"epoch_s": {"resnet8": 1.0, "resnet14": 4.0}[teacher.learner.model]})

    monkeypatch.setattr(epoch_probe, "ensure_teacher", ensure_teacher)
    monkeypatch.setattr(epoch_probe, "trial_epochs", lambda trial, **_: [{"epoch_s": 1.0, "train_images_per_s": 133.0}])
    first = trial_on(folder)
    members = tuple(
        first.teacher.changed({"model": name, "epochs": n}) for name, n in (("resnet8", 3), ("resnet14", 1))
    )
    trial = TrialConfig(data=first.data, teacher_strengths=(0.0,) * 3, members=(*members, members[0]))
    teacher_s, _ = seconds_per_epoch(trial)
    assert teacher_s == pytest.approx((3 * 1.0 + 1 * 4.0 + 3 * 1.0) / (3 + 1 + 3))
    assert probed == ["resnet8", "resnet14"]
