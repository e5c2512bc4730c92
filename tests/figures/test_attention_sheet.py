"""Sheets of attention maps: their lines against logits and maps, and the command that writes them."""

import json

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from kd_sweep.cli import main
from kd_sweep.figures.attention_sheet import attention_sheet
from kd_sweep.figures.image_sheet import CELL, sheet
from kd_sweep.trained.trial_attention import trial_attention
from tests.distill.trials import tiny_trial
from tests.trained.studies import only_trial, write_study


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


def test_a_sheet_for_paper_has_text_as_text_and_images_of_the_resolution(tmp_path, capsys):
    config = tiny_trial(ensemble_size=2, student={"epochs": 1})
    write_study(tmp_path, config)
    files = [tmp_path / name for name in ("a.pdf", "b.pdf", "a.svg")]
    for out in files:
        with pytest.raises(SystemExit) as end:
            main(["attention", str(tmp_path), config.trial_id, "--out", str(out), "--images", "3", "--dpi", "254"])
        assert not end.value.code, capsys.readouterr().err
    assert files[0].read_bytes() == files[1].read_bytes()
    (page,) = pypdfium2.PdfDocument(files[0])
    text = " ".join(page.get_textpage().get_text_range().split())
    trial = trial_attention(only_trial(tmp_path, config), 3, device="cpu")
    for said in ("teacher 1", "teacher 2", "student", "0.4, border of the region", f"Trial {config.trial_id}"):
        assert said in text
    assert f"IoU {float(trial.iou_student_TI[0, 0]):.2f}" in text
    images = [one.get_px_size() for one in page.get_objects() if isinstance(one, pypdfium2.PdfImage)]
    assert sorted(images) == sorted([(200, 200)] * 12 + [(256, 1)])  # 20 mm at ten dots a millimetre; the scale
    with pytest.raises(SystemExit) as end:
        main(["attention", str(tmp_path), config.trial_id, "--out", str(tmp_path / "c.pdf"), "--dpi", "5"])
    assert end.value.code == 2
    assert not (tmp_path / "c.pdf").exists()


def test_mistakes_are_one_line(tmp_path, capsys):
    write_study(tmp_path, tiny_trial(student={"epochs": 1}))
    for arguments, message in (
        (["nothing", "--out", str(tmp_path / "a.png")], "trial: 'nothing' is no trial in"),
        (["a", "--out", str(tmp_path / "a.txt")], "is not the name of an image file"),
        (["a", "--out", str(tmp_path / "b" / "a.png")], "is not a folder"),
        ([tiny_trial(student={"epochs": 1}).trial_id, "--out", str(tmp_path / "a.png"), "--map", "c"], "map: 'c' "),
        (
            ["a", "--out", str(tmp_path / "a.png"), "--images", "2", "--image", "3"],
            "--images: is a number of images, and",
        ),
    ):
        with pytest.raises(SystemExit) as end:
            main(["attention", str(tmp_path), *arguments])
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
