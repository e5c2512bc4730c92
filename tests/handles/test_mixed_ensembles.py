"""A study whose teachers are a ResNet and a vision transformer: its tables, recomputed from what lies on disk.

What the networks say is recomputed by plain torch and NumPy from the handles' networks and scikit-learn's digits; how
their attention overlaps from the maps on disk, which have other sizes, enlarged by Pillow.
"""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from kd_sweep import open_results
from kd_sweep.data.selection import selected_indices
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teacher_records import read_record
from kd_sweep.distill.teachers import forget_teachers
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.handles.trial_results import TrialResults
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.upkeep.gc import Collector
from kd_sweep.upkeep.verify import verify
from tests.distill.trials import metrics_of, run
from tests.trained_studies import train_study

pytest.importorskip("timm")

STUDY = """
name: mixed
data: {name: digits, image_size: 32, max_train_images: 200, max_val_images: 120}
teacher: {width: 4, epochs: 2}
teachers:
  - {model: resnet8}
  - {model: 'timm:test_vit', optimizer: adamw, learning_rate: 0.005, epochs: 3}
student: {model: resnet8, width: 4, epochs: 2}
search: {ensemble_size: {grid: [1, 2, 3]}, augmentation_strength: 0.2}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    train_study(root, STUDY)
    return root


def trial_of(root: Path, size: int) -> TrialResults:
    (trial,) = [trial for trial in open_results(root)["mixed"].trials() if trial.row["ensemble_size"] == size]
    return trial


def validation_digits(trial: TrialResults) -> tuple[torch.Tensor, np.ndarray]:
    """Scikit-learn's images as the networks take them, and their labels."""
    whole = load_digits()
    _, val_N = selected_indices(trial.config.data, whole.target, None)
    levels = np.rint(whole.images * 255 / 16).astype(np.uint8)
    return trial.preprocess(Image.fromarray(levels[index]) for index in val_N), whole.target[val_N]


def test_tables_name_every_teacher(root: Path) -> None:
    trials = open_results(root).sql("SELECT teacher FROM trials ORDER BY ensemble_size")["teacher"].to_pylist()
    assert trials == ["resnet8", "resnet8, timm:test_vit", "resnet8, timm:test_vit, resnet8"]
    rows = answer(open_results(root), "teachers").to_pylist()
    assert [(row["member"], row["model"], row["epochs"], row["num_trials"]) for row in rows] == [
        (1, "resnet8", 2, 3),
        (2, "timm:test_vit", 3, 2),
        (3, "resnet8", 2, 1),
    ]


def test_three_ensembles_share_three_teachers_each_of_its_own_network_and_recipe(root: Path) -> None:
    trial = trial_of(root, 3)
    records = [read_record(root, teacher.teacher_id) for teacher in trial.config.teachers]
    assert {path.name for path in (root / "teachers").iterdir()} == {record.teacher_id for record in records if record}
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in trial.teachers()]
    assert [(r.epochs, r.num_parameters) for r in records if r] == list(zip((2, 3, 2), sizes, strict=True))
    assert sizes[0] == sizes[2] != sizes[1]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_an_ensemble_says_is_the_mean_of_what_its_networks_say(root: Path, size: int) -> None:
    trial = trial_of(root, size)
    images, labels_N = validation_digits(trial)
    with torch.no_grad():
        student_NC = trial.student()(images).double().softmax(1).numpy()
        members_MNC = np.stack([teacher(images).double().softmax(1).numpy() for teacher in trial.teachers()])
    ensemble_NC, row = members_MNC.mean(0), trial.row
    answers_MN = members_MNC.argmax(2)
    assert len(members_MNC) == size
    assert row["teacher_accuracy"] == pytest.approx((answers_MN == labels_N).mean())
    assert row["ensemble_accuracy"] == pytest.approx((ensemble_NC.argmax(1) == labels_N).mean())
    assert row["fidelity_val"] == pytest.approx((ensemble_NC.argmax(1) == student_NC.argmax(1)).mean())
    assert row["entropy_teachers"] == pytest.approx(-(ensemble_NC * np.log(ensemble_NC)).sum(1).mean(), rel=1e-4)
    kl_N = (ensemble_NC * np.log(ensemble_NC / student_NC)).sum(1)
    assert row["predictive_kl_val"] == pytest.approx(kl_N.mean(), rel=1e-4)
    pairs = list(itertools.combinations(answers_MN, 2))
    disagreement = np.mean([(one != other).mean() for one, other in pairs]) if pairs else None
    assert row["diversity_teachers"] == (pytest.approx(disagreement) if pairs else None)


