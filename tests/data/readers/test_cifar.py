"""CIFAR in each of its forms, as real files that torchvision, pyarrow and PIL agree on."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.splits import long_tailed_counts
from kd_sweep.study.recipe import Data
from tests.cifar_archive import first_jpegs, needs_archive
from tests.data.folders import message_of
from tests.data.readers.cifar_copies import (
    NAMES,
    SIZES,
    cifar,
    noise_images,
    write_batches,
    write_parquet,
    write_pickle,
)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_batches_are_what_torchvision_reads(tmp_path, name, monkeypatch):
    """The same files through torchvision's own reader, whose checksums know the published files alone."""
    from torchvision.datasets import CIFAR10, CIFAR100

    write_batches(tmp_path, name)
    reader = CIFAR10 if name == "cifar10" else CIFAR100
    monkeypatch.setattr(reader, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    dataset = load_dataset(check_data(cifar(tmp_path, name)))
    for train, ours in ((True, dataset.train), (False, dataset.val)):
        theirs = reader(str(tmp_path), train=train)
        assert np.array_equal(theirs.data.transpose(0, 3, 1, 2), ours.images_NDHW.numpy())
        assert theirs.targets == ours.labels_N.tolist()
        assert tuple(theirs.classes) == dataset.class_names
    assert dataset.horizontal_flip


def test_the_folder_of_batches_itself_is_a_path_too(tmp_path):
    write_batches(tmp_path, "cifar10")
    inner, outer = (check_data(cifar(path)) for path in (tmp_path / "cifar-10-batches-py", tmp_path))
    assert inner.fingerprint == outer.fingerprint
    assert len(load_dataset(inner).train) == 50


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("cifar10", {}),
        ("cifar10", {"image": "image", "nested": False}),
        ("cifar100", {"label": "fine_label"}),
    ],
)
def test_parquet(tmp_path, name, columns):
    train, test = write_parquet(tmp_path / "data", name, **columns)
    dataset = load_dataset(check_data(cifar(tmp_path, name)), tmp_path / "cache")
    assert np.array_equal(dataset.train.images_NDHW.numpy(), train)
    assert np.array_equal(dataset.val.images_NDHW.numpy(), test)
    assert dataset.val.labels_N.tolist() == list(range(SIZES[name][0]))
    assert dataset.class_names[:3] == ("0", "1", "2")
    again = load_dataset(check_data(cifar(tmp_path, name)), tmp_path / "cache")
    assert np.array_equal(again.train.images_NDHW.numpy(), train)


def test_parquet_names_classes_where_it_can(tmp_path):
    import json

    names = [f"class {i}" for i in range(10)]
    write_parquet(tmp_path, "cifar10", metadata=json.dumps({"info": {"features": {"label": {"names": names}}}}))
    assert load_dataset(cifar(tmp_path)).class_names == tuple(names)


