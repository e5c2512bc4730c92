"""What a notebook holds of results: what it gives, what it shows, and the one line for what it cannot give."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kd_sweep
from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.distill.teacher_records import WEIGHTS
from kd_sweep.errors import CorruptFileError, DataError, KdSweepError, QueryError, SpecError, StorageError
from kd_sweep.handles.root_results import RootResults
from kd_sweep.handles.trial_results import TrialResults
from kd_sweep.storage.root import Root
from kd_sweep.study.file.load import parse_spec
from kd_sweep.tables.writer import StudyWriter
from tests.latest import latest
from tests.shown_html import ShownHtml
from tests.tables.rows import trial_row
from tests.trained_studies import train_study
from tests.warm_python import run_warm

STUDY = """
name: digits
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 1}
student: {model: resnet8, width: 4, epochs: 2}
search: {ensemble_size: {grid: [1, 2]}, student.learning_rate: {grid: [0.1, 0.2]}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of one study of four trials. Read it only."""
    root = tmp_path_factory.mktemp("handles")
    train_study(root, STUDY)
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "root")


def two_teachers(root: Path) -> TrialResults:
    return next(trial for trial in kd_sweep.open_results(root)["digits"] if trial.settings["ensemble_size"] == 2)


def one_line(error: KdSweepError) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_a_root_is_a_mapping_of_its_studies(trained: Path) -> None:
    results = kd_sweep.open_results(trained)
    assert isinstance(results, RootResults)
    assert (list(results), len(results), "digits" in results, "other" in results) == (["digits"], 1, True, False)
    assert results["digits"].name == kd_sweep.open_results(trained / "digits")["digits"].name == "digits"
    with pytest.raises(QueryError, match=r"study: 'digit' is not in .*; did you mean 'digits'\?"):
        results["digit"]


def test_a_study_has_its_spec_its_tables_and_its_trials(trained: Path) -> None:
    study = kd_sweep.open_results(trained)["digits"]
    assert study.spec == parse_spec(STUDY, "s.yaml")
    rows = study.table("trials").to_pylist()
    assert [trial.row for trial in study.trials()] == rows == [trial.row for trial in study]
    assert (len(study), study.trials("failed"), len(study.trials("completed"))) == (4, [], 4)
    assert study.sql("SELECT count(*) AS n FROM epochs")["n"].to_pylist() == [8]
    best = study.best_trial()
    assert best.row["val_accuracy"] == max(row["val_accuracy"] for row in rows)
    for row in rows:
        assert study.trial(row["trial_id"]).row == study.trial(row["trial_id"][:12]).row == row
    with pytest.raises(QueryError, match="trial: 'nothing' is no trial in"):
        study.trial("nothing")


def test_a_study_is_itself_alone_in_a_root_of_several(root: Path) -> None:
    with StudyWriter(Root.open(root), "other") as writer:
        writer.upsert_trial(trial_row(0, augmentation_pipeline="mixup"))
    results = kd_sweep.open_results(root)
    assert results.table("trials").num_rows == 5
    assert results["digits"].table("trials").num_rows == 4
    assert set(results["digits"].trials()[0].settings) == {
        *("augmentation_strength", "ensemble_size", "seed", "student_learning_rate"),
    }
    with pytest.raises(QueryError, match="no trial of other has a value of its objective yet"):
        results["other"].best_trial()
    with pytest.raises(StorageError, match=r"other: is not a study, it has no study\.yaml"):
        results["other"].spec  # noqa: B018


def test_views_are_of_the_study_or_of_all(root: Path) -> None:
    results = kd_sweep.open_results(root)
    study = results.studies()[0]
    epochs = results[study].table("epochs").to_pandas()
    found = results[study].view("bands", metric="val_loss", by=[], quantiles=[0, 1]).to_pandas()
    assert found["q1"].to_list() == epochs.groupby("epoch")["val_loss"].max().to_list()
    assert set(results.view("progress")["study"].to_pylist()) == set(results)
    with pytest.raises(QueryError, match="'bandz' is not a named query; did you mean 'bands'"):
        results[study].view("bandz")


def test_a_trial_has_its_row_configuration_and_epochs(trained: Path) -> None:
    trial = two_teachers(trained)
    assert (trial.study, trial.status, trial.trial_id) == ("digits", "completed", trial.config.trial_id)
    assert trial.settings["student_learning_rate"] == trial.config.student.learning_rate
    epochs = trial.epochs()
    assert epochs["epoch"].to_pylist() == [1, 2]
    assert set(epochs["trial_id"].to_pylist()) == {trial.trial_id}
    assert epochs["val_accuracy"].to_pylist()[-1] == trial.row["val_accuracy"]
    assert epochs.schema.equals(kd_sweep.open_results(trained).table("epochs").schema)


def test_its_networks_take_what_its_preprocessing_gives(trained: Path) -> None:
    trial = two_teachers(trained)
    image = Image.fromarray(np.full((8, 8), 255, dtype=np.uint8))
    one_1DHW = trial.preprocess(image)
    assert one_1DHW.shape == (1, 1, 8, 8)
    several_BDHW = trial.preprocess([image, image.convert("RGB"), image.resize((30, 20))])
    assert several_BDHW.shape == (3, 1, 8, 8)
    assert torch.equal(several_BDHW[:1], one_1DHW)
    student, teachers = trial.student(), trial.teachers()
    assert isinstance(teachers, tuple)
    assert len(teachers) == 2
    assert [network(several_BDHW).shape for network in (student, *teachers)] == [(3, 10)] * 3
    assert not torch.equal(teachers[0](one_1DHW), teachers[1](one_1DHW))
    with torch.no_grad():
        next(student.parameters()).fill_(0.0)
    assert not torch.equal(trial.student()(one_1DHW), student(one_1DHW)), "each call returns a network of its own"
    for wrong in (None, 3, [], np.zeros((8, 8))):
        with pytest.raises(DataError, match="is no image; possible: an image of Pillow") as caught:
            trial.preprocess(wrong)
        one_line(caught.value)


def test_attention_is_data_and_agrees_with_the_row(trained: Path) -> None:
    trial = two_teachers(trained)
    attention = trial.attention(100, device="cpu")
    assert attention.iou_student_TI.shape == (2, 100)
    assert attention.iou_teachers_PI.shape == (1, 100)
    assert float(attention.iou_student_TI.mean()) == pytest.approx(trial.row["attention_iou_student"], abs=5e-3)
    assert float(attention.iou_teachers_PI.mean()) == pytest.approx(trial.row["attention_iou_teachers"], abs=5e-3)
    few = trial.attention([7, 3], epoch="best", device="cpu")
    assert (few.epoch, few.indices_I.tolist()) == (trial.row["best_epoch"], [7, 3])
    regions = few.maps_MIHW.numpy() > trial.config.metrics.cam_threshold
    rows = few.table().to_pylist()
    assert [(row["image"], row["network"]) for row in rows] == [
        (image, network) for image in (7, 3) for network in ("teacher 1", "teacher 2", "student")
    ]
    for position, row in enumerate(rows):
        image, network = divmod(position, 3)
        assert row["label"] == str(int(few.labels_I[image]))
        assert row["predicted"] == str(int(few.logits_MIC[network, image].argmax()))
        if network < 2:
            one, student = regions[network, image], regions[2, image]
            assert row["iou_student"] == pytest.approx((one & student).sum() / (one | student).sum())
    assert [row["iou_student"] for row in rows[2::3]] == [None, None]
    for wrong, reason in ((0, "images: 0 is not at least 1"), ([], "images: there is none"), ([100], "0 to 99")):
        with pytest.raises(DataError, match=reason):
            trial.attention(wrong)


def test_what_notebooks_show_is_short_and_escaped(root: Path) -> None:
    with StudyWriter(Root.open(root), "other") as writer:
        writer.upsert_trial(trial_row(0, status="failed", error="<script>alert(1)</script> & more"))
    results = kd_sweep.open_results(root)
    trial = two_teachers(root)
    attention = trial.attention(3, device="cpu")
    failed = results["other"].trials()[0]
    shown = (results, results["digits"], trial, failed, trial.preprocess, attention)
    for thing in shown:
        html = ShownHtml(thing._repr_html_())
        assert set(html.tags) <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "img"}
        assert len(html.texts) < 250
        assert repr(thing).startswith("<")
        assert repr(thing).endswith(">")
        assert len(repr(thing)) < 250
        assert "\n" not in repr(thing)
    assert "<script>alert(1)</script> & more" in ShownHtml(failed._repr_html_()).texts
    assert f"trial {trial.trial_id} of study digits" in ShownHtml(trial._repr_html_()).texts
    assert "4 of 4 trials done" in repr(results["digits"])
    picture = attention._repr_html_().partition("base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(picture))) as sheet:
        assert sheet.size == attention.sheet().size


def test_what_cannot_be_given_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = two_teachers(root)
    with pytest.raises(QueryError, match="possible: last, best, 1 to 2"):
        trial.student(3)
    latest(root / "teachers" / trial.config.teachers[1].teacher_id, WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(CorruptFileError, match="model-") as damaged:
        trial.teachers()
    one_line(damaged.value)
    assert trial.student() is not None
    shutil.rmtree(root / "digits" / CHECKPOINTS / trial.trial_id)
    for call in (trial.student, trial.attention):
        with pytest.raises(KdSweepError) as missing:
            call()
        one_line(missing.value)
    with pytest.raises(StorageError, match="was written by a version of kd_sweep whose trials have other fields"):
        kd_sweep.open_results(with_config(root, {"old": 1}))["s"].trials()[0].student()
    monkeypatch.setitem(sys.modules, "timm", None)
    config = json.loads(trial.row["config"])
    config["student"] |= {"model": "timm:test_vit", "width": None}
    with pytest.raises(SpecError, match="timm") as absent:
        kd_sweep.open_results(with_config(root, config))["s"].trials()[0].student()
    one_line(absent.value)


def with_config(root: Path, config: dict[str, object]) -> Path:
    """The root of a trial with this configuration, of which nothing but the row is there."""
    other = root.parent / f"other-{len(config)}"
    with StudyWriter(Root.open(other), "s") as writer:
        writer.upsert_trial(trial_row(0, config=json.dumps(config), last_epoch=1))
    return other


def test_torch_is_loaded_when_a_network_is_asked_for_and_not_before(trained: Path) -> None:
    program = """
import sys, kd_sweep
assert not {"pyarrow", "pydantic"} & set(sys.modules)
study = kd_sweep.open_results(sys.argv[1])["digits"]
trial = study.best_trial()
shown = [study.spec, trial.row, trial.config, trial.settings, trial.epochs(), repr(study), repr(trial)]
shown += [thing._repr_html_() for thing in (kd_sweep.open_results(sys.argv[1]), study, trial, trial.preprocess)]
assert not {"torch", "ray", "optuna", "torchvision"} & set(sys.modules), set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, str(trained)], check=True, timeout=120)


