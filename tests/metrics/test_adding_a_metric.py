"""A metric is added by its entry in the catalogue and the function that computes it, and by nothing else."""

import json
import os
import shutil
from pathlib import Path

from tests.project.pages import ROOT
from tests.warm_python import FORGET_OURS, run_warm

ENTRY = """
METRICS = (
    Metric(
        "val_top3_accuracy", "Share of `val` whose label is among the three highest scores.",
        SHARE, "share", VAL, "student", "max",
    ),
"""
COMPUTED = """        "val_top3_accuracy": top_k_accuracy(student_logits_NC, labels_N, 3),
        "val_loss": """
EVERYWHERE = """
import json, sys
from pathlib import Path
from tests.project.write_metrics import table
from kd_sweep.analysis.sample import read_sample
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.storage.root import Root
from kd_sweep.study.file.json_schema import json_schema
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter

root = Path(sys.argv[1])
tiny = {"width": 2, "epochs": 1, "batch_size": 16}
content = {
    "name": "s",
    "data": {"image_size": 8, "max_train_images": 40, "max_val_images": 40},
    "teacher": tiny, "student": tiny, "objectives": [{"metric": "val_top3_accuracy"}],
}
spec = parse_spec(json.dumps(content), "s.yaml")
config = planned_trials(spec)[0].config
with StudyWriter(Root.open(root), "s") as writer:
    recorder = Recorder(writer, spec, lambda config: [])
    recorder.study(1, "running")
    recorder.started(config)
    for row in trial_epochs(config, root=root, checkpoint_dir=root / "c", device="cpu", num_threads=1):
        recorder.epoch(config.trial_id, EpochReport.of_row(row, host="h", pid=1))
    recorder.ended(config.trial_id, "completed")
results = open_results(root)
(answer,) = results.sql("SELECT e.val_top3_accuracy AS epoch, t.val_top3_accuracy AS trial, objective, t.val_accuracy, "
    "t.val_top5_accuracy FROM epochs e JOIN trials t USING (trial_id)").to_pylist()
print(json.dumps({
    "mode": spec.objectives[0].mode,
    "row": answer,
    "outcomes": read_sample(results).outcomes,
    "schema": json_schema()["$defs"]["Objective"]["properties"]["metric"]["enum"],
    "page": table(),
}))
"""


def edited(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def test_one_entry_and_one_function_are_enough(tmp_path: Path) -> None:
    for folder in ("kd_sweep", "docs", "tests/project"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("results"))
    edited(tmp_path / "kd_sweep/study/metric_catalogue.py", "\nMETRICS = (\n", ENTRY)
    edited(tmp_path / "kd_sweep/metrics/split_metrics.py", '        "val_loss": ', COMPUTED)
    program = f"{FORGET_OURS}\nsys.argv.append({str(tmp_path / 'results')!r})\n{EVERYWHERE}"
    done = run_warm(program, tmp_path, os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    row = found["row"]
    assert row["val_accuracy"] <= row["trial"] <= row["val_top5_accuracy"]
    assert row["epoch"] == row["trial"] == row["objective"]
    assert found["mode"] == "max"
    assert "val_top3_accuracy" in found["outcomes"]
    assert "val_top3_accuracy" in found["schema"]
    assert "| `val_top3_accuracy` | Share of `val` whose label is among the three" in found["page"]
