"""Other pixels are another dataset; the same pixels are read once."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data import fingerprints
from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.readers import image_files
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data
from kd_sweep.study.trial import TrialConfig


def write_set(root, seed):
    """Two sets that differ in their seed have the same names and sizes, and other pixels."""
    random = np.random.default_rng(seed)
    for part, count in (("train", 4), ("val", 2)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number}.bmp")
    return root


def as_folder(root):
    return Data(name="image_folder", path=str(root), image_size=8)


def as_lists(root):
    for part in ("train", "val"):
        lines = [
            f"{file.relative_to(root)} {int(file.parent.name == 'dog')}"
            for file in sorted((root / part).rglob("*.bmp"))
        ]
        (root / f"{part}.txt").write_text("\n".join(lines))
    lists = {"train_list": str(root / "train.txt"), "val_list": str(root / "val.txt")}
    return Data(name="image_list", path=str(root), image_size=8, **lists)


def as_tiny_imagenet(root):
    (root / "val/images").mkdir()
    lines = []
    for file in sorted((root / "val").glob("*/*.bmp")):
        label, name = file.parent.name, f"{file.parent.name}{file.name}"
        shutil.move(file, root / "val/images" / name)
        lines.append(f"{name}\t{label}\t0\t0\t1\t1\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    return Data(name="tiny_imagenet", path=str(root), image_size=64)


FORMS = [as_folder, as_lists, as_tiny_imagenet]


@pytest.mark.parametrize("form", FORMS)
def test_sets_of_the_same_names_and_sizes_differ_by_their_pixels(tmp_path, form):
    one, two, copy = (form(write_set(tmp_path / name, seed)) for name, seed in (("one", 1), ("two", 2), ("copy", 1)))
    sets = [check_data(data) for data in (one, two, copy)]
    assert sets[0].fingerprint == sets[2].fingerprint != sets[1].fingerprint
    assert (
        TrialConfig(data=sets[0]).trial_id == TrialConfig(data=sets[2]).trial_id != TrialConfig(data=sets[1]).trial_id
    )


def test_decoded_images_are_never_those_of_another_set(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        data = check_data(as_folder(write_set(tmp_path / name, seed)))
        cached, plain = load_dataset(data, tmp_path / "cache"), load_dataset(data)
        assert cached.train.images_NDHW.equal(plain.train.images_NDHW)
        assert cached.val.images_NDHW.equal(plain.val.images_NDHW)


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_images_changed_in_place_are_noticed(tmp_path, known_at_once, form, keep_times):
    """Also where a tool puts the old times back: when a file's state changed cannot be set."""
    root = write_set(tmp_path / "set", 1)
    data = check_data(form(root))
    fingerprints.store_fingerprint(data.fingerprint, tmp_path / "cache")
    file = sorted(root.rglob("*.bmp"))[3]
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the filesystem has ticks
        os.utime(file)
    if keep_times:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="are not those that the study was launched with"):
        check_data(data, tmp_path / "cache")


@pytest.fixture
def known_at_once(monkeypatch):
    """Know fingerprints of files of this very second, and none from other tests."""
    monkeypatch.setattr(fingerprints, "SETTLED_S", -60.0)
    monkeypatch.setattr(fingerprints, "IN_PROCESS", {})


@pytest.fixture
def reads(monkeypatch):
    """Return a list of the files whose content is read."""
    read = []
    digests = fingerprints.content_digests
    monkeypatch.setattr(
        image_files.fingerprints, "content_digests", lambda paths: (read.extend(paths), digests(paths))[1]
    )
    return read


@pytest.mark.parametrize("form", FORMS)
def test_files_read_once_are_known_to_this_process_and_to_others(tmp_path, known_at_once, reads, form):
    data = form(write_set(tmp_path / "set", 1))
    cache = tmp_path / "cache"
    first = list_images(data, cache).fingerprint
    assert len(reads) == 12
    assert not cache.exists(), "listing writes nothing"
    assert list_images(data, cache).fingerprint == first
    fingerprints.store_fingerprint(first, cache)
    fingerprints.IN_PROCESS.clear()
    assert list_images(data, cache).fingerprint == first
    assert list_images(data).fingerprint == first, "this process knows it from then on"
    assert len(reads) == 12
    assert [file.stat().st_size for file in cache.iterdir()] == [0]


def test_loading_images_stores_their_fingerprint_for_others(tmp_path, known_at_once, reads):
    """A worker on a machine that the launch has not read them on."""
    data = as_folder(write_set(tmp_path / "set", 1))
    load_dataset(data, tmp_path / "cache")
    fingerprints.IN_PROCESS.clear()
    load_dataset(data, tmp_path / "cache")
    assert len(reads) == 12


def test_changed_files_are_read_again(tmp_path, known_at_once, reads):
    root = write_set(tmp_path / "set", 1)
    data = as_folder(root)
    list_images(data)
    os.utime(root / "train/cat/0.bmp")
    list_images(data)
    assert len(reads) == 24
    (root / "train/cat/0.bmp").rename(root / "train/cat/9.bmp")
    list_images(data)
    assert len(reads) == 36


def test_files_of_this_second_are_read_again(tmp_path, reads):
    data = as_folder(write_set(tmp_path / "set", 1))
    first, second = list_images(data).fingerprint, list_images(data).fingerprint
    assert first == second
    assert len(reads) == 24


def test_a_moved_set_is_known_at_its_new_path(tmp_path, known_at_once):
    """The path of the root is not in a fingerprint; a move changes the time of the folder, and of no file."""
    data = check_data(as_folder(write_set(tmp_path / "set", 1)))
    (tmp_path / "set").rename(tmp_path / "moved")
    assert check_data(as_folder(tmp_path / "moved")).fingerprint == data.fingerprint


def test_names_of_any_bytes_have_fingerprints(tmp_path):
    root = write_set(tmp_path / "set", 1)
    before = list_images(as_folder(root)).fingerprint
    (root / "train/cat/0.bmp").rename(os.fsdecode(os.fsencode(root / "train/cat") + b"/caf\xe9.bmp"))
    assert list_images(as_folder(root)).fingerprint != before
    assert len(load_dataset(as_folder(root), tmp_path / "cache").train) == 8


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """As on a disk with a bad block, or without permission."""
    root = write_set(tmp_path / "set", 1)

    def broken(file, flags):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(fingerprints.os, "open", broken)
    with pytest.raises(DataError) as caught:
        list_images(as_folder(root))
    assert str(caught.value) == (
        f"data.path: image {root}/train/cat/0.bmp cannot be read (Input/output error); restore or remove it"
    )
