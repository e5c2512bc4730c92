"""The cache of decoded images: read instead of the files, checked, mended where it is damaged."""

import re
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.decoding import decoder
from kd_sweep.data.decoding.decoded_file import StoredImages
from kd_sweep.study.recipe import Augmentation
from kd_sweep.study.trial import StreamConfig
from tests.data.folders import folder_data, message_of


def test_cache_is_read_instead_of_the_images(write_images, tmp_path, monkeypatch):
    root = write_images("set")
    cache_dir = tmp_path / "cache"
    data = check_data(folder_data(root))
    plain, decoded = load_dataset(data), load_dataset(data, cache_dir)
    files = {file: file.stat().st_mtime_ns for file in cache_dir.glob("*.npy")}
    assert len(files) == 2
    assert not list(cache_dir.glob("*.tmp"))
    monkeypatch.setattr(decoder, "decode_image", lambda *_: pytest.fail("decoded a second time"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = load_dataset(data, cache_dir)
    assert {file: file.stat().st_mtime_ns for file in cache_dir.glob("*.npy")} == files
    for one, two in ((plain, decoded), (plain, mapped)):
        assert torch.equal(one.train.images_NDHW, two.train.images_NDHW)
        assert torch.equal(one.val.images_NDHW, two.val.images_NDHW)
    np.testing.assert_array_equal(np.concatenate([np.load(file) for file in files]).shape[1:], (3, 8, 8))


def test_a_damaged_cache_is_named_and_decoded_again(write_images, tmp_path, caplog):
    data = check_data(folder_data(write_images("set")))
    cache_file, good = cached(data, tmp_path)
    offsets = {0, 8, 60, 127, 128, 1000, len(good) // 2, len(good) - 40, len(good) - 1}
    flipped = [flipped_at(offset, good) for offset in sorted(offsets)]
    for bad in [*flipped, good[: len(good) // 2], good[:-33], good + b"x", good[-32:], b"x", b""]:
        cache_file.write_bytes(bad)
        caplog.clear()
        images_NDHW = load_dataset(data, tmp_path / "cache").train.images_NDHW
        assert torch.equal(images_NDHW, load_dataset(data).train.images_NDHW)
        assert f"{cache_file} is damaged" in caplog.text
        assert cache_file.read_bytes() == good


def flipped_at(offset, content):
    """Return ``content`` with one bit changed."""
    return content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]


def cached(data, tmp_path):
    """Return the cache of the training images, and its content."""
    load_dataset(data, tmp_path / "cache")
    cache_file = max((tmp_path / "cache").glob("*.npy"), key=lambda file: file.stat().st_size)
    return cache_file, cache_file.read_bytes()


@pytest.fixture
def every_cache_is_large(monkeypatch):
    """Have images checked when they are read, and no file when it is opened."""
    monkeypatch.setattr(decoder, "CHECKED_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(StoredImages, "are_whole", lambda self: pytest.fail(f"{self.file} was read to its end"))


@pytest.mark.usefixtures("every_cache_is_large")
def test_damaged_images_of_a_large_cache_are_mended_when_they_are_read(write_images, tmp_path, monkeypatch, caplog):
    data = check_data(folder_data(write_images("set", count=20)))
    plain = load_dataset(data)
    cache_file, good = cached(data, tmp_path)
    assert len(good) == 128 + 32 * 3 * 8 * 8 + 32 * 4 + 32
    bad = bytearray(good)
    for image in (3, 17):
        bad[128 + image * 3 * 8 * 8 + 50] ^= 4
    cache_file.write_bytes(bad)
    again = []
    decode_image = decoder.decode_image
    monkeypatch.setattr(decoder, "decode_image", lambda *args: (again.append(args[-1]), decode_image(*args))[1])
    dataset = load_dataset(data, tmp_path / "cache")
    assert again == [], "opening decodes nothing"
    stream = StreamConfig(data=data, augmentation=Augmentation(), augmentation_strength=0.5, batch_size=8, seed=0)
    ours, right = (AugmentationStream(stream, images).batches(1) for images in (dataset, plain))
    for one, two in zip(ours, right, strict=True):
        assert torch.equal(one.images_BDHW, two.images_BDHW)
    named = re.findall(rf"{cache_file} is damaged: image (\S+) does not match its checksum; decoded again", caplog.text)
    assert len(named) == 2
    assert sorted(Path(path).relative_to(data.path).as_posix() for path in again) == sorted(named)
    assert cache_file.read_bytes() == good
    assert (dataset.mean, dataset.std) == (plain.mean, plain.std)


@pytest.mark.usefixtures("every_cache_is_large")
def test_statistics_are_never_taken_of_damaged_images(write_images, tmp_path):
    data = check_data(folder_data(write_images("set")))
    cache_file, good = cached(data, tmp_path)
    cache_file.write_bytes(good[:128] + bytes(192) + good[128 + 192 :])
    damaged, plain = load_dataset(data, tmp_path / "cache"), load_dataset(data)
    assert (damaged.background, damaged.mean, damaged.std) == (plain.background, plain.mean, plain.std)
    assert torch.equal(damaged.train.to(torch.device("cpu")).images_NDHW, plain.train.images_NDHW)


@pytest.mark.usefixtures("every_cache_is_large")
def test_a_damaged_image_whose_source_has_changed_is_an_error(write_images, tmp_path):
    root = write_images("set", suffix=".bmp")
    data = folder_data(root)
    cache_file, good = cached(data, tmp_path)
    cache_file.write_bytes(flipped_at(200, good))
    dataset = load_dataset(data, tmp_path / "cache")
    for image in root.rglob("*.bmp"):  # other pixels in a file of the same size
        content = image.read_bytes()
        image.write_bytes(content[:-100] + bytes(100))
    assert torch.equal(dataset.train.pixels(torch.tensor([1])), dataset.train.images_NDHW[1:2])
    message = message_of(torch.tensor([0]), dataset.train.pixels)
    assert message.startswith("data: image cat/")
    assert f"is damaged in {cache_file}, and decodes to other pixels" in message


@pytest.mark.usefixtures("every_cache_is_large")
def test_a_large_cache_cut_off_or_of_damaged_checksums_is_decoded_again(write_images, tmp_path, caplog):
    data = check_data(folder_data(write_images("set")))
    cache_file, good = cached(data, tmp_path)
    flipped = [flipped_at(offset, good) for offset in (9, 80, len(good) - 50)]
    for bad in [*flipped, good[: len(good) // 2], good[:-1], good + b"x", b""]:
        cache_file.write_bytes(bad)
        caplog.clear()
        assert load_dataset(data, tmp_path / "cache").train.images_NDHW.shape == (8, 3, 8, 8)
        assert f"{cache_file} is damaged" in caplog.text
        assert cache_file.read_bytes() == good


def test_more_images_than_are_submitted_at_a_time(write_images, tmp_path, monkeypatch):
    data = folder_data(write_images("set"))
    whole = load_dataset(data)
    monkeypatch.setattr(decoder, "SUBMITTED_IMAGES", 3)
    for cache_dir in (None, tmp_path / "cache"):
        assert torch.equal(load_dataset(data, cache_dir).train.images_NDHW, whole.train.images_NDHW)


def test_sizes_and_selections_have_caches_of_their_own(write_images, tmp_path):
    root = write_images("set")
    for fields in ({}, {"split_seed": 1}, {"max_train_images": 2}):
        data = folder_data(root, **fields)
        assert torch.equal(
            load_dataset(data, tmp_path / "cache").train.images_NDHW, load_dataset(data).train.images_NDHW
        )
    larger = load_dataset(folder_data(root).model_copy(update={"image_size": 10}), tmp_path / "cache")
    assert larger.image_size == 10


def load_pixels(arguments):
    data, cache_dir = arguments
    return load_dataset(data, cache_dir).train.images_NDHW.numpy().tobytes()


def test_processes_that_decode_at_once_agree(write_images, tmp_path):
    root = write_images("set", count=30)
    with ProcessPoolExecutor(3) as pool:
        pixels = list(pool.map(load_pixels, [(folder_data(root), tmp_path / "cache")] * 3))
    assert len(set(pixels)) == 1
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def damage_truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damage_text(path):
    path.write_text("this is no image")


def damage_empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tif"])
@pytest.mark.parametrize("damage", [damage_truncated, damage_text, damage_empty])
def test_damaged_image_is_named_and_leaves_no_cache(write_images, tmp_path, suffix, damage):
    root = write_images("set", suffix=suffix)
    damage(root / "dog" / f"3{suffix}")
    data = check_data(folder_data(root))
    for cache_dir in (None, tmp_path / "cache"):
        message = message_of(data, lambda data, cache_dir=cache_dir: load_dataset(data, cache_dir))
        assert message.startswith(f"data.path: image {root / 'dog' / f'3{suffix}'} cannot be decoded (")
        assert message.endswith("; repair or remove it")
    leftovers = [file.name for file in (tmp_path / "cache").iterdir() if file.suffix not in (".lock", ".known")]
    assert len(leftovers) <= 1, "the set without the damaged image may be there, nothing else"
    assert all(name.endswith(".npy") for name in leftovers)
