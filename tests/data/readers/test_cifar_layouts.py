"""Copies of CIFAR as hubs, other Pythons and busy folders leave them: each is read once, or refused in one line."""

import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.dataset_loading import load_dataset
from tests.data.folders import message_of
from tests.data.readers.cifar_copies import NAMES, cifar, noise_images, write_batches, write_parquet


def rewritten(root, change):
    """Read every batch and write it again, as another program would."""
    for file in sorted((root / "cifar-10-batches-py").iterdir()):
        content = pickle.loads(file.read_bytes(), encoding="latin1")
        file.write_bytes(change(content))


def with_bytes_keys(content):
    names = {"label_names": [name.encode() for name in content.get("label_names", ())]}
    return {key.encode(): names.get(key, value) for key, value in content.items()}


def old_array(content):
    """As numpy 1 wrote it: its module had another name."""
    return pickle.dumps(content, 3).replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


CHANGES = {
    "the newest protocol": lambda content: pickle.dumps(content, pickle.HIGHEST_PROTOCOL),
    "protocol 4": lambda content: pickle.dumps(content, 4),
    "protocol 3 of numpy 1": old_array,
    "protocol 0": lambda content: pickle.dumps(content, 0),
    "bytes keys": lambda content: pickle.dumps(with_bytes_keys(content)),
    "bytes keys, protocol 2": lambda content: pickle.dumps(with_bytes_keys(content), 2),
    "labels of numpy": lambda content: pickle.dumps(
        {key: list(np.array(value)) if key == "labels" else value for key, value in content.items()}
    ),
    "a slice of an array": lambda content: pickle.dumps(
        {key: np.repeat(value, 2, axis=1)[:, ::2] if key == "data" else value for key, value in content.items()}, 5
    ),
    "pixels in Fortran's order": lambda content: pickle.dumps(
        {key: np.asfortranarray(value) if key == "data" else value for key, value in content.items()}, 5
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_batches_written_again_are_the_same_images(tmp_path, how):
    train, labels, test, _ = write_batches(tmp_path, "cifar10")
    rewritten(tmp_path, CHANGES[how])
    dataset = load_dataset(cifar(tmp_path))
    assert np.array_equal(dataset.train.images_NDHW.numpy(), train)
    assert np.array_equal(dataset.val.images_NDHW.numpy(), test)
    assert dataset.train.labels_N.tolist() == labels
    assert dataset.class_names == NAMES


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("harm", [print, eval, exec, getattr, __import__, np.load, np.lib.format.open_memmap])
def test_no_protocol_runs_anything(tmp_path, protocol, harm):
    write_batches(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps({"data": harm, "labels": []}, protocol))
    assert f".{harm.__name__}, which no batch of CIFAR does" in message_of(cifar(tmp_path))


def test_parquet_in_two_configurations_is_refused(tmp_path):
    for config in ("cifar10", "plain_text"):
        write_parquet(tmp_path / config, "cifar10")
    assert message_of(cifar(tmp_path)) == (
        f"data.path: {tmp_path} has Parquet files of cifar10 in cifar10/ and in plain_text/; "
        "set data.path to one of them"
    )
    assert len(load_dataset(cifar(tmp_path / "plain_text")).train) == 50


def test_hidden_copies_and_results_are_passed_over(tmp_path):
    write_parquet(tmp_path / "data", "cifar10")
    write_parquet(tmp_path / ".cache/data", "cifar10")
    write_parquet(tmp_path / "results/train/trials", "cifar10")
    (tmp_path / "results/train/study.yaml").write_text("")
    dataset = list_images(cifar(tmp_path))
    assert len(dataset.train.names) == 50
    assert dataset.passed_over == "1 hidden, 1 folder of results"


def in_pieces(file, names):
    table = pq.read_table(file)
    file.unlink()
    for number, name in enumerate(names):
        pq.write_table(table.slice(number * 25, 25), file.with_name(name))


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ("train-00000-of-00002-a09b74b3ef9c3b56.parquet", "train-00001-of-00002-0123456789abcdef.parquet"),
        ("train-0.parquet", "train-1.parquet"),
        ("cifar10-train_1.parquet", "cifar10-train_2.parquet"),
    ],
)
def test_pieces_are_put_together(tmp_path, names):
    train, _ = write_parquet(tmp_path, "cifar10")
    in_pieces(tmp_path / "train-00000-of-00001.parquet", names)
    assert np.array_equal(load_dataset(cifar(tmp_path)).train.images_NDHW.numpy(), train)