OWN_ENTRIES = """
from kd_sweep.catalogue.decorators import loss, network
from torch import nn

@network("small")
def small(num_classes, channels, image_size, parameters):
    convolution = nn.Conv2d(channels, 8, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

@loss("gap")
def gap(inputs, parameters):
    return (inputs.student_logits_BC - inputs.teacher_logits_MBC.mean(0)).square().mean()
"""


READING = """
import torch, kd_sweep
trial = kd_sweep.open_results("root")["digits"].trials()[0]
section = trial.config.distillation
print(section.loss, section.source, len(trial.epochs()))
for call in (lambda: section.entry.item.__name__, lambda: trial.student()(torch.zeros(3, 1, 8, 8)).shape):
    try:
        print(call())
    except kd_sweep.errors.KdSweepError as error:
        print(error)
"""


def test_a_trial_of_a_plugin_is_read_with_the_plugin_that_its_study_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "handlesplugin.py").write_text(OWN_ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    own = "plugins: [handlesplugin]\ndistillation: {loss: 'handlesplugin:gap'}\n"
    text = STUDY.replace("search: {ensemble_size: {grid: [1, 2]}, ", f"{own}search: {{")
    student = "student: {model: 'handlesplugin:small', epochs: 2}"
    train_study(tmp_path / "root", text.replace("student: {model: resnet8, width: 4, epochs: 2}", student))
    trial = kd_sweep.open_results(tmp_path / "root")["digits"].best_trial()
    assert trial.student()(trial.preprocess(Image.new("L", (8, 8)))).shape == (1, 10)

    def answer() -> list[str]:
        done = run_warm(READING, tmp_path, os.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    first, *given = answer()
    assert first.startswith("handlesplugin:gap 1+")
    assert first.endswith(" 2")
    assert given == ["gap", "torch.Size([3, 10])"]
    (bundle,) = (tmp_path / "root" / "digits").glob("plugins-*.zip")
    bundle.unlink()
    again, *refused = answer()
    assert again == first
    assert [line.partition(";")[0] for line in refused] == [
        "loss: 'handlesplugin:gap' is not an option: no plug-in 'handlesplugin' that has a loss is loaded",
        "network: 'handlesplugin:small' is not an option: no plug-in 'handlesplugin' that has a network is loaded",
    ]
