import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from kd_sweep.errors import CorruptFileError, QueryError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import frozen_yaml
from kd_sweep.study.file.load import parse_spec
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.schema import STATUSES, TABLES
from kd_sweep.tables.trial_lookup import find_trials
from kd_sweep.tables.writer import StudyWriter
from tests.damage import break_file
from tests.latest import latest
from tests.tables.rows import FINISHED_AT, epoch_row, trial_id, trial_row, write_study


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_study(root, "digits", num_trials=6, num_epochs=4)
    write_study(root, "cifar", num_trials=3, num_epochs=2)
    (root / "teachers" / "0123").mkdir(parents=True)
    (root / "logits").mkdir()
    return root


def test_a_root_holds_every_study_and_a_study_itself(root: Path):
    assert open_results(root).studies() == ["cifar", "digits"]
    assert open_results(root / "digits").studies() == ["digits"]
    assert open_results(root / "digits").table("epochs").num_rows == 24
    counts = open_results(root).sql("SELECT study, count(*) AS n FROM epochs GROUP BY study ORDER BY study")
    assert counts.to_pylist() == [{"study": "cifar", "n": 6}, {"study": "digits", "n": 24}]
    assert list(open_results(str(root)).select("cifar")) == ["cifar"]


def test_a_study_keeps_its_name_wherever_its_folder_lies(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    renamed = shutil.copytree(root / "digits", tmp_path / "elsewhere" / "renamed")
    (tmp_path / "link").symlink_to(renamed)
    monkeypatch.chdir(renamed / "epochs")
    answers = {name: answer(open_results(root / "digits"), name) for name in NAMED_QUERIES}
    for folder in (renamed, renamed.parent, tmp_path / "link", ".."):
        results = open_results(folder)
        assert results.studies() == ["digits"]
        assert [status["study"] for status in results.status("digits")] == ["digits"]
        for name in answers if folder == renamed.parent else ("leaderboard", "summary"):
            assert answer(results, name).equals(answers[name]), name
        (found,) = find_trials(results, [trial_id(1)])
        study = folder if folder == tmp_path / "link" else renamed  # a link is a study of the root in which it lies
        assert (str(found.root), str(found.study)) == (str(study.parent), str(study))


def test_held_results_stay_and_others_read_what_is_there(tmp_path: Path):
    write_study(tmp_path, "digits", num_trials=2, num_epochs=1)
    results = open_results(tmp_path)
    held = results.held()
    before = held.table("trials")
    assert before.equals(results.table("trials"))
    with StudyWriter(Root.open(tmp_path), "digits") as writer:
        writer.upsert_trial(trial_row(2))
    write_study(tmp_path, "later", num_trials=1, num_epochs=1)
    assert held.table("trials").equals(before)
    assert held.sql("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 2}]
    assert (held.studies(), results.studies()) == (["digits"], ["digits", "later"])
    assert results.table("trials").num_rows == 4


def test_a_copy_beside_a_study_is_refused(root: Path, tmp_path: Path):
    for name in ("digits", "digits-backup"):
        shutil.copytree(root / "digits", tmp_path / name)
    with pytest.raises(
        StorageError, match=r"digits and .*digits-backup are both the study 'digits'; move one"
    ) as caught:
        open_results(tmp_path)
    assert "\n" not in str(caught.value)
    assert open_results(tmp_path / "digits-backup").table("trials").num_rows == 6


def test_the_name_is_known_without_the_table_of_studies(root: Path, tmp_path: Path):
    renamed = shutil.copytree(root / "digits", tmp_path / "renamed")
    for how in ("truncated", "missing"):
        break_file(latest(renamed, "study/study.parquet"), how)
        assert open_results(renamed).studies() == ["digits"]
    assert answer(open_results(renamed), "summary").num_rows == 6


def test_tables_join_and_pandas_agrees(root: Path):
    results = open_results(root)
    joined = results.sql(
        """SELECT t.trial_id, max(e.epoch) = any_value(t.last_epoch) AS same
           FROM trials t JOIN epochs e USING (study, trial_id) GROUP BY t.study, t.trial_id"""
    )
    assert joined["same"].to_pylist() == [True] * 9
    assert results.pandas("epochs").shape == (30, len(TABLES["epochs"]))
    assert results.table("epochs").schema.names == TABLES["epochs"].names


def test_a_study_with_trials_only_has_every_table(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.upsert_trial(trial_row(1, status="pending"))
    results = open_results(tmp_path)
    for name, schema in TABLES.items():
        assert results.table(name).schema.names == schema.names
        assert results.sql(f"SELECT * FROM {name}").column_names == schema.names
    assert results.sql("SELECT count(*) AS n, max(ece) AS x FROM epochs").to_pylist() == [{"n": 0, "x": None}]


def test_added_columns_of_several_studies_unite_with_nulls(tmp_path: Path):
    for study, added in {
        "a": {"distillation_temperature": 4},
        "b": {"distillation_temperature": 2.5, "width": "x"},
    }.items():
        with StudyWriter(Root.open(tmp_path), study) as writer:
            writer.upsert_trial(trial_row(1, **added))
    answer = open_results(tmp_path).sql("SELECT study, distillation_temperature AS t, width FROM trials ORDER BY 1")
    assert answer.to_pylist() == [{"study": "a", "t": 4.0, "width": None}, {"study": "b", "t": 2.5, "width": "x"}]


def test_a_study_file_of_somebodys_own_makes_no_study(root: Path, tmp_path: Path):
    shutil.copytree(root / "digits", tmp_path / "digits")
    own = "name: digits\nretries: 2\n"
    frozen = frozen_yaml(parse_spec(own, "own.yaml"), {})
    for text in (own, frozen):  # also a copy of a frozen one, to launch from
        (tmp_path / "study.yaml").write_text(text)
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / "study.yaml").write_text(own)
        assert open_results(tmp_path).studies() == ["digits"]
        assert open_results(tmp_path).table("trials").num_rows == 6


def test_a_study_that_has_no_tables_yet_is_one(tmp_path: Path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "study.yaml").write_text(frozen_yaml(parse_spec("name: new", "new.yaml"), {}))
    assert open_results(tmp_path).studies() == ["new"]
    assert open_results(tmp_path / "new").table("trials").num_rows == 0


def test_no_results_is_one_line(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, words in {"nowhere": "does not exist", "empty": "no study in", "file": "is a file"}.items():
        with pytest.raises(StorageError, match=words) as caught:
            open_results(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_unknown_tables_and_studies_name_the_possible_ones(root: Path):
    with pytest.raises(QueryError, match=r"'trails' is not a table; did you mean 'trials'"):
        open_results(root).table("trails")
    with pytest.raises(QueryError, match=r"'digit' is not in .*; did you mean 'digits'"):
        open_results(root).select("digit")


def test_reading_writes_nothing(root: Path):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    results = open_results(root)
    results.sql("SELECT * FROM trials")
    results.status()
    with pytest.raises(QueryError):
        results.sql("CREATE TABLE x (a INT)")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


DRIVER = """
import sys, time
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.storage.root import Root
root = Root.open(sys.argv[1])
lease = study_lease(root.child("s"), "s")
print("held", flush=True)
time.sleep(60)
"""


def test_running_trials_of_a_dead_driver_are_interrupted(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.set_study(status="running", num_planned=4)
        writer.upsert_trial(trial_row(1, status="running", last_epoch=2))
        writer.upsert_trial(trial_row(2, status="completed", last_epoch=4, finished_at=FINISHED_AT))
        writer.upsert_trial(trial_row(3, status="pending"))

    def told() -> list[str]:
        results = open_results(tmp_path)
        from_sql = results.sql("SELECT status FROM trials")["status"].to_pylist()
        assert from_sql == results.table("trials")["status"].to_pylist()
        return [*from_sql, *results.table("studies")["status"].to_pylist()]

    assert told() == ["interrupted", "completed", "pending", "interrupted"]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path], stdout=subprocess.PIPE)
    try:
        assert driver.stdout is not None
        driver.stdout.readline()
        assert told() == ["running", "completed", "pending", "running"]
        (status,) = open_results(tmp_path).status()
        assert (status["driver_alive"], status["pid"], status["status"]) == (True, driver.pid, "running")
        assert (status["num_running"], status["num_interrupted"], status["num_completed"]) == (1, 0, 1)
    finally:
        driver.kill()
        driver.wait()
    assert told() == ["interrupted", "completed", "pending", "interrupted"]
    (status,) = open_results(tmp_path).status("s")
    assert (status["driver_alive"], status["num_interrupted"], status["num_planned"]) == (False, 1, 4)
    assert (status["num_trials"], status["num_epochs"]) == (3, 6)
    assert status["updated_at"] >= FINISHED_AT
    assert {f"num_{name}" for name in STATUSES} <= set(status)


def test_an_open_reader_sees_what_comes_later(tmp_path: Path):
    writer = StudyWriter(Root.open(tmp_path), "s")
    writer.upsert_trial(trial_row(1))
    writer.flush()
    results = open_results(tmp_path)
    query = "SELECT count(*) AS n FROM epochs"
    for epoch in range(1, 12):
        writer.add_epoch(epoch_row(1, epoch))
        writer.flush()
        assert results.sql(query).to_pylist() == [{"n": epoch}]


def test_a_snapshot_outlives_the_merging_of_its_files(tmp_path: Path):
    writer = StudyWriter(Root.open(tmp_path), "s")
    for epoch in range(1, 8):
        writer.add_epoch(epoch_row(1, epoch))
        writer.flush()
    writer.upsert_trial(trial_row(1))
    writer.flush()
    snapshot = open_results(tmp_path)._epochs(open_results(tmp_path).select())
    writer.add_epoch(epoch_row(1, 8))
    writer.close()
    assert len(list((tmp_path / "s" / "epochs").iterdir())) == 1
    assert not snapshot.is_current()
    assert sorted(snapshot.dataset.to_table()["epoch"].to_pylist()) == list(range(1, 8))


@pytest.mark.parametrize("damage", ["footer", "page"])
@pytest.mark.parametrize("name", ["epochs/00000001-00000001-00000001.parquet", "trials/trials-00000001.parquet"])
def test_a_damaged_file_is_named_and_never_read(tmp_path: Path, name: str, damage: str):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(500):
            writer.add_epoch(epoch_row(number, 1))
            writer.upsert_trial(trial_row(number, ece=number / 500, objective=number / 7))
    path = tmp_path / "s" / name
    content = bytearray(path.read_bytes())
    if damage == "footer":
        del content[-30:]
    else:
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=rf"{name} is damaged: ") as caught:
        open_results(tmp_path).sql("SELECT * FROM epochs JOIN trials USING (trial_id)")
    assert "\n" not in str(caught.value)


def test_only_tables_that_a_query_names_are_read(tmp_path: Path):
    write_study(tmp_path, num_trials=3, num_epochs=2)
    results = open_results(tmp_path)
    columns = "SELECT table_name, column_name, data_type FROM information_schema.columns"
    for table, schema in TABLES.items():
        described = results.sql(f"SELECT column_name FROM ({columns}) WHERE table_name = '{table}'")
        assert described["column_name"].to_pylist()[: len(schema.names)] == schema.names
    assert results.sql("SELECT count(*) FROM query_table('tri' || 'als')").to_pydict() == {"count_star()": [3]}
    assert results.sql('SELECT count(*) FROM "EPOCHS"').to_pydict() == {"count_star()": [6]}
    trials = latest(tmp_path / "digits", "trials/trials.parquet")
    content = trials.read_bytes()
    break_file(trials, "flipped")
    assert results.sql("SELECT count(*) AS num_trials FROM epochs").to_pydict() == {"num_trials": [6]}
    trials.write_bytes(content)
    (part,) = (tmp_path / "digits" / "epochs").iterdir()
    break_file(part, "empty")
    assert results.sql("SELECT count(*) FROM trials").to_pydict() == {"count_star()": [3]}
    with pytest.raises(CorruptFileError):
        results.sql("SELECT count(*) FROM trials JOIN epochs USING (trial_id)")


def test_queries_on_one_trial_are_quick(tmp_path: Path):
    write_study(tmp_path, num_trials=50, num_epochs=20)
    results = open_results(tmp_path)
    results.sql("SELECT 1")
    began = time.process_time()
    answer = results.sql("SELECT * FROM epochs WHERE trial_id = $id ORDER BY epoch", {"id": trial_id(3)})
    assert time.process_time() - began < 2
    assert answer["epoch"].to_pylist() == list(range(1, 21))
    assert isinstance(answer, pa.Table)