@needs_archive
def test_a_folder_per_class(tmp_path):
    """The first images of the archive, which are one class: copied under ten names they are a small CIFAR-10."""
    jpegs = first_jpegs(40)
    for number, jpeg in enumerate(jpegs):
        file = tmp_path / ("train", "test")[number // 20] / NAMES[number % 10] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg)
    dataset = load_dataset(check_data(cifar(tmp_path)))
    assert dataset.class_names == NAMES
    first = np.asarray(Image.open(io.BytesIO(jpegs[0])).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(dataset.train.images_NDHW[0].numpy(), first)


def test_other_sizes_are_resized_and_cached(tmp_path):
    train, *_ = write_batches(tmp_path, "cifar10")
    dataset = load_dataset(cifar(tmp_path, image_size=16), tmp_path / "cache")
    resized = Image.fromarray(train[7].transpose(1, 2, 0)).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(dataset.train.images_NDHW[7].numpy(), np.asarray(resized).transpose(2, 0, 1))
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_statistics_are_of_the_training_images(tmp_path):
    train, *_ = write_batches(tmp_path, "cifar10")
    dataset = load_dataset(cifar(tmp_path))
    assert dataset.mean == pytest.approx((train / 255).mean((0, 2, 3)))
    assert dataset.std == pytest.approx((train / 255).std((0, 2, 3)))


@pytest.mark.parametrize(
    ("largest", "num_classes", "ratio", "total"),
    [
        (500, 100, 100, 10847),
        (500, 100, 50, 12608),
        (500, 100, 10, 19573),
        (5000, 10, 100, 12406),
        (5000, 10, 50, 13996),
        (5000, 10, 10, 20431),
    ],
)
def test_long_tails_have_the_published_sizes(largest, num_classes, ratio, total):
    counts = long_tailed_counts(largest, num_classes, ratio)
    assert sum(counts) == total
    assert counts[0] == largest == ratio * counts[-1]
    assert counts == sorted(counts, reverse=True)


def test_long_tailed_training_set(tmp_path):
    write_batches(tmp_path, "cifar10")
    whole, tailed, again, other = (
        load_dataset(cifar(tmp_path, imbalance_ratio=ratio, split_seed=seed))
        for ratio, seed in ((None, 0), (5.0, 0), (5.0, 0), (5.0, 1))
    )
    assert np.bincount(tailed.train.labels_N).tolist() == [5, 4, 3, 2, 2, 2, 1, 1, 1, 1]
    assert len(tailed.val) == len(whole.val) == 10
    assert np.array_equal(tailed.train.images_NDHW, again.train.images_NDHW)
    assert not np.array_equal(tailed.train.images_NDHW, other.train.images_NDHW)
    all_images = {image.numpy().tobytes() for image in whole.train.images_NDHW}
    assert {image.numpy().tobytes() for image in tailed.train.images_NDHW} < all_images


def test_long_tails_of_one_seed_are_nested():
    one, two = (
        {image.numpy().tobytes() for image in load_dataset(Data(image_size=8, imbalance_ratio=r)).train.images_NDHW}
        for r in (10.0, 50.0)
    )
    assert two < one


def test_training_files_alone_have_a_part_held_out(tmp_path):
    """As docs/study-files.md advises those who choose by validation and test later."""
    train, _ = write_parquet(tmp_path, "cifar10")
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    dataset = load_dataset(check_data(cifar(tmp_path, validation_fraction=0.4)))
    assert np.bincount(dataset.val.labels_N).tolist() == [2] * 10
    shown = {image.numpy().tobytes() for part in (dataset.train, dataset.val) for image in part.images_NDHW}
    assert shown == {image.tobytes() for image in train}


def test_a_tail_without_images_is_refused(tmp_path):
    write_batches(tmp_path, "cifar10")
    message = message_of(cifar(tmp_path, imbalance_ratio=20.0))
    assert message.startswith("data.imbalance_ratio: 20 leaves class 5 of cifar10 without a training image")
    assert message.endswith("possible: 1 to 5, or null")


def test_the_fingerprint_follows_content_and_not_path(tmp_path):
    write_batches(tmp_path / "one", "cifar10")
    write_batches(tmp_path / "two", "cifar10")
    one, two = (check_data(cifar(tmp_path / folder)) for folder in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    batch = tmp_path / "two/cifar-10-batches-py/test_batch"
    content = bytearray(batch.read_bytes())
    content[500] ^= 1
    batch.write_bytes(content)
    assert "are not those that the study was launched with" in message_of(two)


class Shout:
    def __reduce__(self):
        return print, ("a pickle ran this",)


def test_a_pickle_runs_nothing(tmp_path, capsys):
    write_batches(tmp_path, "cifar10")
    write_pickle(tmp_path / "cifar-10-batches-py/test_batch", {"data": Shout(), "labels": []})
    assert "asks for __builtin__.print" in message_of(cifar(tmp_path))
    assert capsys.readouterr().out == ""


def damaged_batches(root, damage):
    batch = root / "cifar-10-batches-py" / "data_batch_3"
    if damage == "missing":
        batch.unlink()
    elif damage == "truncated":
        batch.write_bytes(batch.read_bytes()[:5000])
    elif damage == "empty":
        batch.write_bytes(b"")
    else:
        write_pickle(batch, damage)


PIXELS = np.zeros((2, 3072), dtype=np.uint8)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ("missing", "lacks 'data_batch_3' of cifar10's 5 training files"),
        ("truncated", "data_batch_3 cannot be read ("),
        ("empty", "data_batch_3 cannot be read ("),
        ({"labels": [0]}, "data_batch_3 is no batch of CIFAR with 'data' and 'labels'"),
        ([1, 2], "data_batch_3 is no batch of CIFAR"),
        ({"data": PIXELS, "labels": [0, 10]}, "data_batch_3, image 1 of {root} has label 10, which is out of range"),
        ({"data": PIXELS, "labels": [0, -1]}, "has label -1, which is out of range; labels of cifar10 are 0 to 9"),
        ({"data": PIXELS, "labels": [0]}, "holds uint8 pixels of shape (2, 3072) for 1 labels"),
        ({"data": PIXELS[:, :100], "labels": [0, 1]}, "holds uint8 pixels of shape (2, 100) for 2 labels"),
        ({"data": PIXELS.astype(float), "labels": [0, 1]}, "holds float64 pixels"),
        ({"data": PIXELS, "labels": ["cat", "dog"]}, "holds labels that are no whole numbers"),
    ],
)
def test_damaged_batches(tmp_path, damage, rule):
    write_batches(tmp_path, "cifar10")
    damaged_batches(tmp_path, damage)
    assert rule.format(root=tmp_path) in message_of(cifar(tmp_path))


@pytest.mark.parametrize("labels", [[], [3] * 10])
def test_no_images_and_one_class_in_batches(tmp_path, labels):
    for number in range(1, 6):
        content = {"data": noise_images(len(labels)).reshape(-1, 3072), "labels": labels}
        write_pickle(tmp_path / f"data_batch_{number}", content)
        write_pickle(tmp_path / "test_batch", content)
    expected = "holds 1 of the 10 classes of cifar10" if labels else "holds no images of cifar10"
    assert message_of(cifar(tmp_path)) == f"data.path: {tmp_path} {expected}"


def rewrite(file, table):
    pq.write_table(table, file)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:3000]), "cannot be read ("),
        (
            lambda f: rewrite(f, pa.table({"photo": [b"x"], "label": [1]})),
            "has columns photo, label; cifar10 needs",
        ),
        (lambda f: rewrite(f, pa.table({"img": ["x"], "label": [1]})), "is string, not encoded images (binary)"),
        (lambda f: rewrite(f, pa.table({"img": [b"x"], "label": ["cat"]})), "a label is a whole number"),
        (lambda f: rewrite(f, pa.table({"img": [b"x"] * 2, "label": [1, None]})), "has 1 gaps"),
        (lambda f: rewrite(f, pa.table({"img": [b"x", None], "label": [1, 2]})), "1 rows of"),
        (lambda f: rewrite(f, pa.table({"img": [b"x"] * 2, "label": [1, 12]})), "has label 12, which is out of range"),
        (lambda f: rewrite(f, pa.table({"img": [b"x"] * 2, "label": [4, 4]})), "holds 1 of the 10 classes of cifar10"),
        (lambda f: rewrite(f, pq.read_table(f)[:0]), "holds no images of cifar10"),
        (lambda f: f.rename(f.with_name("other.parquet")), "but none called train*.parquet as cifar10 needs"),
    ],
)
def test_damaged_parquet(tmp_path, change, rule):
    write_parquet(tmp_path, "cifar10")
    change(tmp_path / "train-00000-of-00001.parquet")
    assert rule in message_of(cifar(tmp_path))


