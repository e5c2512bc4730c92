"""Exports of trained networks: what another program loads of them gives the logits of the network itself."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard
from PIL import Image

import kd_sweep
from kd_sweep.errors import KdSweepError
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.handles.trial_results import TrialResults
from tests.command_line import Cli, assert_one_line
from tests.export.written_study import Files
from tests.project.pages import EXPORTS, blocks, page_id
from tests.trained_studies import train_study

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")

STUDY = """
name: networks
data: {name: digits, image_size: 48, max_train_images: 40, max_val_images: 70}
teacher: {model: resnet8, width: 4, epochs: 1}
student: {epochs: 1}
search:
  student.model: {grid: [resnet8, wrn-10-1, "timm:test_resnet", shufflenet_v2_x0_5]}
  student.stem: {grid: [small], when: {student.model: [shufflenet_v2_x0_5]}}
  seed: {grid: [0, 1, 2], when: {student.model: [resnet8]}}
"""
OF_TIMM = "timm:test_resnet"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    train_study(root, STUDY)
    return root


@pytest.fixture
def study(root: Path) -> StudyResults:
    return kd_sweep.open_results(root)["networks"]


def trial_of(study: StudyResults, model: str, stem: str | None = None) -> TrialResults:
    return next(
        trial for trial in study if trial.row["student"] == model and stem in (None, trial.settings.get("student_stem"))
    )


def images(trial: TrialResults, count: int = 3) -> torch.Tensor:
    """Return images that no export has seen, as the network takes them."""
    levels = np.random.default_rng(0).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8)
    return trial.preprocess([Image.fromarray(one) for one in levels])


def farthest(logits: object, expected: torch.Tensor) -> float:
    return float(np.abs(np.asarray(logits) - expected.numpy()).max())


def test_onnxruntime_gives_the_logits_of_the_student(cli: Cli, root: Path, study: StudyResults, tmp_path: Path) -> None:
    out = tmp_path / "student.onnx"
    trial = trial_of(study, "resnet8")
    asked = ("export", str(root), "networks", "--to", "onnx", "--trial", trial.trial_id[:8], "--out", str(out))
    assert cli(*asked)[0] == 0
    first = out.read_bytes(), out.stat().st_mtime_ns
    code, _, error = cli(*asked)
    assert (code, f"{out} has it all" in error) == (0, True), error
    assert (out.read_bytes(), out.stat().st_mtime_ns) == first
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        batch = images(trial, count)
        (logits,) = session.run(None, {"images": batch.numpy()})
        assert farthest(logits, trial.student()(batch)) < TOLERANCE
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["origin"])["trial"] == trial.trial_id
    preprocessing = json.loads(told["preprocessing"])
    assert (preprocessing["channels"], preprocessing["image_size"]) == (1, 48)
    assert preprocessing["class_names"] == [str(digit) for digit in range(10)]
    assert str(Path.cwd()).encode() not in out.read_bytes()


def test_an_onnx_file_with_other_logits_is_not_written(
    study: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = torch.onnx.export

    def wrong(network: torch.nn.Module, *arguments: object, **options: object) -> object:
        with torch.no_grad():
            network.classifier.bias[0] += 0.01
        return export(network, *arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(KdSweepError, match=r"other logits.*differ by 0\.01.* on 64 validation images"):
        study.export("onnx", tmp_path / "n.onnx", trial=trial_of(study, "resnet8").trial_id)
    assert list(tmp_path.iterdir()) == []


def test_timm_loads_a_folder_by_its_name(study: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the block of docs/exports.md."""
    import timm

    trial = trial_of(study, OF_TIMM)
    study.export("hf", tmp_path / "student", trial=trial.trial_id)
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks(EXPORTS, "python") if "timm" in block)
    names: dict[str, Any] = {}
    exec(compile(block, page_id(EXPORTS), "exec"), names)
    network = names["network"]
    batch = images(trial)
    with torch.no_grad():
        assert farthest(network(batch), trial.student()(batch)) < TOLERANCE
    config = timm.data.resolve_model_data_config(network)
    assert config["input_size"] == (1, 48, 48)


