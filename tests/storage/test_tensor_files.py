import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.tensor_files import (
    read_content,
    read_tensors,
    set_aside,
    write_atomic,
    write_tensors,
)

TENSORS = {"weights": torch.arange(12.0).reshape(3, 4), "count": torch.tensor(7), "empty": torch.zeros(0)}
CONTENT = {"history": [{"epoch": 1, "value": 0.1 + 0.2}], "text": "ä"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file.safetensors"
    write_tensors(path, TENSORS, CONTENT, kind="test")
    return path


def test_round_trip(path):
    tensors, content = read_tensors(path, kind="test")
    assert content == CONTENT == read_content(path, kind="test")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_file_is_plain_safetensors(path):
    tensors = safetensors.torch.load_file(path)
    assert torch.equal(tensors["weights"], TENSORS["weights"])


def test_nothing_but_the_file_is_left_in_the_folder(path):
    assert [entry.name for entry in path.parent.iterdir()] == ["file.safetensors"]


def test_every_flipped_byte_is_noticed(path):
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x40]) + good[position + 1 :])
        with pytest.raises(CorruptFileError, match=r"file\.safetensors"):
            read_tensors(path, kind="test")


def test_every_truncation_is_noticed_with_and_without_tensors(path):
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(CorruptFileError):
            read_tensors(path, kind="test")
        with pytest.raises(CorruptFileError):
            read_content(path, kind="test")


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"\xff" * 100, b"not a tensor file at all", os.urandom(500)])
def test_other_bytes_are_noticed(path, damage):
    path.write_bytes(damage)
    with pytest.raises(CorruptFileError):
        read_tensors(path, kind="test")
    with pytest.raises(CorruptFileError):
        read_content(path, kind="test")


def test_appended_bytes_are_noticed(path):
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CorruptFileError):
        read_content(path, kind="test")
    with pytest.raises(CorruptFileError):
        read_tensors(path, kind="test")


def test_another_kind_of_file_is_refused(path):
    with pytest.raises(CorruptFileError, match="holds 'test' version 1, not 'other'"):
        read_tensors(path, kind="other")


def test_the_sum_of_the_whole_file_is_compared_where_it_is_known(path):
    sha256 = write_tensors(path, TENSORS, CONTENT, kind="test")
    read_tensors(path, kind="test", sha256=sha256)
    write_tensors(path, {**TENSORS, "count": torch.tensor(8)}, CONTENT, kind="test")
    with pytest.raises(CorruptFileError, match="recorded"):
        read_tensors(path, kind="test", sha256=sha256)


def test_reading_the_content_imports_no_torch(path):
    program = (
        "import json, sys; from pathlib import Path; from kd_sweep.storage.tensor_files import read_content;"
        "print(json.dumps(read_content(Path(sys.argv[1]), kind='test'))); assert 'torch' not in sys.modules"
    )
    printed = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == CONTENT


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, b"half", None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_a_temporary_that_is_never_the_file(tmp_path):
    path = tmp_path / "file"
    program = (
        "import os, sys; from pathlib import Path; from kd_sweep.storage import tensor_files\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), 9)\n"
        "tensor_files.write_atomic(Path(sys.argv[1]), b'half')"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_set_aside_keeps_the_damaged_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"damaged")
    assert str(set_aside(path)) == str(tmp_path / "file.corrupt")
    assert (tmp_path / "file.corrupt").read_bytes() == b"damaged"
    assert set_aside(path) is None
