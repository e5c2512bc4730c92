"""Roots of every released layout of the tables: today's readers and today's writer must take them as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kd_sweep.distill.checkpoints import read_header
from kd_sweep.distill.teacher_records import teacher_record
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.errors import StorageError
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import of_term
from kd_sweep.study.file.frozen import load_frozen
from kd_sweep.study.file.load import load_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.keyed_table import read_table
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.schema import SCHEMA_VERSION, STUDIES, TABLE_FILES, TABLES
from kd_sweep.tables.writer import StudyWriter
from kd_sweep.upkeep.verify import PROBLEM, verify
from tests.command_line import Run

ASSETS = Path(__file__).parent / "assets"
STUDY = "old"
FOLDERS = {"studies": "study", "trials": "trials", "epochs": "epochs", "teachers": "teachers"}
KEYS = ("study", "trial_id", "teacher_id", "epoch")
TOUCHED = {"updated_at", "kd_sweep_version", "spec"}
"""What opening a study for writing changes in its own row: the spec has the fields and versions of today."""

Rows = list[dict[str, Any]]


@pytest.fixture(params=sorted(path.name for path in ASSETS.glob("schema-*/")))
def asset(request: pytest.FixtureRequest) -> Path:
    """A root, not to be written to. Beside it lie its study file and its rows, as .yaml and .json."""
    return ASSETS / request.param


@pytest.fixture
def copied(asset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(asset, tmp_path / "results")


def rows_of(table: pa.Table) -> Rows:
    """Rows as JSON holds them, without nulls, sorted by key."""
    rows = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    rows.sort(key=lambda row: [row[key] for key in KEYS if key in row])
    return json.loads(json.dumps(rows, default=lambda moment: moment.isoformat()))


def plain_rows(root: Path) -> dict[str, Rows]:
    """Every table by Arrow alone. What it gave when the asset was made is the asset's .json."""
    return {name: rows_of(pq.read_table(root / STUDY / folder)) for name, folder in FOLDERS.items()}


def expected_of(asset: Path) -> dict[str, Rows]:
    return json.loads(asset.with_suffix(".json").read_text())


def test_this_version_has_an_asset() -> None:
    """Whoever raises SCHEMA_VERSION adds a root of it, made as `tests/assets/README.md` says."""
    for name in (f"schema-{SCHEMA_VERSION}", f"schema-{SCHEMA_VERSION}.json", f"schema-{SCHEMA_VERSION}.yaml"):
        assert (ASSETS / name).exists()


def test_every_table_has_the_columns_of_today_and_the_values_of_then(asset: Path) -> None:
    results = open_results(asset)
    for name, schema in TABLES.items():
        table = results.table(name)
        assert table.schema.names[: len(schema.names)] == schema.names
        assert table.select(schema.names).schema.equals(schema)
        assert rows_of(table) == expected_of(asset).get(name, []), name
    assert results.searched_columns() == ["distillation_temperature"]
    assert results.table("trials")["distillation_temperature"].type == pa.float64()


def test_plain_readers_open_the_files(asset: Path) -> None:
    expected = expected_of(asset)
    assert plain_rows(asset) == expected
    version = asset.name.removeprefix("schema-").encode()
    for name, folder in FOLDERS.items():
        files = [str(file) for file in (asset / STUDY / folder).iterdir()]
        assert {pq.read_schema(file).metadata[b"schema_version"] for file in files} == {version}
        assert duckdb.read_parquet(files).count("*").fetchall() == [(len(expected[name]),)]


def test_sql_and_named_queries_work(asset: Path) -> None:
    results, expected = open_results(asset), expected_of(asset)
    joined = """SELECT trial_id, epoch, distillation_temperature AS temperature, epochs.ece, num_planned
        FROM epochs JOIN trials USING (study, trial_id) JOIN studies USING (study) ORDER BY ALL"""
    temperatures = {row["trial_id"]: row["distillation_temperature"] for row in expected["trials"]}
    assert results.sql(joined).to_pylist() == [
        {
            "trial_id": row["trial_id"],
            "epoch": row["epoch"],
            "temperature": temperatures[row["trial_id"]],
            "ece": row["ece"],
            "num_planned": len(expected["trials"]),
        }
        for row in expected["epochs"]
    ]
    without_rows = {name for name in NAMED_QUERIES if answer(results, name).num_rows == 0}
    # Lists of metrics that came later; the study asks for no affinity.
    assert without_rows == {"agreement_matrix", "reliability", "affinity_plane"}
    for name in ("agreement_matrix", "reliability"):
        assert "Without 2 trials whose metrics are of version 2 or before." in remarks_of(answer(results, name))


def test_spec_checkpoints_and_teachers_are_read(asset: Path) -> None:
    assert [str(finding) for finding in verify(asset) if finding.kind == PROBLEM] == []
    expected = expected_of(asset)
    spec = load_frozen(asset / STUDY).spec
    assert spec == load_spec(asset.with_suffix(".yaml"))
    assert {trial.config.trial_id for trial in planned_trials(spec)} == {row["trial_id"] for row in expected["trials"]}
    for file in (asset / STUDY / "checkpoints").glob("*/last-*.safetensors"):
        header = read_header(file)
        assert header is not None
        assert header.owner == file.parent.name
        rows = [row for row in expected["epochs"] if row["trial_id"] == header.owner]
        found = [{name: value for name, value in row.items() if value is not None} for row in header.history]
        assert found == [{name: row[name] for name in mine} for mine, row in zip(found, rows, strict=True)]
    for row in expected["teachers"]:
        record = teacher_record(asset, row["teacher_id"])
        assert record is not None
        assert record.config.teacher_id == row["teacher_id"]
        assert record.val_accuracy == row["val_accuracy"]


