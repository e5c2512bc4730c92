"""Which metrics an export has every epoch of, and of which the last value alone, as the tools read it."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kd_sweep.export.export_paths import MARK
from kd_sweep.export.targets import TARGETS
from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import HEADLINE_METRICS, REPORTED_METRICS
from kd_sweep.tables.writer import StudyWriter
from tests.command_line import Cli, assert_one_line
from tests.export.wandb_runs import history, records
from tests.export.written_study import FINISHED, STUDY, Files, curve, write_study
from tests.project.pages import EXPORTS
from tests.tables.rows import epoch_row, trial_id

TOOLS = [name for name, target in TARGETS.items() if target.has_histories]
LONG, OTHER = 0, "predictive_kl_reverse_val"
"""The number of a trial of four epochs, and a metric that is not among those that people look at first."""
Curve = dict[int, float]


def tensorboard_curves(out: Path, number: int) -> dict[str, Curve]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = EventAccumulator(str(out / trial_id(number)))
    run.Reload()
    return {tag: {one.step: one.value for one in run.Scalars(tag)} for tag in run.Tags()["scalars"]}


def mlflow_curves(out: Path, number: int) -> dict[str, Curve]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{out}")
    (run,) = client.search_runs(
        [client.get_experiment_by_name(STUDY).experiment_id], f"run_name = '{trial_id(number)}'"
    )
    found = {
        name: {one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
    }
    assert {name: values[max(values)] for name, values in found.items()} == run.data.metrics
    return found


def wandb_curves(out: Path, number: int) -> dict[str, Curve]:
    (folder,) = out.glob(f"offline-run-*-{trial_id(number)}")
    curves: dict[str, Curve] = {}
    for step, values in history(records(folder)).items():
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
    return curves


CURVES: Mapping[str, Callable[[Path, int], dict[str, Curve]]] = {
    "tensorboard": tensorboard_curves,
    "mlflow": mlflow_curves,
    "wandb": wandb_curves,
}


@pytest.fixture(params=TOOLS)
def to(request: pytest.FixtureRequest) -> str:
    """A tool that shows metrics over epochs."""
    tool: str = request.param
    pytest.importorskip(TARGETS[tool].modules[0], reason=f"the extra {tool}")
    return tool


def exported(cli: Cli, root: Path, to: str, out: Path, *metrics: str) -> str:
    named = [part for metric in metrics for part in ("--metrics", metric)]
    code, printed, error = cli("export", str(root), STUDY, "--to", to, "--out", str(out), *named)
    assert (code, printed) == (0, ""), error
    return error


def whole(to: str, out: Path, number: int = LONG) -> set[str]:
    """Return the metrics that have every epoch; of all others there is the last one, with its value."""
    last = FINISHED[number][1]
    curves = {name: values for name, values in CURVES[to](out, number).items() if name in REPORTED_METRICS}
    assert set(curves) >= {*REPORTED_METRICS} - {"attention_iou_teachers"}
    for name, values in curves.items():
        expected = curve(number, name)
        assert values == pytest.approx(expected if len(values) > 1 else {last: expected[last]}, rel=1e-6), name
    return {name for name, values in curves.items() if len(values) == last}


def test_an_export_has_curves_of_what_people_follow_and_last_values_of_all(
    cli: Cli, to: str, written: Path, tmp_path: Path
) -> None:
    told = exported(cli, written, to, tmp_path / "out")
    number = len(REPORTED_METRICS)
    assert f"4 trials, histories of {len(HEADLINE_METRICS)} of {number} metrics (--metrics all for the rest)" in told
    assert whole(to, tmp_path / "out") == {*HEADLINE_METRICS}
    assert len(CURVES[to](tmp_path / "out", LONG)["learning_rate"]) == FINISHED[LONG][1]


def test_histories_of_an_export_only_grow(
    cli: Cli, to: str, written: Path, tmp_path: Path, files_of: Callable[[Path], Files]
) -> None:
    out = tmp_path / "out"
    exported(cli, written, to, out, OTHER)
    assert whole(to, out) == {OTHER}
    first = files_of(out)
    assert "has it all" in exported(cli, written, to, out)
    assert files_of(out) == first
    assert "wrote" in exported(cli, written, to, out, "ece", "val_loss")
    assert whole(to, out) == {OTHER, "ece", "val_loss"}
    assert "wrote" in exported(cli, written, to, out, "all")
    assert whole(to, out) >= {*REPORTED_METRICS} - {"attention_iou_teachers"}
    assert exported(cli, written, to, out, OTHER).rstrip().endswith("has it all: 4 trials")


def test_an_export_of_before_there_was_a_choice_keeps_every_history(
    cli: Cli, to: str, written: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    exported(cli, written, to, out, "all")
    if out.is_dir():
        mark = json.loads((out / MARK).read_bytes())
        del mark["histories"]
        (out / MARK).write_text(json.dumps(mark))
    else:
        with sqlite3.connect(out) as database:
            database.execute("DELETE FROM experiment_tags WHERE key = 'kd_sweep_histories'")
    exported(cli, written, to, out)
    assert OTHER in whole(to, out)


def test_epochs_without_a_value_are_left_out_of_a_curve(cli: Cli, to: str, tmp_path: Path) -> None:
    write_study(tmp_path / "root", {LONG: ("completed", 4)})
    with StudyWriter(Root.open(tmp_path / "root"), STUDY) as writer:
        for epoch, lacking in ((5, ("ece", OTHER)), (6, ("val_loss", OTHER))):
            writer.add_epoch(epoch_row(LONG, epoch, **dict.fromkeys(lacking)))
        writer.upsert_trial({"trial_id": trial_id(LONG), "last_epoch": 6, OTHER: None})
    exported(cli, tmp_path / "root", to, tmp_path / "out")
    curves = CURVES[to](tmp_path / "out", LONG)
    assert sorted(curves["ece"]) == [1, 2, 3, 4, 6]
    assert sorted(curves["val_loss"]) == [1, 2, 3, 4, 5]
    assert curves[OTHER] == pytest.approx({4: curve(LONG, OTHER)[4]}, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--to", "tensorboard", "--metrics", "eec"), ("--metrics", "'eec'", "did you mean 'ece'")),
        (("--to", "tensorboard", "--metrics", "agreement_student"), ("--metrics", "'agreement_student' is no number")),
        (("--to", "optuna", "--metrics", "ece"), ("--metrics", "optuna", "tensorboard, mlflow, wandb")),
        (("--to", "hf", "--trial", "best", "--metrics", "all"), ("--metrics", "hf", "tensorboard, mlflow, wandb")),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], parts: tuple[str, ...], cli: Cli, written: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert_one_line(cli("export", str(written), STUDY, *arguments, "--out", str(out)), *parts)
    assert not out.exists()


def test_the_page_has_the_list() -> None:
    (line,) = (line for line in EXPORTS.read_text().split("\n\n") if line.startswith("People follow first "))
    named = line.split("`")[1::2]
    assert named == [*HEADLINE_METRICS]
