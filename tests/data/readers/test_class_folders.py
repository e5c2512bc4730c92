"""Image folders: their images as PIL reads them, and layouts that are refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_loading import load_dataset
from tests.data.folders import folder_data, message_of


def read_with_pil(path, size=8):
    """torchvision's usual validation transform, by its own steps: shorter side to ``size``, then the centre."""
    from torchvision.transforms import functional

    with Image.open(path) as image:
        resized = functional.resize(image.convert("RGB"), size, functional.InterpolationMode.BILINEAR)
        return np.asarray(functional.center_crop(resized, size), dtype=int).transpose(2, 0, 1)


def test_train_and_test_folders(write_images):
    root = write_images("set/train", ("b", "a", "c"), count=4).parent
    write_images("set/test", ("a", "b", "c"), count=2)
    dataset = load_dataset(check_data(folder_data(root)))
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.train.labels_N.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.val.labels_N.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.train.images_NDHW.shape == (12, 3, 8, 8)
    assert dataset.horizontal_flip
    assert not load_dataset(folder_data(root, horizontal_flip=False)).horizontal_flip


def test_val_is_preferred_to_test(write_images):
    root = write_images("set/train").parent
    write_images("set/test", count=2)
    write_images("set/val", count=3)
    assert len(load_dataset(folder_data(root)).val) == 6


def test_square_images_are_exactly_pils(write_images):
    root = write_images("set", size=(16, 16), count=3)
    dataset = load_dataset(folder_data(root, validation_fraction=0.3))
    shown = {image.numpy().tobytes() for part in (dataset.train, dataset.val) for image in part.images_NDHW}
    files = sorted(root.rglob("*.png"))
    assert shown == {read_with_pil(file).astype(np.uint8).tobytes() for file in files}


@pytest.mark.parametrize("size", [(48, 16), (16, 32), (72, 24)])
def test_oblong_images_are_resized_and_cropped_to_the_centre(write_images, size):
    root = write_images("set", size=size, count=2)
    dataset = load_dataset(folder_data(root, validation_fraction=0.5))
    shown = torch.cat([dataset.train.images_NDHW, dataset.val.images_NDHW]).numpy().astype(int)
    for file in root.rglob("*.png"):
        # PIL rounds to whole levels after each direction, and we cut to the square before.
        assert np.abs(shown - read_with_pil(file)).max((1, 2, 3)).min() <= 1


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_other_colour_modes_become_rgb(write_images, mode):
    root = write_images("set", count=3)
    image = Image.fromarray(np.full((10, 10, 3), 255, dtype=np.uint8)).convert(mode)
    image.save(root / "cat" / ("0.jpg" if mode == "CMYK" else "0.png"))
    dataset = load_dataset(folder_data(root, validation_fraction=0.01))
    whitest = torch.cat([dataset.train.images_NDHW, dataset.val.images_NDHW]).flatten(1).amin(1)
    assert int(whitest.max()) == 255