def test_an_interrupted_trial_goes_on_from_its_checkpoint(asset: Path, copied: Path) -> None:
    """The one that the scheduler stopped after an epoch: its old checkpoint, and weights of teachers, are used."""
    (row,) = (row for row in expected_of(asset)["trials"] if row["status"] == "stopped")
    config = TrialConfig.model_validate_json(row["config"])
    assert config.trial_id == row["trial_id"]
    folder = copied / STUDY / "checkpoints" / config.trial_id
    rows = list(trial_epochs(config, root=copied, checkpoint_dir=folder, device="cpu", num_threads=1))
    assert [row["epoch"] for row in rows] == [2]
    assert not list(copied.rglob("*.corrupt"))


def test_todays_writer_loses_nothing(asset: Path, copied: Path) -> None:
    expected = expected_of(asset)
    folder = StudyFolder(copied, STUDY)
    with StudyState(folder.spec(), folder) as state:
        assert not state.work
    assert_kept(open_results(copied), expected)
    with StudyWriter(Root.open(copied), STUDY) as writer:
        assert writer.set_aside == ()
        writer.add_epoch({"trial_id": "new", "epoch": 1, "val_accuracy": 0.5})
        writer.upsert_trial({"trial_id": "new", "status": "completed", "distillation_temperature": 2.0})
    (part,) = (copied / STUDY / "epochs").iterdir()  # the old one was merged with the new one
    assert part.name != next((asset / STUDY / "epochs").iterdir()).name
    assert_kept(open_results(copied), expected)


def assert_kept(results: Results, expected: dict[str, Rows]) -> None:
    for name, rows in expected.items():
        found = [row for row in rows_of(results.table(name)) if row.get("trial_id") != "new"]
        if name == "studies":
            found, rows = ([{key: row[key] for key in row.keys() - TOUCHED} for row in each] for each in (found, rows))
        assert found == rows, name


def test_launch_has_nothing_left_to_run(asset: Path, copied: Path, kd_sweep: Run) -> None:
    done = kd_sweep("launch", asset.with_suffix(".yaml"), "--root", copied)
    assert done.returncode == 0, done.stderr
    assert "nothing left to run (2 completed, 1 stopped)" in done.stderr
    assert_kept(open_results(copied), expected_of(asset))


def test_a_table_of_a_newer_layout_is_refused(tmp_path: Path, kd_sweep: Run) -> None:
    """Of the tables that are one file; `tests/tables/test_epoch_parts.py` has the same for a part of the epochs."""
    path = tmp_path / STUDY / of_term(TABLE_FILES["studies"], 1)
    path.parent.mkdir(parents=True)
    newer = str(int(SCHEMA_VERSION) + 1)
    pq.write_table(STUDIES.empty_table().replace_schema_metadata({b"schema_version": newer.encode()}), path)
    rule = f"schema_version: '{newer}' is newer than {SCHEMA_VERSION}"
    with pytest.raises(StorageError, match=rule):
        read_table(Root.open(tmp_path / STUDY), TABLE_FILES["studies"])
    refused = kd_sweep("query", tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert rule in refused.stderr
    assert str(path) in refused.stderr


@pytest.mark.parametrize("command", ["status", "query", "verify", "gc", "resume", "launch"])
def test_tables_of_the_unreleased_layout_are_refused_and_not_shown_empty(
    command: str, asset: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    """Their file names had no term, and no reader of today would find a row in them."""
    study = tmp_path / STUDY
    for name in TABLE_FILES.values():
        (study / name).parent.mkdir(parents=True)
        shutil.copy(asset / STUDY / of_term(name, 1), study / name)
    (study / "epochs").mkdir()
    shutil.copy(next((asset / STUDY / "epochs").iterdir()), study / "epochs" / "00000001-00000001.parquet")
    shutil.copy(asset / STUDY / "study.yaml", study)
    before = sorted(tmp_path.rglob("*"))
    arguments = {"resume": [study], "launch": [asset.with_suffix(".yaml"), "--root", tmp_path]}
    code, out, err = cli(command, *arguments.get(command, [tmp_path]))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "of an unreleased version of kd_sweep" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_trials_whose_fields_another_version_made_are_one_line(
    asset: Path, copied: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    """As trials were before they held their strengths; commands that read tables alone still do."""
    trial_id = expected_of(asset)["trials"][0]["trial_id"]
    for file in ("trials/trials-00000001.parquet", "copies/trials-00000001.parquet"):
        table = pq.read_table(copied / STUDY / file, partitioning=None)
        configs = [json.loads(text) for text in table["config"].to_pylist()]
        old = [json.dumps(config | {"augmentation_strength": 0.5, "ensemble_size": 2}) for config in configs]
        index = table.column_names.index("config")
        pq.write_table(table.set_column(index, "config", pa.array(old)), copied / STUDY / file)
    line = "was written by a version of kd_sweep whose trials have other fields"
    code, _, err = cli("attention", copied, trial_id, "--out", tmp_path / "sheet.png")
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"trial {trial_id}: {line}" in err
    code, out, err = cli("verify", copied)
    assert "Traceback" not in err
    assert line in out
    assert cli("query", copied, "summary")[0] == 0