LOADED = """
import importlib, json, sys
sys.modules["kd_sweep"] = None
import numpy as np
from PIL import Image
levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    sys.modules.pop("load", None)
    from load import load, preprocess
    images = preprocess(Image.fromarray(levels))
    print(json.dumps([images.tolist(), load()(images).tolist()]))
"""


def test_the_loader_of_a_folder_needs_no_kd_sweep(study: StudyResults, tmp_path: Path) -> None:
    trials = [
        trial_of(study, "resnet8"),
        trial_of(study, "wrn-10-1"),
        trial_of(study, OF_TIMM),
        trial_of(study, "shufflenet_v2_x0_5", "small"),
    ]
    for trial in trials:
        study.export("hf", tmp_path / trial.trial_id, trial=trial.trial_id)
    command = [sys.executable, "-c", LOADED, *(trial.trial_id for trial in trials)]
    variables = {"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    for trial, line in zip(trials, done.stdout.splitlines(), strict=True):
        loaded_images, logits = map(torch.tensor, json.loads(line))
        batch = images(trial, 1)
        assert torch.equal(loaded_images, batch)
        assert farthest(logits, trial.student()(batch)) < TOLERANCE


def test_a_model_card_has_metrics_with_intervals_and_no_licence(study: StudyResults, tmp_path: Path) -> None:
    trial = trial_of(study, "resnet8")
    study.export("hf", tmp_path / "hf", trial=trial.trial_id)
    card = ModelCard.load(tmp_path / "hf" / "README.md")
    assert card.data.license == "unknown"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", trial.row["val_accuracy"])
    line = next(line for line in card.text.splitlines() if line.startswith("| `val_loss`"))
    _, value, mean = (cell.strip() for cell in line.strip("|").split("|"))
    assert value == f"{trial.row['val_loss']:.4f}"
    alike = [one.row["val_loss"] for one in study if one.row["student"] == "resnet8"]
    assert len(alike) == 3
    assert mean.startswith(f"{np.mean(alike):.4f} [")
    assert mean.endswith("], 3 seeds")
    low, high = (float(end) for end in mean.partition("[")[2].partition("]")[0].split(","))
    assert low < np.mean(alike) < high


def test_a_teacher_is_exported_and_done_again_it_changes_nothing(
    study: StudyResults, tmp_path: Path, files_of: Callable[[Path], Files]
) -> None:
    trial = trial_of(study, "resnet8")
    assert study.export("hf", tmp_path / "hf", trial=trial.trial_id, network="teacher-1").changed
    first = files_of(tmp_path)
    (tmp_path / "hf" / "model.safetensors").unlink()  # as a kill would have left it
    assert study.export("hf", tmp_path / "hf", trial=trial.trial_id, network="teacher-1").changed
    again = files_of(tmp_path)
    assert {name: content for name, (content, _) in again.items()} == {name: one for name, (one, _) in first.items()}
    assert not study.export("hf", tmp_path / "hf", trial=trial.trial_id, network="teacher-1").changed
    assert files_of(tmp_path) == again
    weights = safetensors.torch.load_file(tmp_path / "hf" / "model.safetensors")
    expected = trial.teachers()[0].state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_mistakes_about_networks_are_one_line(cli: Cli, root: Path, study: StudyResults, tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    (folder / "mine").mkdir(parents=True)
    for to in ("onnx", "hf"):
        asked = ("export", str(root), "networks", "--to", to, "--trial", "best")
        for path in (file, folder):
            assert_one_line(cli(*asked, "--out", str(path)), "--out", str(path))
        named = (*asked, "--network", "teacher-2", "--out", str(tmp_path / "new"))
        assert_one_line(cli(*named), "'teacher-2'", study.best_trial().trial_id, "student, teacher-1")
    assert file.read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]