def test_a_truncated_image_in_parquet_is_named(tmp_path):
    write_parquet(tmp_path, "cifar10")
    file = tmp_path / "test-00000-of-00001.parquet"
    rows = pq.read_table(file).to_pylist()
    rows[4]["img"]["bytes"] = rows[4]["img"]["bytes"][:300]
    pq.write_table(pa.Table.from_pylist(rows), file)
    message = message_of(check_data(cifar(tmp_path)), load_dataset)
    assert message.startswith("data.path: image test-00000-of-00001.parquet, row 4 cannot be decoded (")


def test_wrong_layouts(tmp_path, write_images):
    assert "does not exist; cifar10 is cifar-10-batches-py/, " in message_of(cifar(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "has no copy of it in a known form; cifar10 is " in message_of(cifar(tmp_path / "empty"))
    (tmp_path / "empty" / "cifar-10-python.tar.gz").write_bytes(b"")
    assert "holds cifar-10-python.tar.gz and not what is in it; extract it" in message_of(cifar(tmp_path / "empty"))
    write_images("set/train", count=1)
    write_images("set/test", count=1)
    assert message_of(cifar(tmp_path / "set")).endswith("holds 2 of the 10 classes of cifar10")


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    """torchvision's own download, through a proxy where nobody listens."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    message = message_of(cifar(tmp_path / "new", download=True))
    assert message.startswith(f"data.download: cifar10 could not be downloaded to {tmp_path / 'new'} (")


def test_what_is_there_is_not_downloaded(tmp_path):
    write_batches(tmp_path, "cifar10")
    assert check_data(cifar(tmp_path, download=True)).fingerprint == check_data(cifar(tmp_path)).fingerprint
