"""Sweeps with a plug-in: killed, resumed without its file, verified, edited; and plug-ins that fail in a step."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from kd_sweep import errors, open_results
from tests.catalogue import all_kinds
from tests.catalogue.modules import MARGIN, STUDY, output_of, write_modules
from tests.command_line import Cli, Run, Start

pytestmark = pytest.mark.slow

ROWS = (
    "import kd_sweep, json; study = kd_sweep.Study.from_file('s.yaml'); "
    "print(json.dumps([kd_sweep.run_trial(study, number) for number in range(2)]))"
)


def epochs(root: Path) -> int:
    try:
        return int(open_results(root).sql("SELECT count(*) AS n FROM epochs")["n"][0].as_py())
    except errors.KdSweepError:
        return 0


def killed_after_its_first_epoch(start: Start, folder: Path, root: Path) -> None:
    process: subprocess.Popen[str] = start("launch", folder / "s.yaml", "--root", root)
    until = time.monotonic() + 120
    while not epochs(root):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_sweep_goes_on_with_the_plugin_that_it_keeps_and_an_edited_one_makes_other_trials(
    tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start, cli: Cli
) -> None:
    folder, root = tmp_path / "study", tmp_path / "results"
    folder.mkdir()
    write_modules(folder, mykd=MARGIN)
    (folder / "s.yaml").write_text(STUDY)
    killed_after_its_first_epoch(start_kd_sweep, folder, root)
    (folder / "mykd.py").rename(folder / "elsewhere.txt")
    done = kd_sweep("resume", root / "margins")
    assert done.returncode == 0, done.stderr
    trials = rows_of(root)
    assert {row["status"] for row in trials} == {"completed"}
    assert len(trials) == 4
    assert epochs(root) == 12

    (folder / "elsewhere.txt").rename(folder / "mykd.py")
    assert_rows_equal_those_of_one_process(root, folder)
    assert cli("verify", str(root))[0] == 0

    write_modules(folder, mykd=MARGIN.replace("clamp(min=0)", "clamp(min=0.1)"))
    done = kd_sweep("launch", folder / "s.yaml", "--root", root, "--set", "search.augmentation_strength=0.0")
    assert done.returncode == 0, done.stderr
    after = rows_of(root)
    assert after[:4] == trials
    assert [row["distillation_power"] for row in after[4:]] == [1, 2]
    sources = {row["distillation_loss_source"] for row in after}
    assert len(sources) == 2
    assert cli("verify", str(root))[0] == 0
    assert cli("gc", str(root))[0] == 0


def rows_of(root: Path) -> list[dict[str, Any]]:
    sql = "SELECT * FROM trials ORDER BY started_at, trial_id"
    return [dict(row) for row in open_results(root).sql(sql).to_pylist()]


def assert_rows_equal_those_of_one_process(root: Path, folder: Path) -> None:
    """The first two trials, trained again without Ray and without interruption, bit for bit."""
    expected = json.loads(output_of(ROWS, folder))
    sql = (
        "SELECT e.* FROM epochs e JOIN trials t USING (trial_id) WHERE t.augmentation_strength = 0 "
        "ORDER BY t.distillation_power, epoch"
    )
    actual = open_results(root).sql(sql).to_pylist()
    assert len(actual) == 6
    for row, other in zip(actual, [row for rows in expected for row in rows], strict=True):
        assert {name: row[name] for name in ("val_loss", "val_accuracy", "train_loss")} == {
            name: other[name] for name in ("val_loss", "val_accuracy", "train_loss")
        }


FAILING = """
import kd_sweep

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
"""


def test_a_plugin_that_fails_in_a_step_fails_its_trial_in_one_line(tmp_path: Path, kd_sweep: Run) -> None:
    write_modules(tmp_path, mykd=FAILING)
    names = ", ".join(f'"mykd:{name}"' for name in ("raises", "vector", "nan", "constant"))
    text = STUDY.partition("distillation:")[0] + f"retries: 0\nsearch: {{distillation.loss: {{grid: [{names}]}}}}\n"
    (tmp_path / "s.yaml").write_text(text)
    done = kd_sweep("launch", tmp_path / "s.yaml", "--root", tmp_path / "results")
    assert done.returncode == 3, done.stderr
    messages = {row["distillation_loss"].partition(":")[2]: row["error"] for row in rows_of(tmp_path / "results")}
    assert messages["raises"].endswith("distillation.loss: 'mykd:raises' raised KeyError: 'what' (mykd.py, line 6)")
    assert "'mykd:vector' returned the shape (64,), not a scalar" in messages["vector"]
    assert "nan" in messages["nan"]
    assert "'mykd:constant' returned a scalar that does not depend on the student" in messages["constant"]
    assert all(error.count("\n") == 0 for error in messages.values())


def test_a_study_may_select_an_entry_of_each_kind(tmp_path: Path, kd_sweep: Run, cli: Cli) -> None:
    write_modules(tmp_path, mykd=all_kinds.MODULE)
    assert len(all_kinds.MODULE.strip().splitlines()) <= 80
    (tmp_path / "s.yaml").write_text(all_kinds.STUDY)
    root = tmp_path / "results"
    done = kd_sweep("launch", tmp_path / "s.yaml", "--root", root)
    assert done.returncode == 0, done.stderr
    (tmp_path / "mykd.py").unlink()
    trials = rows_of(root)
    assert len(trials) == 4
    assert all(0.3 < row["mykd_confidence"] <= 1 for row in trials)
    assert {row["best_objective"] is not None for row in trials} == {True}
    assert cli("verify", str(root))[0] == 0
    assert kd_sweep("resume", root / "own").returncode == 0
    code, summary, _ = cli("query", str(root), "--format", "csv")
    assert (code, summary.splitlines()[0].count("_source")) == (0, 0)
    program = (
        "import kd_sweep, sys; trial = kd_sweep.open_results(sys.argv[1])['own'].trials()[0]; "
        "print(trial.student().training, trial.attention(images=2).maps_MIHW.shape)"
    ).replace("sys.argv[1]", repr(str(root)))
    assert output_of(program, tmp_path) == "False torch.Size([2, 2, 8, 8])"