def test_single_folder_is_split_by_seed(write_images):
    root = write_images("set", ("a", "b", "c"), count=10)
    first, again, other = (
        load_dataset(folder_data(root, validation_fraction=0.3, split_seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.bincount(first.val.labels_N).tolist() == [3, 3, 3]
    assert torch.bincount(first.train.labels_N).tolist() == [7, 7, 7]
    assert torch.equal(first.val.images_NDHW, again.val.images_NDHW)
    assert not torch.equal(first.val.images_NDHW, other.val.images_NDHW)


def test_limits_apply_to_both_sets(write_images):
    root = write_images("set/train", ("a", "b", "c"), count=6).parent
    write_images("set/val", ("a", "b", "c"), count=5)
    dataset = load_dataset(folder_data(root, max_train_images=9, max_val_images=6))
    assert torch.bincount(dataset.train.labels_N).tolist() == [3, 3, 3]
    assert torch.bincount(dataset.val.labels_N).tolist() == [2, 2, 2]


def test_images_below_class_folders_are_read_and_other_files_are_not(write_images):
    root = write_images("set", count=3)
    (root / "cat" / "more").mkdir()
    Image.new("RGB", (16, 16), "red").save(root / "cat" / "more" / "0.PNG")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / ".hidden.png").write_text("no image")
    (root / ".cache").mkdir()
    (root / "README.md").write_text("no class")
    dataset = load_dataset(folder_data(root, validation_fraction=0.3))
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset.train) + len(dataset.val) == 7


def test_fingerprint_follows_content_and_not_path(write_images, tmp_path):
    root = write_images("set")
    checked = check_data(folder_data(root))
    assert Path(checked.path).is_absolute()
    shutil.copytree(root, tmp_path / "copy")
    assert check_data(folder_data(tmp_path / "copy")).fingerprint == checked.fingerprint
    (tmp_path / "copy" / "cat" / "0.png").rename(tmp_path / "copy" / "cat" / "9.png")
    assert check_data(folder_data(tmp_path / "copy")).fingerprint != checked.fingerprint


def test_a_path_relative_to_here_becomes_absolute(write_images, monkeypatch):
    root = write_images("set")
    monkeypatch.chdir(root.parent)
    assert check_data(folder_data("set")).path == str(root)


def test_changed_images_are_noticed(write_images):
    root = write_images("set")
    checked = check_data(folder_data(root))
    (root / "cat" / "0.png").unlink()
    message = message_of(checked, load_dataset)
    assert message.startswith(f"data.path: the images under {root} are not those that the study was launched with")
    assert checked.fingerprint in message


def test_missing_folder(tmp_path):
    assert message_of(folder_data(tmp_path / "none")) == (
        f"data.path: {tmp_path / 'none'} does not exist; an image_folder is a folder with one folder per class"
    )


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file, not a folder" in message_of(folder_data(tmp_path / "file"))


@pytest.mark.parametrize("folders", [[], ["cat", "dog"]])
def test_no_images(tmp_path, folders):
    for name in folders:
        (tmp_path / name).mkdir()
    message = message_of(folder_data(tmp_path))
    assert message.startswith(f"data.path: {tmp_path} holds no images in a folder per class; possible files: .jpg, ")


def test_images_without_class_folders(write_images, tmp_path):
    root = write_images("set", ("cat",))
    assert "holds no images in a folder per class" in message_of(folder_data(root / "cat"))


def test_one_class(write_images):
    root = write_images("set", ("cat",))
    assert message_of(folder_data(root)) == f"data.path: {root} has one class folder, 'cat'; at least 2 are needed"


def test_empty_class(write_images):
    root = write_images("set")
    (root / "emu").mkdir()
    assert message_of(folder_data(root)) == (
        f"data.path: class folder {root / 'emu'} holds no images; fill it or remove it"
    )


@pytest.mark.parametrize(("train", "test", "lacking"), [("abc", "ab", "test"), ("ab", "abcd", "train")])
def test_classes_differ(write_images, train, test, lacking):
    root = write_images("set/train", tuple(train)).parent
    write_images("set/test", tuple(test))
    message = message_of(folder_data(root))
    assert message.startswith(f"data.path: {root / lacking} lacks class folder 'c'")
    assert ("and 1 more" in message) == (lacking == "train")


def test_train_without_held_out_folder(write_images):
    root = write_images("set/train").parent
    message = message_of(folder_data(root))
    assert message.startswith(
        f"data.path: {root} has train/ but neither val/ nor test/; add one of them, or set data.path"
    )
    assert len(load_dataset(folder_data(root / "train")).val) == 2


def test_nothing_to_hold_out(write_images):
    root = write_images("set", count=1)
    assert "holds a single image, so none can be held out" in message_of(folder_data(root))


def link_to(source, link):
    link.symlink_to(source)


@pytest.mark.parametrize("link", [link_to, os.link])
def test_one_file_under_two_names_is_never_split(write_images, link):
    root = write_images("set")
    link(root / "dog" / "2.png", root / "dog" / "again.png")
    assert message_of(folder_data(root)) == (
        f"data: {root / 'dog' / 'again.png'} is the same file as {root / 'dog' / '2.png'}, and validation is split off "
        f"the training images, so that one could be in both; remove one of the two"
    )


def test_a_file_may_be_trained_on_twice_where_validation_is_apart(write_images):
    root = write_images("set/train").parent
    write_images("set/val", count=2)
    link_to(root / "train" / "dog" / "2.png", root / "train" / "dog" / "again.png")
    assert len(load_dataset(folder_data(root)).train) == 11


def test_fewer_training_images_than_classes(write_images):
    root = write_images("set", ("a", "b", "c"))
    assert message_of(folder_data(root, max_train_images=2)) == (
        "data.max_train_images: 2 is fewer than the 3 classes of image_folder; possible: 3 to 15, or null for all"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_image(write_images):
    root = write_images("set")
    (root / "cat" / "0.png").chmod(0)
    assert "cannot be read (Permission denied)" in message_of(folder_data(root))
