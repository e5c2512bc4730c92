"""A sweep of mixed ensembles, one member a plug-in's network: killed, resumed, extended, and made anew by an edit."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kd_sweep import errors, open_results
from tests.catalogue.modules import output_of, write_modules
from tests.command_line import Cli, Run, Start

pytestmark = pytest.mark.long  # in every run: the same without Ray, and killed sweeps of equal teachers

NETWORK = """
import kd_sweep
from pydantic import Field
from torch import nn


class Width(kd_sweep.Parameters):
    channels: int = Field(8, ge=1)


@kd_sweep.network("tiny", parameters=Width)
class Tiny(nn.Module):
    def __init__(self, num_classes, channels, image_size, parameters):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, parameters.channels, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(parameters.channels, num_classes)

    def forward(self, images_BDHW):
        return self.classifier(self.features(images_BDHW).mean((2, 3)))
"""
STUDY = """
name: mixed
plugins: [mykd]
data: {image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {epochs: 2}
teachers:
  - {model: resnet8, width: 4}
  - {model: "mykd:tiny", channels: 6, epochs: 3}
student: {width: 4, epochs: 3}
search: {ensemble_size: {grid: [2, 1]}}
"""
ROWS = (
    "import kd_sweep, json; study = kd_sweep.Study.from_file('s.yaml'); "
    "print(json.dumps([kd_sweep.run_trial(study, number) for number in range(2)]))"
)
UNTIMED = ("epoch", "train_loss", "val_accuracy", "ensemble_accuracy", "teacher_accuracy", "attention_iou_teachers")


def rows_of(root: Path, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in open_results(root).sql(sql).to_pylist()]


def killed_in_its_first_trial(start: Start, folder: Path, root: Path) -> None:
    process = start("launch", folder / "s.yaml", "--root", root)
    until = time.monotonic() + 120
    while True:
        try:
            if rows_of(root, "SELECT 1 FROM epochs"):
                break
        except errors.KdSweepError:
            pass
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_sweep_of_mixed_ensembles_goes_on_and_an_edited_network_makes_other_trials(
    tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start, cli: Cli
) -> None:
    folder, root = tmp_path / "study", tmp_path / "results"
    folder.mkdir()
    write_modules(folder, mykd=NETWORK)
    (folder / "s.yaml").write_text(STUDY)
    killed_in_its_first_trial(start_kd_sweep, folder, root)
    done = kd_sweep("resume", root / "mixed")
    assert done.returncode == 0, done.stderr
    whole = rows_of(root, "SELECT e.* FROM epochs e ORDER BY e.ensemble_size DESC, epoch")
    once = [row for rows in json.loads(output_of(ROWS, folder)) for row in rows]
    assert [[row[name] for name in UNTIMED] for row in whole] == [[row[name] for name in UNTIMED] for row in once]

    trials = rows_of(root, "SELECT trial_id, ensemble_size, teacher, teacher_model_source FROM trials ORDER BY 2")
    assert [row["teacher"] for row in trials] == ["resnet8", "resnet8, mykd:tiny"]
    assert [row["teacher_model_source"] is None for row in trials] == [True, False]
    code, out, _ = cli("query", str(root), "teachers", "--format", "json")
    teachers = json.loads(out)
    assert code == 0
    assert [(row["model"], row["member"], row["epochs"]) for row in teachers] == [
        ("resnet8", 1, 2),
        ("mykd:tiny", 2, 3),
    ]
    assert cli("diff", *(f"{root}/mixed/{trial['trial_id']}" for trial in trials))[0] == 0

    write_modules(folder, mykd=NETWORK.replace("nn.ReLU()", "nn.Tanh()"))
    done = kd_sweep("launch", folder / "s.yaml", "--root", root)
    assert done.returncode == 0, done.stderr
    after = rows_of(root, "SELECT trial_id, teacher_model_source FROM trials ORDER BY ensemble_size, started_at")
    assert [row["trial_id"] for row in after[:2]] == [row["trial_id"] for row in trials]
    assert len({row["teacher_model_source"] for row in after[1:]}) == 2
    assert len(after) == 3
    assert len(list((root / "teachers").iterdir())) == 3
    assert cli("verify", str(root))[0] == 0
    assert cli("gc", str(root))[0] == 0