def regions(root: Path, teacher_id: str, threshold: float) -> np.ndarray:
    """Regions of the maps that a teacher's outputs on disk hold, enlarged to the image by Pillow."""
    maps_Nhw = load_file(root / "logits" / teacher_id / "clean-grad_cam.safetensors")["maps_Vhw"]
    large_NHW = np.stack([np.asarray(Image.fromarray(m).resize((32, 32), Image.Resampling.BILINEAR)) for m in maps_Nhw])
    lowest, highest = large_NHW.min((1, 2), keepdims=True), large_NHW.max((1, 2), keepdims=True)
    return (large_NHW - lowest) / (highest - lowest) > threshold


def test_maps_of_two_sizes_are_compared_on_the_grid_of_the_image(root: Path) -> None:
    trial = trial_of(root, 2)
    ids = [teacher.teacher_id for teacher in trial.config.teachers]
    sizes = {load_file(root / "logits" / i / "clean-grad_cam.safetensors")["maps_Vhw"].shape[1:] for i in ids}
    assert sizes == {(8, 8), (2, 2)}
    for threshold, column in ((0.4, "attention_iou_teachers"), (0.75, "attention_iou_teachers_at_75")):
        one, other = (regions(root, teacher_id, threshold) for teacher_id in ids)
        iou_N = [(a & b).sum() / (a | b).sum() for a, b in zip(one, other, strict=True)]
        assert trial.row[column] == pytest.approx(np.mean(iou_N), abs=2e-3)
    area = np.mean([regions(root, teacher_id, 0.4).mean() for teacher_id in ids])
    assert trial.row["attention_area_teachers"] == pytest.approx(area, abs=2e-3)

    attention = trial.attention(10_000, device="cpu")
    assert attention.map_names_M == ("grad_cam", "rollout", "grad_cam")
    assert attention.maps_MIHW.shape[2:] == (32, 32)
    assert float(attention.iou_teachers_PI.mean()) == pytest.approx(trial.row["attention_iou_teachers"], abs=5e-3)
    assert trial.attention(2, device="cpu").sheet().width > 0


def test_a_root_of_mixed_ensembles_is_sound_and_holds_no_garbage(root: Path) -> None:
    assert verify(root) == []
    with Collector(root) as collector:
        kinds = {garbage.path.partition("/")[0] for garbage in collector.find()}
    assert "teachers" not in kinds


def test_two_ensembles_differ_in_their_members_by_name(root: Path) -> None:
    table = trial_of(root, 1).compare(trial_of(root, 2)).settings.to_pylist()
    settings = {row["field"]: (row["first"], row["second"]) for row in table}
    assert settings["members.1.model"] == (None, "timm:test_vit")
    assert settings["members.1.epochs"] == (None, "3")
    assert "teacher.model" not in settings


def test_an_interrupted_trial_goes_on_and_outputs_need_not_be_kept(root: Path, tmp_path: Path) -> None:
    trial = trial_of(root, 3)
    shutil.copytree(root / "teachers", tmp_path / "teachers")
    forget_teachers()
    LogitCache.forget()
    options = {"device": "cpu", "num_threads": 1, "cache_logits": False}
    next(trial_epochs(trial.config, root=tmp_path, checkpoint_dir=tmp_path / "c", **options))
    rows = run(trial.config, tmp_path, tmp_path / "c", cache_logits=False)
    assert [row["epoch"] for row in rows] == [2]
    (expected,) = metrics_of(rows)
    assert {name: trial.row[name] for name in expected if name in trial.row} == {
        name: value for name, value in expected.items() if name in trial.row
    }


def test_drifting_teachers_of_which_one_has_no_batch_norm(root: Path, tmp_path: Path) -> None:
    config = trial_of(root, 2).config
    drifting = type(config).model_validate_json(
        json.dumps(json.loads(config.model_dump_json()) | {"distillation": {"teacher_batchnorm": "train"}})
    )
    shutil.copytree(root / "teachers", tmp_path / "teachers")
    whole = run(drifting, tmp_path, tmp_path / "whole")
    assert whole[0]["attention_iou_teachers"] != whole[1]["attention_iou_teachers"]
    next(trial_epochs(drifting, root=tmp_path, checkpoint_dir=tmp_path / "c", device="cpu", num_threads=1))
    forget_teachers()
    assert metrics_of(run(drifting, tmp_path, tmp_path / "c")) == metrics_of(whole[1:])
