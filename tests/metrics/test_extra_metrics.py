"""Metrics that a study asks for in addition: built-in ones and those of plug-ins, from the study file to the tables."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss

from kd_sweep.analysis.sample import read_sample
from kd_sweep.cli.trial_lines import TrialLines
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.study_checks import check_metrics
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.errors import NonFiniteError, SpecError, TrialError
from kd_sweep.metrics.epoch_outputs import EpochOutputs
from kd_sweep.metrics.extra_values import extra_metrics
from kd_sweep.storage.root import Root
from kd_sweep.study.extra_metrics import ExtraMetric, extra_columns
from kd_sweep.study.file.frozen import frozen_yaml, parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter

PLUGIN = """
from pydantic import Field
from kd_sweep.catalogue.decorators import metric
from kd_sweep.catalogue.parameters import Parameters

class Margin(Parameters):
    quantile: float = Field(0.5, gt=0.0, lt=1.0)

@metric("margin", parameters=Margin, meaning="Distance of the two best.", low=0.0, better="max", can_be_null=True)
def margin(outputs, parameters):
    two_V2 = outputs.student_logits_VC.topk(2, dim=1).values
    value = (two_V2[:, 0] - two_V2[:, 1]).quantile(parameters.quantile)
    {ending}
"""
NUMBERS = itertools.count()
TINY = {"width": 2, "epochs": 1, "batch_size": 16}


def plugin(folder: Path, ending: str = "return value") -> str:
    """Write a plug-in and return its name."""
    name = f"own_metrics_{next(NUMBERS)}"
    (folder / f"{name}.py").write_text(PLUGIN.format(ending=ending))
    return name


def study(folder: Path, *extra: dict[str, Any], name: str | None = None, **fields: Any) -> StudySpec:
    content = {
        "name": "s",
        "data": {"image_size": 8, "max_train_images": 40, "max_val_images": 40},
        "teacher": TINY,
        "student": TINY,
        "metrics": {"extra": list(extra)},
        **({"plugins": [name]} if name else {}),
        **fields,
    }
    return parse_spec(json.dumps(content), "s.yaml", folder=folder)


def outputs(num_images: int = 50) -> EpochOutputs:
    generator = torch.Generator().manual_seed(0)
    return EpochOutputs(
        epoch=3,
        student_logits_VC=torch.randn(num_images, 4, generator=generator),
        teacher_logits_MVC=torch.randn(2, num_images, 4, generator=generator),
        labels_V=torch.randint(4, (num_images,), generator=generator),
    )


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    given = outputs()
    (value,) = extra_metrics([ExtraMetric(name="brier_score")], given).values()
    probabilities = given.student_logits_VC.double().softmax(dim=1).numpy()
    expected = brier_score_loss(given.labels_V.numpy(), probabilities, labels=range(4), scale_by_half=False)
    assert value == pytest.approx(expected, rel=1e-6)


def test_a_metric_of_a_plugin_has_parameters(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    given = outputs()
    margins = -np.diff(-np.sort(-given.student_logits_VC.numpy(), axis=1)[:, :2], axis=1)[:, 0]
    for quantile in (0.5, 0.1):
        spec = study(tmp_path, {"name": f"{name}:margin", "quantile": quantile}, name=name)
        assert extra_metrics(spec.metrics.extra, given) == {
            f"{name}_margin": pytest.approx(np.quantile(margins, quantile), rel=1e-5)
        }


@pytest.mark.parametrize(
    ("ending", "error", "message"),
    [
        ("return 1 / 0", TrialError, "raised ZeroDivisionError: division by zero ({name}.py, line 13) in epoch 3"),
        ("return float('nan')", NonFiniteError, "is nan in epoch 3"),
        ("return value - 100", TrialError, "in epoch 3, outside its range, ≥ 0"),
        ("return 'high'", TrialError, "returned a str in epoch 3, not a number"),
        ("return two_V2", TrialError, "returned a Tensor of the shape (50, 2) in epoch 3, not a number"),
        ("return True", TrialError, "returned a bool in epoch 3, not a number"),
    ],
)
def test_a_metric_that_fails_names_itself(tmp_path: Path, ending: str, error: type[Exception], message: str) -> None:
    name = plugin(tmp_path, ending)
    with pytest.raises(error) as caught:
        extra_metrics(study(tmp_path, {"name": f"{name}:margin"}, name=name).metrics.extra, outputs())
    assert str(caught.value).startswith(f"metrics.extra: '{name}:margin' ")
    assert message.format(name=name) in str(caught.value)


def test_a_metric_that_may_be_null_is_and_what_it_changes_in_place_is_its_own(tmp_path: Path) -> None:
    name = plugin(tmp_path, "outputs.student_logits_VC.zero_(); return None")
    given = outputs()
    extra = study(tmp_path, {"name": f"{name}:margin"}, name=name).metrics.extra
    assert extra_metrics(extra, given) == {f"{name}_margin": None}
    assert given.student_logits_VC.abs().min() > 0


def trial_of(spec: StudySpec) -> TrialConfig:
    return planned_trials(spec)[0].config


def test_extra_metrics_are_part_of_the_id_in_any_order(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    margin, brier = {"name": f"{name}:margin"}, {"name": "brier_score"}
    ids = [trial_of(study(tmp_path, *extra, name=name)).trial_id for extra in ([], [brier], [margin], [brier, margin])]
    assert len(set(ids)) == 4
    assert trial_of(study(tmp_path, margin, brier, name=name)).trial_id == ids[3]
    assert trial_of(study(tmp_path, {**margin, "quantile": 0.5}, name=name)).trial_id == ids[2]
    assert trial_of(study(tmp_path, {**margin, "quantile": 0.6}, name=name)).trial_id != ids[2]
    spec = study(tmp_path, margin, name=name)
    assert parse_frozen(frozen_yaml(spec, {}), "study.yaml").spec == spec
    assert TrialConfig.model_validate_json(trial_of(spec).model_dump_json()) == trial_of(spec)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([{"name": "brier"}], "metrics.extra[0].name: unknown metric 'brier', did you mean 'brier_score'?"),
        ([{}], "metrics.extra[0].name: is missing; possible: "),
        ([{"name": "brier_score", "scale": 1}], "metrics.extra[0].scale: unknown key, possible: name"),
        ([{"name": "brier_score"}] * 2, "metrics: extra has 'brier_score' twice"),
        ([{"name": "nowhere:margin"}], "metrics.extra[0].name: 'nowhere:margin' is not an option: no plug-in "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, extra: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        study(tmp_path, *extra)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_extra_metric_is_an_objective_where_it_is_asked_for(tmp_path: Path) -> None:
    objective = {"objectives": [{"metric": "brier_score"}]}
    assert study(tmp_path, {"name": "brier_score"}, **objective).objectives[0].mode == "min"
    with pytest.raises(SpecError, match=r"objectives\[0\]\.metric: no trial reports 'brier_score'"):
        study(tmp_path, **objective)
    scheduler = {"name": "patience", "patience": 1, "metric": "brier_score", "mode": "min"}
    fields = {"student": TINY | {"epochs": 5}, "scheduler": scheduler}
    assert study(tmp_path, {"name": "brier_score"}, **fields).scheduler.metric == "brier_score"  # type: ignore[attr-defined]


def test_a_column_that_means_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "student.py").write_text(PLUGIN.format(ending="return value"))
    spec = study(tmp_path, {"name": "student:margin"}, name="student")
    with pytest.raises(SpecError, match=r"^metrics\.extra\[0\]\.name: its column 'student_margin' is, or reads like"):
        check_metrics(spec)


def test_an_extra_metric_is_in_what_a_terminal_shows_of_a_trial(tmp_path: Path) -> None:
    spec = study(tmp_path, {"name": "brier_score"})
    rows = trial_epochs(trial_of(spec), root=tmp_path, checkpoint_dir=None, device="cpu", num_threads=1)
    shown = TrialLines(spec).table(list(rows), whole=False)
    assert 0 < shown["brier_score"][0].as_py() < 2


def record(root: Path, spec: StudySpec) -> None:
    """Run the study's one trial and write its tables."""
    config = trial_of(spec)
    with StudyWriter(Root.open(root), spec.name, metrics=extra_columns(spec.metrics.extra)) as writer:
        recorder = Recorder(writer, spec, lambda config: [])
        recorder.study(1, "running")
        recorder.started(config)
        for row in trial_epochs(config, root=root, checkpoint_dir=root / "c", device="cpu", num_threads=1):
            recorder.epoch(config.trial_id, EpochReport.of_row(row, host="h", pid=1))
        recorder.ended(config.trial_id, "completed")


def test_columns_of_two_studies_with_other_metrics_are_read_together(tmp_path: Path) -> None:
    name, root = plugin(tmp_path), tmp_path / "results"
    record(root, study(tmp_path, {"name": f"{name}:margin"}, name=name, objectives=[{"metric": f"{name}_margin"}]))
    record(root, study(tmp_path, {"name": "brier_score"}).model_copy(update={"name": "other"}))
    results = open_results(root)
    for table in ("trials", "epochs"):
        rows = {row["study"]: row for row in results.table(table).to_pylist()}
        assert rows["s"][f"{name}_margin"] >= 0
        assert 0 < rows["other"]["brier_score"] < 2
        assert rows["s"]["brier_score"] is rows["other"][f"{name}_margin"] is None
    (objective,) = results.sql(f"SELECT objective, {name}_margin AS margin FROM trials WHERE study = 's'").to_pylist()
    assert objective["objective"] == objective["margin"]
    assert results.searched_columns() == []
    for query in ("summary", "leaderboard", "trend", "best_epoch"):
        assert "brier_score" in answer(results, query).column_names
    assert "brier_score" in read_sample(results, "other").outcomes
    assert f"{name}_margin" in read_sample(results, "s").outcomes
