import json

import numpy as np
import pytest
import torch
from PIL import Image

from kd_sweep.cli import main
from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST
from kd_sweep.distill.teacher_records import WEIGHTS
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import CorruptFileError, DataError, StorageError
from kd_sweep.figures.attention_sheet import attention_sheet
from kd_sweep.figures.image_sheet import CELL, sheet
from kd_sweep.figures.trial_attention import trial_attention
from kd_sweep.storage.root import Root
from kd_sweep.study.recipe import Distillation
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.trial_lookup import find_trials
from kd_sweep.tables.writer import StudyWriter
from tests.distill.trials import run, tiny_trial
from tests.latest import latest
from tests.tables.rows import trial_row


def write_study(root, *configs):
    """Run the trials and write the rows that a driver would."""
    rows = {}
    for config in configs:
        rows[config.trial_id] = run(config, root, root / "s" / CHECKPOINTS / config.trial_id)
    with StudyWriter(Root.open(root), "s") as writer:
        for number, config in enumerate(configs):
            writer.upsert_trial(trial_row(number, trial_id=config.trial_id, config=config.model_dump_json()))
    return rows


def only_trial(root, config):
    return find_trials(open_results(root), [config.trial_id])[0]


@pytest.mark.parametrize("batchnorm", ["eval", "train"])
def test_over_all_validation_images_the_overlap_is_the_trials_own(tmp_path, batchnorm):
    config = tiny_trial(ensemble_size=2, distillation=Distillation(teacher_batchnorm=batchnorm))
    row = write_study(tmp_path, config)[config.trial_id][-1]
    attention = trial_attention(only_trial(tmp_path, config), 10_000, device="cpu")
    assert attention.epoch == row["epoch"]
    assert len(attention.labels_I) == 100
    regions = attention.maps_MIHW.numpy() > config.metrics.cam_threshold

    def overlap(one, other):
        return np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(one, other, strict=True)])

    assert row["attention_iou_teachers"] == pytest.approx(overlap(regions[0], regions[1]), abs=5e-3)
    with_student = np.mean([overlap(regions[0], regions[2]), overlap(regions[1], regions[2])])
    assert row["attention_iou_student"] == pytest.approx(with_student, abs=5e-3)
    accuracy = (attention.logits_MIC[-1].argmax(1) == attention.labels_I).float().mean().item()
    assert row["val_accuracy"] == pytest.approx(accuracy, abs=0.011)


def test_images_are_selected_by_their_indices(tmp_path):
    config = tiny_trial(student={"epochs": 1})
    write_study(tmp_path, config)
    val = resident_dataset(config.data, tmp_path).val
    attention = trial_attention(only_trial(tmp_path, config), indices=[7, 3], device="cpu")
    assert torch.equal(attention.pixels_IDHW, val.images_NDHW[[7, 3]])
    assert attention.labels_I.tolist() == val.labels_N[[7, 3]].tolist()
    with pytest.raises(DataError, match="image: 100 is not a validation image of digits; 0 to 99"):
        trial_attention(only_trial(tmp_path, config), indices=[3, 100], device="cpu")


def texts_of(trials, monkeypatch):
    """The blocks of an attention sheet."""
    drawn = []
    monkeypatch.setattr("kd_sweep.figures.attention_sheet.sheet", lambda blocks: drawn.extend(blocks) or sheet(blocks))
    attention_sheet(trials)
    return drawn


def test_lines_are_those_of_logits_and_maps(tmp_path, monkeypatch):
    config = tiny_trial(ensemble_size=2, student={"epochs": 1})
    write_study(tmp_path, config)
    trial = trial_attention(only_trial(tmp_path, config), 3, device="cpu")
    images, block = texts_of([trial], monkeypatch)
    assert [cell.lines for cell in images.rows[0].cells] == [(str(label),) for label in trial.labels_I.tolist()]
    regions = trial.maps_MIHW.numpy() > 0.4
    for member, row in enumerate(block.rows[:2]):
        for image, cell in enumerate(row.cells):
            pair = regions[member, image], regions[2, image]
            value = np.logical_and(*pair).sum() / np.logical_or(*pair).sum()
            assert cell.lines[1] == f"IoU {value:.2f}"
            predicted = int(trial.logits_MIC[member, image].argmax())
            wrong = "" if predicted == trial.labels_I[image] else "wrong: "
            assert cell.lines[0].startswith(f"{wrong}{predicted} (")
    assert [row.label[0] for row in block.rows] == ["teacher 1", "teacher 2", "student"]
    assert ["grad_cam" in row.label for row in block.rows] == [True] * 3
    assert block.heading.startswith("strength 0.5, 2 teachers, seed 0, epoch 1. IoU between teachers 0.")
    assert block.heading.endswith(f"Trial {config.trial_id}")


def test_the_command_writes_a_sheet_of_several_strengths(tmp_path, capsys):
    configs = [tiny_trial(augmentation_strength=strength, student={"epochs": 1}) for strength in (0.0, 0.5)]
    write_study(tmp_path, *configs)
    out = tmp_path / "sheet.png"
    main_ids = [config.trial_id for config in configs]
    with pytest.raises(SystemExit) as end:
        main(["attention", str(tmp_path), *main_ids, "--out", str(out), "--images", "4"])
    assert not end.value.code
    assert "wrote" in capsys.readouterr().err
    with Image.open(out) as image:
        width, height = image.size
    assert width > 4 * CELL
    assert height > 5 * CELL, "the images, and for each trial a teacher and the student"
    assert json.loads(configs[0].model_dump_json()) == only_trial(tmp_path, configs[0]).config


def test_a_trial_without_a_checkpoint_is_named(tmp_path):
    config = tiny_trial(student={"epochs": 1})
    write_study(tmp_path, config)
    latest(tmp_path / "s" / CHECKPOINTS / config.trial_id, LAST).unlink()
    with pytest.raises(StorageError, match=rf"trial: {config.trial_id} is completed and has no checkpoint \("):
        trial_attention(only_trial(tmp_path, config), device="cpu")


@pytest.mark.parametrize("damage", [b"", b"no weights"])
def test_a_damaged_teacher_is_named(tmp_path, damage):
    config = tiny_trial(student={"epochs": 1})
    write_study(tmp_path, config)
    latest(tmp_path / "teachers" / config.teachers[0].teacher_id, WEIGHTS).write_bytes(damage)
    with pytest.raises(CorruptFileError, match="model-"):
        trial_attention(only_trial(tmp_path, config), device="cpu")


def test_mistakes_are_one_line(tmp_path, capsys):
    write_study(tmp_path, tiny_trial(student={"epochs": 1}))
    for arguments, message in (
        (["nothing", "--out", str(tmp_path / "a.png")], "trial: 'nothing' is no trial in"),
        (["a", "--out", str(tmp_path / "a.txt")], "is not a picture's name"),
        (["a", "--out", str(tmp_path / "b" / "a.png")], "is not a folder"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["attention", str(tmp_path), *arguments])
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
