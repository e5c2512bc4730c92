"""What nothing refers to: listed, never anything else, and deleted only when no study runs."""

import json
import os
import time
from pathlib import Path

import pytest

from kd_sweep.cli import main
from kd_sweep.distill.checkpoints import BEST, CHECKPOINTS, LAST
from kd_sweep.distill.teacher_records import TEACHER_LEASE, TeacherRecord, write_record
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.errors import StorageError, StudyLockedError
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.root import Root
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.upkeep.gc import Collector
from tests.command_line import Cli, Run, assert_one_line
from tests.comparing_tables import comparable
from tests.damage import break_file
from tests.latest import latest

STUDY = """
name: grids
student: {epochs: 2}
search: {augmentation_strength: {grid: [0.0, 0.5]}, ensemble_size: 2}
"""
OPEN_ENDED = "sampler: {name: tpe, num_trials: 9}"
STRANGE = "0123456789abcdef"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


def put(root: Path, *names: str) -> set[str]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"12345")
    return set(names)


def study(root: Path, *, extra: str = "", statuses: tuple[str, ...] = ()) -> list[TrialConfig]:
    """Write a study whose first trials have these statuses; return the configurations of all."""
    configs = [trial.config for trial in planned_trials(parse_spec(STUDY, "grids.yaml"))]
    with StudyState(parse_spec(STUDY + extra, "grids.yaml"), StudyFolder(root, "grids")) as state:
        for config, status in zip(configs, statuses, strict=False):
            state.recorder.started(config)
            state.recorder.ended(config.trial_id, status)
    return configs


def teacher_files(config: TrialConfig) -> list[str]:
    stream = config.stream.stream_id
    ids = [teacher.teacher_id for teacher in config.teachers]
    kept = [f"teachers/{teacher}/teacher.json" for teacher in ids]
    return [*kept, *(f"logits/{teacher}/{stream}/epoch-00001.safetensors" for teacher in ids)]


def found(location: Path) -> dict[str, str]:
    with Collector(location) as collector:
        return {garbage.path: garbage.why for garbage in collector.find()}


def test_what_is_needed_is_never_listed(root: Path) -> None:
    """Also the teachers of trials that have no row yet: a study that was stopped while its teachers were trained."""
    for config in study(root, statuses=("interrupted",)):
        put(root, *teacher_files(config), f"grids/{CHECKPOINTS}/{config.trial_id}/{LAST}")
    put(root, "notes.txt", "my-weights/model.safetensors", "grids/notes.txt")
    assert found(root) == {}


def test_each_kind_of_garbage_by_name(root: Path) -> None:
    done, waiting = study(root, statuses=("completed",))
    kept = put(root, *teacher_files(waiting), f"grids/{CHECKPOINTS}/{done.trial_id}/{BEST}")
    kept |= put(root, *(name for name in teacher_files(done) if name.startswith("teachers/")))
    first = done.teachers[0].teacher_id
    single = {
        f"teachers/{first}/model.safetensors.corrupt",
        f"teachers/{first}/.last.safetensors.aa.tmp",
        f"logits/{first}/clean-grad_cam.safetensors",
        f"datasets/{STRANGE}-aa-32.npy",
        f"datasets/{STRANGE}-bb-0.known",
        "grids/damaged/epochs-1.parquet",
        "grids/.trials.parquet.aa.tmp",
    }
    outputs = f"logits/{first}/{done.stream.stream_id}"
    free = put(
        root,
        *single,
        f"teachers/{STRANGE}/model.safetensors",
        f"teachers/{STRANGE}/teacher.json",
        f"logits/{STRANGE}/{done.stream.stream_id}/epoch-00001.safetensors",
        f"{outputs}/epoch-00001.safetensors",
        f"grids/{CHECKPOINTS}/{STRANGE}/{LAST}",
        f"grids/{CHECKPOINTS}/{STRANGE}/{BEST}",
    )
    listed = found(root)
    folders = {f"teachers/{STRANGE}", f"logits/{STRANGE}", outputs, f"grids/{CHECKPOINTS}/{STRANGE}"}
    assert set(listed) == single | folders
    assert set(found(root / "grids")) == {path for path in listed if path.startswith("grids/")}
    with Collector(root, exclusive=True) as collector:
        collector.delete(collector.find())
    assert found(root) == {}
    assert all((root / name).exists() for name in kept)
    assert not any((root / name).exists() for name in free)


