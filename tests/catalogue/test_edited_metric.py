"""A study whose extra metric is edited: other trials of the same teachers, beside the old rows and never mixed in."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_sweep import open_results
from kd_sweep.tables.queries.named_queries import answer
from tests.catalogue.modules import error_of, output_of, write_modules

LEAD = """
import kd_sweep
from pydantic import Field


class Lead(kd_sweep.Parameters):
    factor: float = Field(1.0, gt=0)


@kd_sweep.metric("lead", parameters=Lead, meaning="How far the best class leads.", low=0.0, better="max")
def lead(outputs, parameters):
    two_V2 = outputs.student_logits_VC.softmax(1).topk(2, dim=1).values
    return parameters.factor * (two_V2[:, 0] - two_V2[:, 1]).mean()
"""
STUDY = """
name: s
plugins: [mykd]
data: {image_size: 8, max_train_images: 40, max_val_images: 40}
teacher: {width: 2, epochs: 1}
student: {width: 2, epochs: 1}
metrics: {extra: [{name: "mykd:lead"}]}
search: {augmentation_strength: {grid: [0.0, 0.5]}}
"""
TRAIN = """
from pathlib import Path
from kd_sweep.study.file.frozen import check_extension, load_frozen
from kd_sweep.study.file.load import parse_spec
from tests.trained_studies import train_study
text = Path("s.yaml").read_text()
if Path("root/s").exists():
    check_extension(load_frozen(Path("root/s")).spec, parse_spec(text, "s.yaml"))
train_study(Path("root"), text)
"""
READ = """
import json
from kd_sweep import open_results
from kd_sweep.study.recorded_trials import recorded_trial
study = open_results("root")["s"]
print(json.dumps([[trial.config.trial_id, trial.trial_id] for trial in study]))
"""


def rows_of(root: Path) -> list[dict[str, Any]]:
    sql = "SELECT * FROM trials ORDER BY started_at, trial_id"
    return [dict(row) for row in open_results(root).sql(sql).to_pylist()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished study of two trials."""
    (tmp_path / "s.yaml").write_text(STUDY)
    write_modules(tmp_path, mykd=LEAD)
    output_of(TRAIN, tmp_path)
    return tmp_path


def test_an_edited_metric_makes_other_trials_beside_the_old_rows(folder: Path) -> None:
    old = rows_of(folder / "root")
    write_modules(folder, mykd=LEAD.replace("parameters.factor * ", "2 * parameters.factor * "))
    output_of(TRAIN, folder)
    rows = rows_of(folder / "root")
    assert rows[:2] == old
    assert len({row["trial_id"] for row in rows}) == 4
    assert len({row["metrics_mykd_lead_source"] for row in rows}) == 2
    assert [row["mykd_lead"] for row in rows[2:]] == [pytest.approx(2 * row["mykd_lead"], rel=1e-6) for row in old]
    assert [row["val_accuracy"] for row in rows[2:]] == [row["val_accuracy"] for row in old]
    assert len(list((folder / "root/teachers").iterdir())) == 2, "they know nothing of a metric"
    (folder / "mykd.py").unlink()
    shown = answer(open_results(folder / "root"), "summary").to_pylist()
    assert [row["num_trials"] for row in shown] == [1] * 4
    assert {row["metrics_mykd_lead_source"] for row in shown} == {row["metrics_mykd_lead_source"] for row in rows}
    ids = json.loads(output_of(READ, folder))
    assert all(computed == stored for computed, stored in ids), "also of the version that is not here"
    output_of("from kd_sweep.cli import main; main(['verify', 'root'])", folder)


def test_other_parameters_of_a_metric_are_refused(folder: Path) -> None:
    (folder / "s.yaml").write_text(STUDY.replace('"mykd:lead"', '"mykd:lead", factor: 2.0'))
    message = error_of(TRAIN, folder)
    assert "metrics.extra: " in message
    assert "results would mix" in message
