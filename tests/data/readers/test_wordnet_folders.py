"""Tiny-ImageNet in its published layout, and layouts that are refused."""

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.study.recipe import Data
from tests.data.folders import message_of

WNIDS = ("n01443537", "n01629819", "n01641578")


@pytest.fixture
def tiny(tmp_path):
    """A small Tiny-ImageNet: grey levels say which image is which."""
    level = 0
    annotations = []
    for wnid in reversed(WNIDS):
        for split, names in (("train", [f"{wnid}_{i}" for i in range(3)]), ("val", [f"val_{wnid[-1]}"])):
            folder = tmp_path / split / (f"{wnid}/images" if split == "train" else "images")
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                Image.new("L" if level % 3 else "RGB", (64, 64), level if level % 3 else (level,) * 3).save(
                    folder / f"{name}.JPEG"
                )
                level += 10
        annotations.append(f"{names[0]}.JPEG\t{wnid}\t0\t32\t44\t62\n")
        (tmp_path / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    (tmp_path / "val/val_annotations.txt").write_text("".join(annotations))
    (tmp_path / "test/images").mkdir(parents=True)
    (tmp_path / "wnids.txt").write_text("\n".join(WNIDS))
    return Data(name="tiny_imagenet", path=str(tmp_path), image_size=64)


def test_images_and_labels(tiny):
    dataset = load_dataset(check_data(tiny))
    assert dataset.class_names == WNIDS
    assert dataset.train.labels_N.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.val.labels_N.tolist() == [2, 1, 0]
    levels = dataset.val.images_NDHW.float().mean((1, 2, 3)).tolist()
    assert levels == pytest.approx([30, 70, 110], abs=1)
    assert np.ptp(dataset.train.images_NDHW[0].numpy()) <= 2


def change(root, what):
    annotations = root / "val/val_annotations.txt"
    if what == "no train":
        (root / "train").rename(root / "training")
    elif what == "no annotations":
        annotations.unlink()
    elif what == "no images of val":
        (root / "val/images").rename(root / "val/photos")
    elif what == "unknown class":
        annotations.write_text(annotations.read_text() + "val_7.JPEG\tn99999999\t0\t0\t1\t1\n")
    elif what == "absent file":
        (root / "val/images/val_7.JPEG").unlink()
    elif what == "empty annotations":
        annotations.write_text("\n")
    elif what == "one class":
        for wnid in WNIDS[1:]:
            (root / f"train/{wnid}").rename(root / wnid)
    elif what == "no images":
        for image in (root / "train").rglob("*.JPEG"):
            image.unlink()


@pytest.mark.parametrize(
    ("what", "rule"),
    [
        ("no train", "has no folder train; tiny_imagenet is train/WNID/images/ with"),
        ("no annotations", "has no val/val_annotations.txt; tiny_imagenet is"),
        ("no images of val", "has no folder val/images; tiny_imagenet is"),
        ("unknown class", "line 4: 'n99999999' is not one of the 3 class folders in train/"),
        ("absent file", "1 of 3 image files cannot be found, "),
        ("empty annotations", "names no images; a line is IMAGE, a tab, WNID"),
        ("one class", "has one class folder, 'n01443537'; at least 2 are needed"),
        ("no images", "holds no images in a folder per class"),
    ],
)
def test_wrong_layouts(tiny, tmp_path, what, rule):
    change(tmp_path, what)
    message = message_of(tiny)
    assert message.startswith("data.path: ")
    assert rule in message


def test_missing_and_truncated(tiny, tmp_path):
    assert "does not exist; tiny_imagenet is" in message_of(tiny.model_copy(update={"path": str(tmp_path / "x")}))
    image = tmp_path / "val/images/val_7.JPEG"
    image.write_bytes(image.read_bytes()[:100])
    message = message_of(check_data(tiny), load_dataset)
    assert message.startswith(f"data.path: image {image} cannot be decoded (")
