"""Whole sweeps whose trials are stopped early, killed and resumed: real Ray, real training."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import Cli, Run, Start, Started
from tests.comparing_tables import comparable

pytestmark = pytest.mark.slow

STUDY = """
name: early
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 2}
student: {model: resnet8, width: 4, epochs: 6}
search:
  student.learning_rate: {grid: [0.2, 0.002, 0.05, 0.001]}
  augmentation_strength: {grid: [0.0, 0.5]}
objectives: [{metric: val_accuracy}, {metric: predictive_kl_val, mode: min}]
max_concurrent_trials: 1
scheduler: """
"""One trial at a time: the order in which epochs come is that of the plan. Its teachers are those of the tiny study."""


@pytest.mark.parametrize(
    ("scheduler", "ends"),
    [
        ("{name: patience, patience: 2, min_delta: 0.01}", {"trial 3/8": signal.SIGKILL}),
        pytest.param(
            "{name: pareto_asha, reduction_factor: 2}",
            {"trial 2/8": signal.SIGKILL, "trial 5/8": signal.SIGINT},
            marks=pytest.mark.long,
        ),
    ],
    ids=["patience", "pareto_asha"],
)
def test_a_killed_sweep_stops_the_trials_of_an_unbroken_one(
    scheduler: str,
    ends: dict[str, signal.Signals],
    with_teachers: Path,
    tmp_path: Path,
    kd_sweep: Run,
    start_kd_sweep: Start,
    cli: Cli,
) -> None:
    file, unbroken, killed = tmp_path / "early.yaml", with_teachers, tmp_path / "killed"
    file.write_text(STUDY + scheduler + "\n")
    done = kd_sweep("launch", file, "--root", unbroken)
    assert done.returncode == 0, done.stderr
    statuses = open_results(unbroken).table("trials")["status"].to_pylist()
    assert 2 <= statuses.count("stopped") < len(statuses) == 8
    shutil.copytree(unbroken / "teachers", killed / "teachers")
    for last, end in ends.items():
        process = start_kd_sweep("launch", file, "--root", killed)
        read_until(last, process)
        os.killpg(process.pid, end) if end == signal.SIGKILL else process.send_signal(end)
        process.communicate(timeout=60)
    resumed = kd_sweep("resume", killed / "early")
    assert resumed.returncode == 0, resumed.stderr
    for table in ("trials", "epochs"):
        assert comparable(killed, table).equals(comparable(unbroken, table)), table
    assert cli("verify", killed)[0] == 0


RULE = """
from kd_sweep.catalogue.decorators import stopping_rule

@stopping_rule("strict")
class Strict:
    def __init__(self, parameters, longest):
        pass

    def stops(self, history, trial_id):
        return {decision}
"""


def test_a_study_goes_on_with_the_mended_rule_of_a_plugin(with_teachers: Path, tmp_path: Path, kd_sweep: Run) -> None:
    file, root, rule = tmp_path / "early.yaml", with_teachers, tmp_path / "own_rules.py"
    file.write_text(STUDY.replace("[0.2, 0.002, 0.05, 0.001]", "[0.1, 0.02]") + "{name: 'own_rules:strict'}\n")
    file.write_text(file.read_text() + "plugins: [own_rules]\n")
    rule.write_text(RULE.format(decision="1 / (history.last_epoch(trial_id) - 2) > 0"))
    failed = kd_sweep("launch", file, "--root", root)
    assert (failed.returncode, failed.stderr.count("Traceback")) == (1, 0)
    *_, line = failed.stderr.strip().splitlines()
    assert (
        "scheduler.name: 'own_rules:strict' raised ZeroDivisionError: division by zero (own_rules.py, line 10)" in line
    )
    assert "launch its own file again" in line
    before = open_results(root).table("trials").to_pylist()
    assert [row["last_epoch"] for row in before] == [2]
    assert "own_rules:strict" in kd_sweep("resume", root / "early").stderr  # it fails again, at the same epoch
    rule.write_text(RULE.format(decision="history.last_epoch(trial_id) == 3"))
    mended = kd_sweep("launch", file, "--root", root)
    assert mended.returncode == 0, mended.stderr
    after = open_results(root).table("trials").to_pylist()
    assert {(row["status"], row["rung"]) for row in after} == {("stopped", 3)}
    assert len(after) == 4
    rule.write_text(RULE.format(decision="False"))
    refused = kd_sweep("launch", file, "--root", root)
    assert refused.returncode == 2
    assert "scheduler.name_source: " in refused.stderr


def read_until(text: str, process: Started) -> None:
    assert process.stdout is not None
    output = []
    for line in process.stdout:
        output.append(line)
        if text in line:
            return
    raise AssertionError("".join(output))