def test_pieces_in_a_folder_of_the_split(tmp_path):
    train, test = write_parquet(tmp_path, "cifar10")
    for split in ("train", "test"):
        (tmp_path / "plain_text" / split).mkdir(parents=True)
        shutil.move(tmp_path / f"{split}-00000-of-00001.parquet", tmp_path / "plain_text" / split / "0000.parquet")
    for root in (tmp_path, tmp_path / "plain_text"):
        dataset = load_dataset(cifar(root))
        assert np.array_equal(dataset.train.images_NDHW.numpy(), train)
        assert np.array_equal(dataset.val.images_NDHW.numpy(), test)


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (("train.parquet", "train-copy.parquet"), "both hold the same part of cifar10, and are not pieces of it"),
        (("train.parquet", "train (1).parquet"), "both hold the same part of cifar10"),
        (("train-1.parquet", "train-3.parquet"), "both hold the same part of cifar10"),
        (("a-train-0.parquet", "b-train-1.parquet"), "both hold the same part of cifar10"),
        (("train-00000-of-00003.parquet", "train-00002-of-00003.parquet"), "lacks piece 1 of 3 of cifar10"),
        (("train-00000-of-00002.parquet",), "lacks piece 1 of 2 of cifar10"),
    ],
)
def test_files_that_are_not_all_the_pieces_are_refused(tmp_path, names, rule):
    write_parquet(tmp_path, "cifar10")
    in_pieces(tmp_path / "train-00000-of-00001.parquet", names)
    assert rule in message_of(cifar(tmp_path))


def test_capitals_in_names_of_parquet_files(tmp_path):
    write_parquet(tmp_path, "cifar10")
    (tmp_path / "train-00000-of-00001.parquet").rename(tmp_path / "Train.parquet")
    (tmp_path / "test-00000-of-00001.parquet").rename(tmp_path / "Test.parquet")
    assert len(list_images(cifar(tmp_path)).val.names) == 10


def write_class_folders(root, train="train", test="test"):
    for split, count in ((train, 30), (test, 10)):
        for number, pixels in enumerate(noise_images(count)):
            folder = root / split / NAMES[number % 10]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{number}.png")


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "Test")])
def test_results_beside_class_folders_do_not_matter(tmp_path, train, test):
    write_class_folders(tmp_path, train, test)
    write_parquet(tmp_path / "results/study/trials", "cifar10")
    (tmp_path / "results/study/study.yaml").write_text("")
    dataset = list_images(cifar(tmp_path))
    assert (len(dataset.train.names), len(dataset.val.names)) == (30, 10)


def test_a_folder_called_test_beside_parquet_files_does_not_matter(tmp_path):
    write_parquet(tmp_path / "data", "cifar10")
    (tmp_path / "tests/more").mkdir(parents=True)
    assert len(list_images(cifar(tmp_path)).train.names) == 50


def test_results_alone_are_no_copy(tmp_path):
    write_parquet(tmp_path / "results/study/trials", "cifar10")
    (tmp_path / "results/study/study.yaml").write_text("")
    assert "has no copy of it in a known form" in message_of(cifar(tmp_path))


def test_a_test_set_that_is_the_training_set_is_refused(tmp_path):
    write_parquet(tmp_path / "parquet", "cifar10")
    shutil.copy(*(tmp_path / f"parquet/{split}-00000-of-00001.parquet" for split in ("train", "test")))
    write_batches(tmp_path / "batches", "cifar10")
    shutil.copy(*(tmp_path / f"batches/cifar-10-batches-py/{name}" for name in ("data_batch_2", "test_batch")))
    assert message_of(cifar(tmp_path / "parquet")).startswith("data: 50 of 50 validation images are copies of training")
    assert message_of(cifar(tmp_path / "batches")).startswith(
        "data: 10 of 10 validation images are copies of training images, test_batch, image 0 of data_batch_2, image 0"
    )
