"""Folders as people keep them: each has one right reading, or is refused in one line with the reason."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.readers import folder_walk
from kd_sweep.study.recipe import Data
from tests.data.folders import folder_data, message_of

COUNT = 3
"""Images in a class folder."""


def write_image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(str(file).encode())).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")


def fill(root: Path, *folders: str, suffix: str = ".png") -> None:
    for folder in folders:
        for number in range(COUNT):
            write_image(root / folder / f"{number}{suffix}")


def classes(*splits: str) -> tuple[str, ...]:
    return tuple(f"{split}/{name}" for split in splits for name in ("cat", "dog"))


def refusal_of(root: Path) -> str:
    return message_of(folder_data(root), list_images).replace(str(root), "ROOT")


READ = {
    "plain classes": (("cat", "dog"), None),
    "train and val": (classes("train", "val"), "val"),
    "train and test": (classes("train", "test"), "test"),
    "capitals": (classes("Train", "Test"), "Test"),
    "loud": (classes("TRAIN", "VALID"), "VALID"),
    "training_set and test_set": (classes("training_set", "test_set"), "test_set"),
    "glued words": (classes("trainset", "testset"), "testset"),
    "camel case": (classes("TrainingSet", "ValidationSet"), "ValidationSet"),
    "training and validation": (classes("training", "validation"), "validation"),
    "training and testing": (classes("training", "testing"), "testing"),
    "train and dev": (classes("train", "dev"), "dev"),
    "dashes": (classes("train-images", "val-images"), "val-images"),
    "years": (classes("train2017", "val2017"), "val2017"),
    "a shared word": (classes("seg_train", "seg_test"), "seg_test"),
    "validation before test": ((*classes("training", "Validation"), "Test/cat", "Test/dog"), "Validation"),
    "other folders beside the two": ((*classes("train", "val"), "annotations/all"), "val"),
    "a class called train": (("bus", "train", "truck"), None),
    "classes that end like splits": (("bullet_train", "freight_train"), None),
    "a class called test": (("cat", "dog", "test"), None),
    "one inner folder, as Tiny-ImageNet's": (("cat/images", "dog/images"), None),
    "deeper, with names of their own": (("cat/a", "cat/b", "dog/c", "dog/d"), None),
}


@pytest.mark.parametrize("name", READ)
def test_layouts_that_have_one_reading(tmp_path, name):
    folders, held_out = READ[name]
    fill(tmp_path, *folders)
    dataset = list_images(folder_data(tmp_path))
    if held_out is None:
        assert dataset.val is None
        assert len(dataset.train.names) == COUNT * len(folders)
        assert dataset.class_names == tuple(sorted({folder.partition("/")[0] for folder in folders}))
    else:
        assert dataset.class_names == ("cat", "dog")
        assert dataset.train.names == [f"{folder}/{i}.png" for folder in folders[:2] for i in range(COUNT)]
        assert dataset.val.names == [f"{held_out}/{label}/{i}.png" for label in ("cat", "dog") for i in range(COUNT)]
        assert dataset.train.labels_N.tolist() == dataset.val.labels_N.tolist() == [0] * COUNT + [1] * COUNT


REFUSED = {
    "no name says which is which": (classes("one", "two"), "ROOT has one/ and two/, which both hold cat/ and dog/"),
    "three parts in another language": (
        classes("entrenamiento", "prueba", "otra"),
        "ROOT has entrenamiento/ and otra/, which both hold cat/ and dog/, as splits do and classes do not",
    ),
    "parts of which one has more classes": ((*classes("a", "b"), "a/emu"), "ROOT has a/ and b/, which both hold"),
    "splits inside classes": (
        ("cat/train", "cat/val", "dog/train", "dog/val"),
        "ROOT/cat holds train/ and val/, as a dataset does and a class does not",
    ),
    "images beside masks, each in splits": (
        ("images/train", "images/val", "masks/train"),
        "ROOT/images holds train/ and val/, as a dataset does and a class does not; set data.path to it",
    ),
    "images and masks in every class": (
        ("cat/images", "cat/masks", "dog/images", "dog/masks"),
        "ROOT has cat/ and dog/, which both hold images/ and masks/",
    ),
    "two spellings of one": (classes("train", "Train", "val"), "ROOT has Train/ and train/, which say the same"),
    "two folds": (
        classes("train1", "val1", "train2", "val2"),
        "ROOT has val1/ and val2/, which say the same of their images",
    ),
    "training alone": (classes("Training"), "ROOT has Training/ but neither val/ nor test/; add one of them"),
    "test alone": (classes("test_set"), "ROOT has test_set/ and no train/; add it, or set data.path to ROOT/test_set"),
    "test beside classes": (
        ("cat", "dog", *classes("test")),
        "ROOT has test/ and no train/; add it, or set data.path to ROOT/test",
    ),
    "splits without classes": (("train", "test"), "ROOT/train holds no images in a folder per class"),
    "one class in training": (
        ("train/cat", *classes("val")),
        "ROOT/train has one class folder, 'cat'; at least 2 are needed",
    ),
    "a folder around": (classes("dataset"), "ROOT has one class folder, 'dataset'; at least 2 are needed"),
    "classes that differ": (
        (*classes("Train", "Test"), "Test/emu"),
        "ROOT/Train lacks class folder 'emu', which Test/ has",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layouts_without_one_reading_are_refused(tmp_path, name):
    folders, reason = REFUSED[name]
    fill(tmp_path, *folders)
    assert refusal_of(tmp_path).startswith(f"data.path: {reason}")


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("loop", [".", "..", "../..", "loop", "../../set/cat", "/"])
def test_links_that_lead_back_add_nothing(tmp_path, loop):
    fill(tmp_path / "set", "cat", "dog")
    link(tmp_path / "set/cat/loop", loop)
    dataset = list_images(folder_data(tmp_path / "set"))
    assert dataset.train.names == [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(COUNT)]


def test_loops_through_other_folders_end(tmp_path):
    fill(tmp_path, "set/cat", "set/dog", "elsewhere/more")
    link(tmp_path / "set/cat/more", "../../elsewhere")
    link(tmp_path / "elsewhere/back", "../set")
    link(tmp_path / "elsewhere/more/up", "..")
    dataset = list_images(folder_data(tmp_path / "set"))
    assert len(dataset.train.names) == 3 * COUNT
    assert dataset.passed_over == "2 links to folders read already"


def test_a_folder_under_two_names_in_one_class_is_read_once(tmp_path):
    fill(tmp_path, "cat", "cat/z", "dog")
    link(tmp_path / "cat/a", "z")
    assert [name for name in list_images(folder_data(tmp_path)).train.names if "z" in name] == [
        f"cat/z/{i}.png" for i in range(COUNT)
    ]


@pytest.mark.parametrize("held_out", [(), ("val/cat", "val/dog")])
def test_a_link_into_another_class_is_refused(tmp_path, held_out):
    train = "train/" if held_out else ""
    fill(tmp_path, f"{train}cat", f"{train}dog", *held_out)
    link(tmp_path / train / "dog/link", "../cat")
    assert "dog/link/0.png is the same file as" in refusal_of(tmp_path)


def test_copies_of_training_images_in_validation_are_refused(tmp_path):
    fill(tmp_path, *classes("train", "val"))
    shutil.copy(tmp_path / "train/cat/1.png", tmp_path / "val/dog/copy.png")
    assert refusal_of(tmp_path) == (
        "data: 1 of 7 validation images are copies of training images, ROOT/val/dog/copy.png of ROOT/train/cat/1.png "
        "for one; validation must not overlap training, take them out of one of the two"
    )


def test_copies_that_a_split_could_part_are_refused(tmp_path):
    fill(tmp_path, "cat", "dog")
    shutil.copy(tmp_path / "cat/1.png", tmp_path / "cat/copy.png")
    assert refusal_of(tmp_path).startswith("data: 1 of 7 images are copies, ROOT/cat/copy.png of ROOT/cat/1.png")


def test_a_few_copies_in_a_large_set_are_counted(tmp_path):
    fill(tmp_path, "train/cat", "train/dog", "val/cat")
    for number in range(1000):
        (tmp_path / "val/dog").mkdir(exist_ok=True)
        (tmp_path / f"val/dog/{number}.png").write_text(str(number))
    shutil.copy(tmp_path / "train/cat/1.png", tmp_path / "val/dog/copy.png")
    assert list_images(folder_data(tmp_path)).copies == 1


def test_hidden_and_system_folders_are_passed_over_and_counted(tmp_path):
    fill(tmp_path, "cat", "dog", "cat/@eaDir", "__MACOSX/cat", ".cache/cat", "dog/.ipynb_checkpoints", "$RECYCLE.BIN/x")
    (tmp_path / "dog/Thumbs.db").write_text("")
    (tmp_path / "dog/notes.txt").write_text("")
    (tmp_path / "dog/photo.heic").write_text("")
    (tmp_path / "dog/README").write_text("")
    write_image(tmp_path / "cover.png")
    dataset = list_images(folder_data(tmp_path))
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset.train.names) == 2 * COUNT
    assert dataset.passed_over == (
        "2 hidden, 1 outside class folders, 4 of the system ($RECYCLE.BIN, @eaDir, Thumbs.db, …), "
        "3 not images (no suffix, .heic, .txt)"
    )


@pytest.mark.parametrize("suffix", [".jfif", ".avif", ".JPE", ".jp2", ".webp", ".Tif", ".qoi"])
def test_every_suffix_that_pillow_reads_is_an_image(tmp_path, suffix):
    fill(tmp_path, "cat", "dog", suffix=suffix)
    assert len(list_images(folder_data(tmp_path)).train.names) == 2 * COUNT


def test_a_folder_without_images_is_refused_soon(tmp_path, monkeypatch):
    """`/` and `/proc` hold millions of files, and few or none are images."""
    monkeypatch.setattr(folder_walk, "MAX_OTHERS", 100)
    for folder in ("far", "near"):
        for number in range(70):
            (tmp_path / folder / str(number)).mkdir(parents=True)
    assert refusal_of(tmp_path) == (
        "data.path: of 142 files and folders looked at under ROOT, 0 are images; point it at the dataset's own folder"
    )
    for folder in ("far", "near"):
        fill(tmp_path, *(f"{folder}/{number}" for number in range(0, 70, 10)))
        for number in range(0, 70, 10):  # names that both hold would make them splits
            (tmp_path / folder / str(number)).rename(tmp_path / folder / f"{folder}{number}")
    assert len(list_images(folder_data(tmp_path)).train.names) == 2 * 7 * COUNT


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_proc_is_refused_within_seconds():
    assert refusal_of(Path("/proc")).startswith("data.path: ")


@pytest.mark.parametrize("path", ["~nosuchuser/images", "images\0", "i" * 5000])
def test_text_that_cannot_be_a_path_is_refused(path):
    data = Data(name="image_folder", path=path, image_size=8)
    assert message_of(data, list_images).startswith(f"data.path: {path!r} cannot be a path (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    fill(tmp_path, "cat", "dog", "dog/locked")
    (tmp_path / "dog/locked").chmod(0)
    assert refusal_of(tmp_path) == "data.path: ROOT/dog/locked cannot be read (Permission denied)"