def test_a_renamed_study_is_known_by_its_folder(root: Path) -> None:
    done, waiting = study(root, statuses=("completed",))
    put(root, *teacher_files(waiting), f"grids/{CHECKPOINTS}/{done.trial_id}/{LAST}", "grids/damaged/epochs-1.parquet")
    (root / "grids").rename(root / "renamed")
    assert set(found(root)) == {"renamed/damaged/epochs-1.parquet"}
    with Collector(root, exclusive=True) as collector:
        collector.delete(collector.find())
    assert found(root / "renamed") == {}


def test_an_adaptive_study_that_goes_on_keeps_its_caches(root: Path) -> None:
    done, other = study(root, extra=OPEN_ENDED, statuses=("completed", "completed"))
    put(root, *teacher_files(done), *teacher_files(other))
    assert found(root) == {}


def test_a_teacher_in_training_stays(root: Path) -> None:
    study(root)
    put(root, f"teachers/{STRANGE}/last.safetensors")
    with Lease.acquire(root / "teachers" / STRANGE / TEACHER_LEASE, what="teacher"):
        assert found(root) == {}
    assert set(found(root)) == {f"teachers/{STRANGE}"}


def test_what_is_being_written_for_a_needed_teacher_stays(root: Path) -> None:
    config, _ = study(root)
    teacher = config.teachers[0].teacher_id
    put(root, f"teachers/{teacher}/.last.safetensors.aa.tmp")
    with Lease.acquire(root / "teachers" / teacher / TEACHER_LEASE, what="teacher"):
        assert found(root) == {}
    assert set(found(root)) == {f"teachers/{teacher}/.last.safetensors.aa.tmp"}


def test_probes_go_once_no_launch_can_need_them(root: Path) -> None:
    study(root)
    probes = put(root, ".writable-0123", ".preflight-0123", ".preflight-0123-1")
    put(root, ".hidden")
    assert found(root) == {}
    for name in probes:
        os.utime(root / name, (time.time() - 7200,) * 2)
    assert set(found(root)) == probes


def test_nothing_goes_where_a_study_was_launched_since_the_listing(root: Path) -> None:
    study(root)
    put(root, f"teachers/{STRANGE}/teacher.json")
    with Collector(root, exclusive=True) as collector:
        listed = collector.find()
        spec = parse_spec(STUDY.replace("grids", "newer"), "newer.yaml")
        with (
            StudyState(spec, StudyFolder(root, "newer")),
            pytest.raises(StorageError, match=r"newer has been launched meanwhile; nothing was deleted"),
        ):
            collector.delete(listed)
    assert (root / "teachers" / STRANGE / "teacher.json").exists()


def test_nothing_goes_while_a_study_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(root)
    put(root, f"teachers/{STRANGE}/teacher.json")
    with study_lease(Root.open(root / "grids"), "grids"):
        assert set(found(root)) == {f"teachers/{STRANGE}"}, "listing disturbs nobody"
        with pytest.raises(StudyLockedError, match="study 'grids' is held by pid"), Collector(root, exclusive=True):
            pass
        with pytest.raises(SystemExit) as ended:
            main(["gc", str(root), "--delete"])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (root / "teachers" / STRANGE / "teacher.json").exists()


@pytest.mark.parametrize(
    ("name", "how"),
    [("study.yaml", "truncated"), ("trials/trials.parquet", "truncated"), ("trials/trials.parquet", "missing")],
)
def test_where_references_are_unknown_nothing_is_garbage(root: Path, name: str, how: str) -> None:
    study(root, statuses=("completed",))
    put(root, f"teachers/{STRANGE}/teacher.json")
    if name == "study.yaml":
        break_file(latest(root / "grids", "study/study.parquet"), "missing")  # the spec's second copy
    path = root / "grids" / name if name == "study.yaml" else latest(root / "grids", name)
    break_file(path, how)
    with pytest.raises(StorageError, match=path.name):
        found(root)


def test_the_command_lists_and_deletes_on_request(root: Path, cli: Cli) -> None:
    study(root)
    put(root, f"teachers/{STRANGE}/teacher.json", f"teachers/{STRANGE}/model.safetensors")

    def gc(*arguments: str) -> tuple[int, str, str]:
        return cli("gc", root, *arguments)

    code, out, err = gc()
    assert (code, out.split()) == (0, ["10B", f"teachers/{STRANGE}:", "a", "teacher", "that", "no", "trial", "uses"])
    assert err == f"{root}: 1 path, 10B could go; kd-sweep gc {root} --delete deletes it\n"
    (row,) = json.loads(gc("--format", "json")[1])
    assert row == {
        "path": f"teachers/{STRANGE}",
        "num_bytes": 10,
        "why": "a teacher that no trial uses",
        "kind": "garbage",
        "cost": None,
    }
    assert gc("--format", "pictures", "--delete")[0] == 2
    assert (root / "teachers" / STRANGE).exists()
    code, out, err = gc("--delete")
    assert (code, len(out.splitlines()), err) == (0, 1, f"{root}: 1 path, 10B deleted\n")
    assert not (root / "teachers" / STRANGE).exists()
    assert gc() == (0, "", f"{root}: 0 paths, 0B could go\n")


