"""Sweeps with a plug-in: killed, resumed without its file, verified, edited; and plug-ins that fail in a step."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from kd_sweep import errors, open_results
from tests.catalogue import all_kinds
from tests.catalogue.modules import STUDY, output_of, write_modules
from tests.command_line import Cli, Run, Start

pytestmark = pytest.mark.slow

COMPARED = ("val_loss", "val_accuracy", "train_loss", "mykd_confidence")
ROWS = (
    "import kd_sweep, json; study = kd_sweep.Study.from_file('s.yaml'); points = [{'augmentation_strength': 0.5, "
    "'distillation.power': power} for power in (1, 2)]; "
    "print(json.dumps([kd_sweep.run_trial(study, point) for point in points]))"
)


def epochs(root: Path) -> int:
    try:
        return int(open_results(root).sql("SELECT count(*) AS n FROM epochs")["n"][0].as_py())
    except errors.KdSweepError:
        return 0


def killed_after_its_first_epoch(start: Start, folder: Path, root: Path) -> None:
    process = start("launch", folder / "s.yaml", "--root", root)
    until = time.monotonic() + 120
    while not epochs(root):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


TRAINED = (
    "import kd_sweep; trial = kd_sweep.open_results('results')['own'].trials()[0]; "
    "print(trial.student().training, trial.attention(images=2).maps_MIHW.shape)"
)


def test_a_killed_sweep_goes_on_with_the_plugin_that_it_keeps_and_an_edited_one_makes_other_trials(
    tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start, cli: Cli
) -> None:
    """With an entry of each kind."""
    root = tmp_path / "results"
    assert sum(len(text.strip().splitlines()) for text in all_kinds.MODULES.values()) <= 80
    write_modules(tmp_path, all_kinds.MODULES)
    (tmp_path / "s.yaml").write_text(all_kinds.STUDY)
    killed_after_its_first_epoch(start_kd_sweep, tmp_path, root)
    (tmp_path / "mykd").rename(tmp_path / "elsewhere")
    done = kd_sweep("resume", root / "own")
    assert done.returncode == 0, done.stderr
    trials = rows_of(root)
    assert {row["status"] for row in trials} == {"completed"}
    assert len(trials) == len({(row["augmentation_strength"], row["distillation_power"]) for row in trials}) == 4
    assert sorted(row["suggestion"] for row in trials)[0] == 0
    assert epochs(root) == 12
    assert all(0.3 < row["mykd_confidence"] <= 1 for row in trials)
    assert {row["best_objective"] is not None for row in trials} == {True}
    assert kd_sweep("resume", root / "own").returncode == 0
    code, summary, _ = cli("query", str(root), "--format", "csv")
    assert (code, summary.splitlines()[0].count("_source")) == (0, 0)
    assert '"mykd_confidence"' in summary.splitlines()[0].split(",")
    assert output_of(TRAINED, tmp_path) == "False torch.Size([2, 2, 32, 32])"

    (tmp_path / "elsewhere").rename(tmp_path / "mykd")
    assert_rows_equal_those_of_one_process(root, tmp_path)
    assert cli("verify", str(root))[0] == 0

    write_modules(tmp_path, {"mykd/learning": all_kinds.LEARNING.replace("clamp(min=0)", "clamp(min=0.1)")})
    done = kd_sweep("launch", tmp_path / "s.yaml", "--root", root, "--set", "search.augmentation_strength=0.5")
    assert done.returncode == 0, done.stderr
    after = rows_of(root)
    assert after[:4] == trials
    assert sorted(row["distillation_power"] for row in after[4:]) == [1, 2]
    sources = {row["distillation_loss_source"] for row in after}
    assert len(sources) == 2
    assert cli("verify", str(root))[0] == 0
    assert cli("gc", str(root))[0] == 0


def rows_of(root: Path) -> list[dict[str, Any]]:
    sql = "SELECT * FROM trials ORDER BY started_at, trial_id"
    return [dict(row) for row in open_results(root).sql(sql).to_pylist()]


def assert_rows_equal_those_of_one_process(root: Path, folder: Path) -> None:
    """Two of the trials, trained again without Ray and without interruption, bit for bit."""
    expected = json.loads(output_of(ROWS, folder))
    sql = (
        "SELECT e.* FROM epochs e JOIN trials t USING (trial_id) WHERE t.augmentation_strength = 0.5 "
        "ORDER BY t.distillation_power, epoch"
    )
    actual = open_results(root).sql(sql).to_pylist()
    assert len(actual) == 6
    for row, other in zip(actual, [row for rows in expected for row in rows], strict=True):
        assert {name: row[name] for name in COMPARED} == {name: other[name] for name in COMPARED}


SMALL = """teacher: {epochs: 1}
student: {width: 4, epochs: 1}
"""
FAILING = """
import sys
import kd_sweep
from torch import nn

