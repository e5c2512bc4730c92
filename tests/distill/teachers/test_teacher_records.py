import json
import subprocess
import sys

import pytest

from kd_sweep.distill.teacher_records import (
    RECORD,
    TeacherRecord,
    read_record,
    teacher_folder,
    teacher_record,
    write_record,
)
from kd_sweep.errors import CorruptFileError
from tests.distill.trials import tiny_trial
from tests.latest import latest

TEACHER = tiny_trial().teachers[0]


@pytest.fixture
def record(tmp_path):
    record = TeacherRecord(
        teacher_id=TEACHER.teacher_id,
        config=TEACHER,
        epochs=1,
        val_accuracy=0.1 + 0.2,
        train_accuracy=1.0,
        num_parameters=123,
        train_s=1.5,
        finished_at="2026-01-01T00:00:00.000+00:00",
        host="somewhere",
        pid=1,
        sha256="0" * 64,
        history=({"epoch": 1, "train_loss": 0.5},),
        versions={"torch": "2.14"},
    )
    write_record(tmp_path, record, 1)
    return record


def test_round_trip_without_torch(tmp_path, record):
    assert read_record(tmp_path, record.teacher_id) == record == teacher_record(tmp_path, record.teacher_id)
    assert record.config.teacher_id == record.teacher_id
    program = (
        "import sys; from pathlib import Path; from kd_sweep.distill.teacher_records import teacher_record;"
        "assert teacher_record(Path(sys.argv[1]), sys.argv[2]).pid == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), record.teacher_id], check=True)


def test_no_record_is_no_teacher(tmp_path):
    assert teacher_record(tmp_path, TEACHER.teacher_id) is None
    assert read_record(tmp_path, TEACHER.teacher_id) is None


def test_a_damaged_record_is_named_and_not_trusted(tmp_path, record):
    path = latest(teacher_folder(tmp_path, record.teacher_id).local_path(), RECORD)
    content = json.loads(path.read_text())
    del content["sha256"]
    for text in (path.read_text()[:-20], "", "[]", json.dumps(content)):
        path.write_text(text)
        with pytest.raises(CorruptFileError, match="teacher-"):
            read_record(tmp_path, record.teacher_id)
        assert teacher_record(tmp_path, record.teacher_id) is None


def test_every_flipped_bit_is_noticed(tmp_path, record):
    path = latest(teacher_folder(tmp_path, record.teacher_id).local_path(), RECORD)
    good = path.read_bytes()
    for index in range(len(good)):
        path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        with pytest.raises(CorruptFileError, match="teacher-"):
            read_record(tmp_path, record.teacher_id)


def test_a_record_from_before_there_were_sums_is_read(tmp_path, record):
    path = latest(teacher_folder(tmp_path, record.teacher_id).local_path(), RECORD)
    content = json.loads(path.read_text())
    del content["record_sha256"]
    path.write_text(json.dumps(content))
    assert read_record(tmp_path, record.teacher_id) == record


def test_the_record_of_another_teacher_is_refused(tmp_path, record):
    other = tiny_trial(seed=1).teachers[0].teacher_id
    teacher_folder(tmp_path, record.teacher_id).local_path().rename(teacher_folder(tmp_path, other).local_path())
    with pytest.raises(CorruptFileError, match=record.teacher_id):
        read_record(tmp_path, other)
