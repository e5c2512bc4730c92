"""Exports to Weights & Biases, read back by `wandb leet inspect`."""

from pathlib import Path

import pytest

import kd_sweep
from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.export.wandb_runs import history, of_kind, records
from tests.export.written_study import FAILURE, FINISHED, STUDY, add_trials, curve, settings_of, write_study
from tests.tables.rows import FINISHED_AT, trial_id

pytest.importorskip("wandb", reason="the extra wandb")


def run_folder(out: Path, number: int) -> Path:
    (folder,) = out.glob(f"offline-run-*-{trial_id(number)}")
    return folder


def test_wandb_reads_settings_curves_and_how_each_trial_ended(written: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    assert kd_sweep.open_results(written)[STUDY].export("wandb", out).changed
    assert len(list(out.glob("offline-run-*"))) == len(FINISHED)
    for number, (status, last) in FINISHED.items():
        found = records(run_folder(out, number))
        (run,) = of_kind(found, "run")
        assert (run["run_id"], run["display_name"], run["project"]) == (trial_id(number), trial_id(number), STUDY)
        assert run["tags"] == [status]
        config = run["config"]["update"]
        point = {"augmentation_strength": number % 3 / 2, "ensemble_size": number % 2 + 1, "seed": number % 5}
        searched = {name: value for name, value in settings_of(number).items() if value is not None}
        assert {name: value for name, value in config.items() if name not in ("_wandb", "kd_sweep")} == point | searched
        assert config["kd_sweep"].get("error") == (FAILURE if status == "failed" else None)
        steps = history(found)
        assert steps.keys() == set(range(1, last + 1))
        for metric in ("val_accuracy", "ece"):
            assert {step: values[metric] for step, values in steps.items()} == curve(number, metric)
        assert all(values["_timestamp"] == pytest.approx(FINISHED_AT.timestamp()) for values in steps.values())
        assert [one.get("exit_code", 0) for one in of_kind(found, "exit")] == [int(status == "failed")]


def test_a_trial_that_ran_again_has_one_run(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    write_study(tmp_path / "root")
    study = kd_sweep.open_results(tmp_path / "root")[STUDY]
    study.export("wandb", out)
    with StudyWriter(Root.open(tmp_path / "root"), STUDY) as writer:
        add_trials(writer, {3: ("completed", 1)})
        writer.upsert_trial({"trial_id": trial_id(3), "attempts": 2})
    assert study.export("wandb", out).changed
    (run,) = of_kind(records(run_folder(out, 3)), "run")
    assert run["tags"] == ["completed"]
    assert not study.export("wandb", out).changed