@kd_sweep.loss("raises")
def raises(inputs, parameters):
    return {}["what"]

@kd_sweep.loss("vector")
def vector(inputs, parameters):
    return inputs.student_logits_BC.sum(1)

@kd_sweep.loss("nan")
def nan(inputs, parameters):
    return inputs.student_logits_BC.sum() * float("nan")

@kd_sweep.loss("constant")
def constant(inputs, parameters):
    return inputs.teacher_logits_MBC.sum()

@kd_sweep.loss("exits")
def exits(inputs, parameters):
    sys.exit(3)

@kd_sweep.pipeline("cropped", num_draws=0)
def cropped(inputs, parameters):
    return inputs.images_BDHW[:, :, 1:]

@kd_sweep.network("late")
class Late(nn.Module):
    def __init__(self, num_classes, channels, image_size, parameters):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.ReLU())
        self.classifier = nn.Linear(2, num_classes)

    def forward(self, images_BDHW):
        logits_BC = self.classifier(self.features(images_BDHW).mean((2, 3)))
        return logits_BC if len(images_BDHW) < 9 else logits_BC[:, 1:]
"""


FAILURES = {
    "raises": "distillation.loss: 'mykd:raises' raised KeyError: 'what' (mykd.py, line 8)",
    "vector": "distillation.loss: 'mykd:vector' returned the shape (64,), not a scalar",
    "nan": "the training loss is nan in epoch 1, batch 1, with distillation.loss 'mykd:nan'",
    "exits": "distillation.loss: 'mykd:exits' raised SystemExit: 3 (mykd.py, line 24)",
    "constant": "distillation.loss: 'mykd:constant' returned a scalar that does not depend on the student",
}
CROPPED = "augmentation.pipeline: 'mykd:cropped' returned the shape (64, 1, 7, 8), not (64, 1, 8, 8)"
LATE = "model: 'mykd:late' returned logits of shape (64, 9), not (images, classes) (64, 10)"
FAILED = """
import json, kd_sweep
study, failed = kd_sweep.Study.from_file("s.yaml"), []
for number, trial in enumerate(study.plan().trials):
    config = trial.config
    try:
        kd_sweep.run_trial(study, number, root="results")
    except kd_sweep.errors.TrialError as error:
        failed.append([config.distillation.loss, config.teacher.model, config.augmentation.pipeline, str(error)])
print(json.dumps(failed))
"""


def failing_study(folder: Path, search: str) -> None:
    write_modules(folder, mykd=FAILING)
    text = STUDY.partition("teacher:")[0] + f"{SMALL}retries: 0\nsearch: {{{search}, augmentation_strength: 0.5}}\n"
    (folder / "s.yaml").write_text(text)


def test_a_plugin_that_fails_in_a_step_is_named_in_one_line(tmp_path: Path) -> None:
    names = ", ".join(f'"mykd:{name}"' for name in FAILURES)
    failing_study(
        tmp_path,
        f"distillation.loss: {{grid: [{names}]}}, teacher.model: {{grid: [resnet8, 'mykd:late']}}, "
        "augmentation.pipeline: {grid: [strength, 'mykd:cropped']}",
    )
    failed = json.loads(output_of(FAILED, tmp_path))
    assert len(failed) == 20
    for loss, teacher, pipeline, message in failed:
        expected = LATE if teacher == "mykd:late" else FAILURES[loss.partition(":")[2]]
        assert message.endswith(CROPPED if pipeline == "mykd:cropped" else expected)
        assert "\n" not in message


@pytest.mark.parametrize(
    "failing",
    [("raises", "nan", "exits"), pytest.param(tuple(FAILURES), marks=pytest.mark.long)],
    ids=["of each kind", "all"],
)
def test_a_plugin_that_fails_in_a_step_fails_its_trial_and_no_other(
    failing: tuple[str, ...], tmp_path: Path, kd_sweep: Run
) -> None:
    """Each failure ends its worker, and another starts: here are what the plug-in raises, gives back, and ends."""
    names = ", ".join(f"'mykd:{name}'" for name in failing)
    failing_study(tmp_path, f"distillation.loss: {{grid: [{names}, kl]}}")
    done = kd_sweep("launch", tmp_path / "s.yaml", "--root", tmp_path / "results")
    assert done.returncode == 3, done.stderr
    rows = {row["distillation_loss"].rpartition(":")[2]: row for row in rows_of(tmp_path / "results")}
    assert rows.pop("kl")["status"] == "completed"
    assert rows.keys() == set(failing)
    for name, row in rows.items():
        assert (row["status"], row["attempts"]) == ("failed", 1)
        assert row["error"].endswith(FAILURES[name])
        assert "\n" not in row["error"]
