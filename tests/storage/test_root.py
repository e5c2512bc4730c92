import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from kd_sweep.errors import StorageError
from kd_sweep.storage.local_files import is_temporary
from kd_sweep.storage.root import Root
from tests.damage import FailingDisk


@pytest.fixture(params=["local", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    """Every operation holds on a mounted filesystem and on one without rename, links and locks."""
    if request.param == "local":
        return Root.open(tmp_path / "results")
    return Root(pafs._MockFileSystem(), "bucket/prefix", "mock://bucket/prefix")


def test_a_file_is_what_was_written_last(root: Root):
    root.ensure_folder("study")
    if not root.is_local:
        root.filesystem.create_dir("bucket/prefix/study")
    root.write_bytes("study/a.bin", b"first")
    root.write_bytes("study/a.bin", b"second")
    assert root.read_bytes("study/a.bin") == b"second"
    assert root.size("study/a.bin") == 6
    assert root.exists("study/a.bin")
    assert not root.exists("study/b.bin")
    assert root.files("study") == ["a.bin"]
    assert root.folders() == ["study"]
    with root.open_input("study/a.bin") as source:
        source.seek(3)
        assert source.read() == b"ond"
    root.move("study/a.bin", "study/b.bin")
    assert root.files("study") == ["b.bin"]
    root.delete("study/b.bin")
    root.delete("study/b.bin")
    assert root.files("study") == []
    root.delete_folder("study")
    assert root.folders() == []


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(root: Root):
    if not root.is_local:
        root.filesystem.create_dir("bucket/prefix")
    root.write_bytes("a.bin", b"old")

    def fail() -> None:
        with root.replace("a.bin") as sink:
            sink.write(b"half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert root.read_bytes("a.bin") == b"old"
    assert root.files() == ["a.bin"]


def test_missing_things_are_empty_or_file_not_found(root: Root):
    if not root.is_local:
        root.filesystem.create_dir("bucket/prefix")
    root.ensure_folder()
    root.write_bytes("file", b"")
    with pytest.raises(FileNotFoundError):
        root.read_bytes("file/a")
    assert root.files("nowhere") == []
    assert root.folders("nowhere") == []
    assert not root.is_folder("nowhere")
    with pytest.raises(FileNotFoundError):
        root.read_bytes("nowhere/a")
    with pytest.raises(FileNotFoundError):
        root.size("nowhere")


def test_child_and_parent_are_inverse(root: Root):
    parent, name = root.child("digits").parent()
    assert (parent.base, parent.location, name) == (root.base, root.location, "digits")


def test_a_reader_never_sees_half_a_file(tmp_path: Path):
    script = """
import sys
from kd_sweep.storage.root import Root
root = Root.open(sys.argv[1])
print("ready", flush=True)
for number in range(1_000_000):
    root.write_bytes("a.bin", bytes([number % 256]) * 300_000, durable=False)
"""
    root = Root.open(tmp_path)
    root.write_bytes("a.bin", b"\xff" * 300_000)
    writer = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = set()
        for _ in range(2_000):
            content = root.read_bytes("a.bin")
            assert len(content) == 300_000
            assert content.count(content[0]) == len(content)
            seen.add(content[0])
        assert len(seen) > 1
    finally:
        writer.kill()
        writer.wait()


def test_relative_and_home_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Root.open("results").location == str(tmp_path / "results")
    assert Root.open("~/results").location == str(tmp_path / "home/results")
    assert Root.open(f"file://{tmp_path}/x").location == f"{tmp_path}/x"


@pytest.mark.parametrize("location", ["nonsense://bucket", "s3://", "http://host/x"])
def test_unknown_uri_is_one_line(location: str):
    with pytest.raises(StorageError) as caught:
        Root.open(location)
    assert location in str(caught.value)
    assert "\n" not in str(caught.value)


def test_check_writable_names_path_and_reason(tmp_path: Path):
    Root.open(tmp_path / "new" / "root").check_writable()
    assert list((tmp_path / "new" / "root").iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"/file/root/.* cannot be written: (Not a directory|File exists)"):
        Root.open(tmp_path / "file" / "root").check_writable()
    with pytest.raises(StorageError, match=r"^/proc/kd/.* cannot be written: "):
        Root.open("/proc/kd").check_writable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_check_writable_respects_permissions(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        Root.open(tmp_path).check_writable()


def test_a_full_disk_is_told_with_its_path_and_leaves_nothing(tmp_path: Path):
    root = Root.open(tmp_path)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    try:
        with pytest.raises(StorageError, match=r"/a\.bin cannot be written: File too large"):
            root.write_bytes("a.bin", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert root.files() == []


def test_an_unfinished_table_is_hidden_and_outside_its_folder(tmp_path: Path):
    root = Root.open(tmp_path)
    with root.replace("epochs/a.parquet") as sink:
        sink.write(b"half")
        (unfinished,) = root.files()
        assert is_temporary(unfinished)
        assert root.files("epochs") == []
    assert root.files("epochs") == ["a.parquet"]
    assert root.files() == []


def test_a_copy_outlives_what_it_was_made_of(root: Root):
    root.ensure_folder("trial")
    if not root.is_local:
        root.filesystem.create_dir("bucket/prefix/trial")
    root.write_bytes("trial/last.bin", b"one")
    root.copy("trial/last.bin", "trial/best.bin")
    root.write_bytes("trial/last.bin", b"three")
    root.copy("trial/last.bin", "trial/best.bin")  # replaces
    root.write_bytes("trial/last.bin", b"seventeen")
    assert root.read_bytes("trial/best.bin") == b"three"
    assert root.sizes() == {"trial/best.bin": 5, "trial/last.bin": 9}
    assert root.sizes("trial") == {"best.bin": 5, "last.bin": 9}
    assert root.sizes("nothing") == {}
    with pytest.raises(FileNotFoundError):
        root.copy("trial/nothing.bin", "trial/best.bin")
    assert root.read_bytes("trial/best.bin") == b"three"


def test_a_local_copy_takes_no_room(tmp_path: Path):
    root = Root.open(tmp_path)
    root.write_bytes("last.bin", bytes(1000))
    root.copy("last.bin", "best.bin")
    assert (tmp_path / "last.bin").samefile(tmp_path / "best.bin")
    root.copy("last.bin", "best.bin")  # both names are one file already
    assert root.files() == ["best.bin", "last.bin"]


def test_what_is_there_and_cannot_be_read_is_a_storage_error(tmp_path: Path):
    root = Root.open(tmp_path)
    root.ensure_folder("folder")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {"folder": "is a directory", "loop": "Too many levels of symbolic links"}.items():
        with pytest.raises(StorageError, match=rf"{name} cannot be read: .*{reason}") as caught:
            root.read_bytes(name)
        assert "\n" not in str(caught.value)
    root.write_bytes("a.bin", b"x")
    root.filesystem = FailingDisk("a.bin")
    with pytest.raises(StorageError, match=r"a\.bin cannot be read: Input/output error"):
        root.read_bytes("a.bin")