def test_caches_are_apart_and_the_cost_of_a_deletion_is_told(root: Path, cli: Cli) -> None:
    done, _ = study(root, statuses=("completed", "completed"))
    record = TeacherRecord(
        teacher_id=done.teachers[0].teacher_id.translate(str.maketrans("0123456789", "9876543210")),
        config=done.teachers[0],
        epochs=1,
        val_accuracy=0.5,
        train_accuracy=0.5,
        num_parameters=1,
        train_s=7300.0,
        finished_at="2024-01-01T00:00:00Z",
        host="a",
        pid=1,
        sha256="0",
        history=(),
        versions={},
    )
    write_record(Root.open(root), record, 1)
    (stale,) = put(root, f"logits/{done.teachers[0].teacher_id}/{done.stream.stream_id}/epoch-00001.safetensors")

    _, out, err = cli("gc", root)
    teacher, heading, cache = out.splitlines()
    assert teacher.endswith("a teacher that no trial uses; training it again would take 2 h")
    assert heading == "caches, made again where a study that is extended or launched again needs them:"
    assert cache.endswith("no trial still to run looks it up")
    assert f"1 cache, 5B could go; kd-sweep gc {root} --delete --caches deletes them too" in err
    rows = json.loads(cli("gc", root, "--format", "json")[1])
    assert [(row["kind"], row["cost"]) for row in rows] == [
        ("garbage", "training it again would take 2 h"),
        ("cache", "computed again for the trials that an extended study adds"),
    ]
    cli("gc", root, "--delete")
    assert (root / stale).exists()
    assert not (root / "teachers" / record.teacher_id).exists()
    assert_one_line(
        cli("gc", root, "--caches"), "--caches: deletes with --delete alone; without both, caches are listed"
    )
    assert (root / stale).exists()
    cli("gc", root, "--delete", "--caches")
    assert not (root / stale).exists()


@pytest.mark.slow
def test_a_finished_root_without_its_garbage_is_as_good(
    uninterrupted: Path, finished: Path, tiny: Path, kd_sweep: Run, cli: Cli
) -> None:
    root = finished
    _, listed, _ = cli("gc", root)
    heading, *caches = listed.splitlines()
    assert heading.startswith("caches")
    assert {line.split()[1].partition("/")[0] for line in caches} == {"logits"}
    assert cli("gc", root, "--delete", "--caches")[0] == 0
    code, _, err = cli("launch", tiny, "--root", root)
    assert code == 0
    assert "nothing left to run" in err
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table
    assert cli("verify", root)[0] == 0
    assert_it_grows(root, tiny, kd_sweep, cli)


def assert_it_grows(root: Path, tiny: Path, kd_sweep: Run, cli: Cli) -> None:
    """Launch a longer grid: only what is new runs, and checkpoints keep to the limit that is new as well."""
    before, limit = open_results(root).pandas("trials").set_index("trial_id"), 250_000
    assert checkpoint_bytes(root) > limit
    longer = ("--set", "search.ensemble_size={grid: [1, 2, 3]}", "--set", "checkpoints.max_bytes=250 kB")
    done = kd_sweep("launch", tiny, "--root", root, *longer)
    assert done.returncode == 0, done.stderr
    after = open_results(root).pandas("trials").set_index("trial_id")
    assert len(before) == 4
    assert sorted(after.ensemble_size) == [1, 1, 2, 2, 3, 3]
    assert (after.loc[before.index].finished_at == before.finished_at).all()
    assert (after.attempts == 1).all()
    assert open_results(root).table("epochs").num_rows == 18
    assert 0 < checkpoint_bytes(root) <= limit
    assert cli("verify", root)[0] == 0
    answers = list((root / "logits").glob("*/*/epoch-*"))
    assert answers
    small = ("--set", f"caches.max_bytes={sum(file.stat().st_size for file in answers) // 2}")
    assert "nothing left to run (6 completed)" in cli("launch", tiny, "--root", root, *longer, *small)[2]
    assert 0 < len(list((root / "logits").glob("*/*/epoch-*"))) < len(answers)


def checkpoint_bytes(root: Path) -> int:
    return sum(file.stat().st_size for file in (root / "tiny" / CHECKPOINTS).rglob("*.safetensors"))
