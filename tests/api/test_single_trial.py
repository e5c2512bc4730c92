"""One trial in this process: the rows of a launch, and nothing written but what was asked for."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from kd_sweep import Study, events, run_trial
from kd_sweep.errors import SpecError
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.reader import open_results
from tests.command_line import IMPORT_TIMES, Cli, Run, assert_one_line, split_imports


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_its_rows_are_those_of_a_launch_bit_for_bit(finished: Path, tiny: Path) -> None:
    """The oracle are rows that workers under Ray have recorded, with teachers that they have trained."""
    before = files_below(finished)
    heard: list[Any] = []
    rows = run_trial(Study.from_file(tiny), 3, progress=heard.append)
    (trial,) = (event for event in heard if isinstance(event, events.TrialBegan))
    recorded = open_results(finished).sql(
        "SELECT * FROM epochs WHERE trial_id = $id ORDER BY epoch", {"id": trial.trial_id}
    )
    assert [{name: row[name] for name in REPORTED_METRICS} for row in rows] == [
        {name: row[name] for name in REPORTED_METRICS} for row in recorded.to_pylist()
    ]
    assert [event.epoch for event in heard if isinstance(event, events.TrialEpoch)] == [1, 2, 3]
    assert sum(isinstance(event, events.TeacherTrained) for event in heard) == 2
    again = run_trial(Study.from_file(tiny), trial.trial_id[:7], root=finished)
    assert [row["val_accuracy"] for row in again] == [row["val_accuracy"] for row in rows]
    written = files_below(finished) - before
    assert {path.parts[0] for path in written} <= {"logits", "datasets"}


def test_a_root_keeps_teachers_and_no_study(tiny: Path, tmp_path: Path) -> None:
    root, scratch = tmp_path / "r", tmp_path / "t"
    study = Study.from_file(tiny).set({"teacher.epochs": 1, "student.epochs": 1})
    point = {"augmentation_strength": 0.5, "ensemble_size": 1}
    run_trial(study, point, root=root)
    (teacher,) = (root / "teachers").iterdir()
    assert {path.name for path in root.iterdir()} <= {"teachers", "logits", "datasets"}
    heard: list[Any] = []
    run_trial(study, 2, root=root, progress=heard.append)
    assert events.TeachersBegan(1, ()) in heard
    assert [teacher] == list((root / "teachers").iterdir())
    assert not scratch.exists()


def test_a_breakpoint_in_the_training_stops_this_very_process(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: frames.append(sys._getframe(1).f_code.co_name))

    def stop(event: Any) -> None:
        if isinstance(event, events.TrialEpoch):
            breakpoint()

    run_trial(Study.from_file(tiny).set({"teacher.epochs": 1, "student.epochs": 1}), 0, progress=stop)
    assert frames == ["stop"]


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (4, "trial: 4 is not an index of study 'tiny'; possible: 0 to 3"),
        (-1, "trial: -1 is not an index"),
        ("4", "trial: '4' is no trial of study 'tiny'; possible: 2abc"),
        ("", "trial: '' is no trial"),
        (None, "trial: None is not a trial; possible: an index"),
        ({"seed": 1}, "trial: 'seed' is not searched by study 'tiny'; searched: augmentation_strength, ensemble_size"),
        ({"ensemble_size": 1}, "trial: augmentation_strength is missing"),
        ({"ensemble_size": 0, "augmentation_strength": 0}, "ensemble_size: 0"),
    ],
)
def test_what_is_no_trial_is_one_line(trial: Any, message: str, tiny: Path) -> None:
    with pytest.raises(SpecError) as error:
        run_trial(Study.from_file(tiny), trial)
    assert str(error.value).startswith(message)


def test_a_sampler_that_adapts_has_no_list_of_trials() -> None:
    study = Study(
        name="s", search={"augmentation_strength": {"uniform": [0, 1]}}, sampler={"name": "tpe", "num_trials": 3}
    )
    with pytest.raises(SpecError, match="trial: 0 is not known, since sampler tpe chooses trials as it goes"):
        run_trial(study, 0)


def test_the_command_prints_a_row_for_each_epoch_and_loads_no_ray(
    tiny: Path, kd_sweep: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(*IMPORT_TIMES)
    before = files_below(tmp_path)
    done = kd_sweep("run", tiny, "2", "--set", "teacher.epochs=1", "--format", "csv")
    imported, said = split_imports(done.stderr)
    assert done.returncode == 0, said
    assert "ray" not in imported
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert set(REPORTED_METRICS) < set(rows[0])
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert "epoch 3/3: val_accuracy 0." in said
    assert files_below(tmp_path) == before


def test_a_wrong_trial_is_one_line(cli: Cli, tiny: Path) -> None:
    assert_one_line(cli("run", tiny, "9"), "trial: '9' is no trial of study 'tiny'; possible:")
    assert_one_line(
        cli("run", tiny, "0", "--device", "gpu"), "device: 'gpu' is not a device; possible: auto, cpu, cuda, cuda:1"
    )
