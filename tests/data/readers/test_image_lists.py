"""Image lists: images and labels in the order of the lists, and lists that are refused."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kd_sweep.data.contents import check_data
from kd_sweep.data.dataset_listing import list_images
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.study.recipe import Data
from kd_sweep.study.trial import TrialConfig
from tests.data.folders import message_of


@pytest.fixture
def listed(write_images, tmp_path):
    """ImageNet's layout with two classes of 5 images; write lists and return the data section."""
    root = write_images("images", ("n01", "n02"), suffix=".JPEG")

    def make(train, val=(), **fields):
        (tmp_path / "train.txt").write_text("".join(f"{line}\n" for line in train))
        (tmp_path / "val.txt").write_text("".join(f"{line}\n" for line in val))
        lists = {"train_list": str(tmp_path / "train.txt"), "val_list": str(tmp_path / "val.txt") if val else None}
        return Data(**({"name": "image_list", "path": str(root), "image_size": 16} | lists | fields))

    return make


TRAIN = ["n02/0.JPEG 1", "n01/3.JPEG 0", "n01/1.JPEG 0", "n02/4.JPEG 1"]
VAL = ["n01/0.JPEG 0", "n02/1.JPEG 1"]


def pixels_of(file):
    with Image.open(file) as image:
        left = (image.width - image.height) // 2
        square = image.crop((left, 0, left + image.height, image.height))
        return np.asarray(square.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def test_images_and_labels_in_the_order_of_the_lists(listed, tmp_path):
    data = check_data(listed(TRAIN, [*VAL, ""]))
    dataset = load_dataset(data, tmp_path / "cache")
    assert dataset.train.labels_N.tolist() == [1, 0, 0, 1]
    assert dataset.val.labels_N.tolist() == [0, 1]
    assert dataset.class_names == ("n01", "n02")
    for line, image in zip(TRAIN + VAL, [*dataset.train.images_NDHW, *dataset.val.images_NDHW], strict=True):
        assert np.abs(image.numpy().astype(int) - pixels_of(tmp_path / "images" / line.split()[0])).max() <= 1


def test_without_a_validation_list_some_are_held_out(listed, tmp_path):
    lines = [f"n0{label + 1}/{number}.JPEG {label}" for label in (0, 1) for number in range(5)]
    dataset = load_dataset(listed(lines, validation_fraction=0.4))
    assert np.bincount(dataset.train.labels_N).tolist() == [3, 3]
    assert np.bincount(dataset.val.labels_N).tolist() == [2, 2]
    shown = {image.numpy().tobytes() for part in (dataset.train, dataset.val) for image in part.images_NDHW}
    assert len(shown) == 10


def test_paths_may_hold_spaces_and_classes_may_share_a_folder(listed, tmp_path):
    for number in range(2):
        shutil.copy(tmp_path / "images/n01" / f"{number + 2}.JPEG", tmp_path / "images" / f"a photo {number}.JPEG")
    dataset = load_dataset(listed(["a photo 0.JPEG 0", "a photo 1.JPEG 1"], VAL))
    assert dataset.class_names == ("0", "1")


def numbered(tmp_path, *names):
    """Copy the images 0, 1, … of both classes under these names in turn; return their lines."""
    lines = []
    for number, name in enumerate(names):
        target = tmp_path / "images" / name
        target.parent.mkdir(exist_ok=True)
        shutil.move(tmp_path / "images" / f"n0{number % 2 + 1}/{number}.JPEG", target)
        lines.append(f"{name} {number % 2}")
    return lines


ODD_NAMES = ("n01/line\u2028end.JPEG", " n02/led by a space.JPEG", "n01/form\x0cfeed.JPEG", "n02/next\x85line .JPEG")


def write_list(tmp_path, text):
    (tmp_path / "train.txt").write_bytes(text)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lists_of_any_editor_with_names_of_any_characters(listed, tmp_path, mark, end):
    data = listed([])
    lines = numbered(tmp_path, *ODD_NAMES)
    write_list(tmp_path, mark + end.join(line.encode() for line in lines) + end)
    dataset = list_images(data)
    assert dataset.train.names == list(ODD_NAMES)
    assert dataset.train.labels_N.tolist() == [0, 1, 0, 1]


def test_tabs_and_spaces_around_names_and_labels(listed, tmp_path):
    data = listed([])
    write_list(tmp_path, b"  n01/0.JPEG  0\nn01/1.JPEG\t0 \n\tn02/0.JPEG 1\t\n\n \nn02/1.JPEG   1\n")
    assert list_images(data).train.names == ["n01/0.JPEG", "n01/1.JPEG", "n02/0.JPEG", "n02/1.JPEG"]


def test_a_name_with_a_nul_is_absent(listed, tmp_path):
    data = listed([])
    write_list(tmp_path, b"n01/0.JPEG 0\nn02/0\0.JPEG 1\nn02/1.JPEG 1\n")
    assert "train.txt: 1 of its 3 files cannot be found" in message_of(data)


def test_copies_of_training_images_in_validation_are_refused(listed, tmp_path):
    shutil.copy(tmp_path / "images/n02/0.JPEG", tmp_path / "images/n01/copy.JPEG")
    message = message_of(listed(TRAIN, [*VAL, "n01/copy.JPEG 0"]))
    assert message.startswith("data: 1 of 3 validation images are copies of training images, ")
    assert f"{tmp_path}/images/n01/copy.JPEG of {tmp_path}/images/n02/0.JPEG for one" in message


def test_a_file_of_two_classes_is_refused(listed, tmp_path):
    (tmp_path / "images/linked").symlink_to(tmp_path / "images/n01")
    message = message_of(listed([*TRAIN, "linked/3.JPEG 1"], VAL))
    assert message.endswith("images/n01/3.JPEG, which is of another class; remove one of the two")


def test_paths_of_lists_count_from_the_directory_of_the_command(listed, tmp_path, monkeypatch):
    data = listed(TRAIN, VAL)
    monkeypatch.chdir(tmp_path)
    checked = check_data(data.model_copy(update={"path": "images", "train_list": "train.txt", "val_list": "val.txt"}))
    assert checked == check_data(data)
    assert checked.train_list == str(tmp_path / "train.txt")


def test_moved_images_and_lists_are_the_same_trial(listed, tmp_path):
    before = check_data(listed(TRAIN, VAL))
    for name in ("images", "train.txt", "val.txt"):
        (tmp_path / "there").mkdir(exist_ok=True)
        shutil.move(tmp_path / name, tmp_path / "there" / name)
    there = {
        key: getattr(before, key).replace(str(tmp_path), str(tmp_path / "there")) for key in ("path", "train_list")
    }
    after = check_data(before.model_copy(update={**there, "val_list": str(tmp_path / "there/val.txt")}))
    assert before.fingerprint == after.fingerprint
    assert TrialConfig(data=before).trial_id == TrialConfig(data=after).trial_id


def test_changed_labels_change_the_fingerprint(listed):
    one, two = (check_data(listed(train, VAL)).fingerprint for train in (TRAIN, [*TRAIN[:-1], "n02/4.JPEG 0"]))
    assert one != two


def test_an_overlap_is_refused_with_its_count(listed, tmp_path):
    message = message_of(listed(TRAIN, [*VAL, TRAIN[0], TRAIN[3]]))
    assert message.startswith("data: 2 of 4 validation images are training images too, ")
    assert f"{tmp_path / 'images' / 'n02/0.JPEG'} for one; validation must not overlap training" in message


@pytest.mark.parametrize("link", ["n01/../n01/3.JPEG 0", "linked/3.JPEG 0"])
def test_an_overlap_under_another_name_is_refused(listed, tmp_path, link):
    (tmp_path / "images/linked").symlink_to(tmp_path / "images/n01")
    assert "1 of 3 validation images are training images too" in message_of(listed(TRAIN, [*VAL, link]))


def test_a_file_listed_under_two_names_is_never_split(listed, tmp_path):
    (tmp_path / "images/linked").symlink_to(tmp_path / "images/n01")
    again = tmp_path / "images" / "linked/3.JPEG"
    message = message_of(listed([*TRAIN, "linked/3.JPEG 0"]))
    assert message.startswith(f"data: {again} is the same file as {tmp_path / 'images' / 'n01/3.JPEG'}, and validation")
    assert len(load_dataset(listed([*TRAIN, "linked/3.JPEG 0"], VAL)).train) == 5


def test_folders_that_overlap_are_refused(write_images):
    root = write_images("set/train").parent
    (root / "val").symlink_to(root / "train")
    message = message_of(Data(name="image_folder", path=str(root), image_size=8))
    assert message.startswith("data: 10 of 10 validation images are training images too")


@pytest.mark.parametrize(
    ("train", "val", "rule"),
    [
        ([], VAL, "train.txt names no images; it is a text file of lines `path label`"),
        (["n01/0.JPEG 0", "n01/1.JPEG 0"], (), "train.txt has one class, label 0; at least 2 are needed"),
        ([*TRAIN, "n01/2.JPEG 3"], (), "train.txt, line 5: label 3 is out of range, as no training image has label 2"),
        (["n01/1.JPEG 1", "n02/1.JPEG 2"], (), "train.txt, line 1: label 1 is out of range, as no training image"),
        (TRAIN, [*VAL, "n02/2.JPEG 2"], "val.txt, line 3: label 2 is out of range; possible: 0 to 1, as in"),
        (TRAIN, VAL[:1], "val.txt has one class, label 0; at least 2 are needed"),
        ([*TRAIN, "n01/2.JPEG"], VAL, "train.txt, line 5: 'n01/2.JPEG' is not `path label`, with a label from 0 on"),
        ([*TRAIN, "n01/2.JPEG -1"], VAL, "train.txt, line 5: 'n01/2.JPEG -1' is not `path label`"),
        ([*TRAIN, "n01/2.JPEG cat"], VAL, "train.txt, line 5: 'n01/2.JPEG cat' is not `path label`"),
        ([*TRAIN, "n01/7.JPEG 0", "n01/8.JPEG 0"], VAL, "train.txt: 2 of its 6 files cannot be found, "),
        ([*TRAIN, "n01 0"], VAL, "train.txt: 1 of its 5 files cannot be found, "),
        ([*TRAIN, TRAIN[1]], VAL, "3.JPEG is there a second time, first in line 2"),
        (TRAIN[:2], (), "train.txt has one image of every class, so none can be held out; add data.val_list"),
    ],
)
def test_wrong_lists(listed, train, val, rule):
    message = message_of(listed(train, val))
    assert message.startswith("data.")
    assert rule in message


def test_missing_and_binary_lists(listed, tmp_path):
    data = listed(TRAIN, VAL)
    nowhere = data.model_copy(update={"train_list": str(tmp_path / "none.txt")})
    assert "none.txt cannot be read (No such file or directory); it is a text file" in message_of(nowhere)
    (tmp_path / "val.txt").write_bytes(bytes(range(256)))
    assert "val.txt cannot be read (it is no text in UTF-8)" in message_of(data)
    elsewhere = data.model_copy(update={"path": str(tmp_path / "nowhere")})
    assert "nowhere does not exist; it is the folder that the paths in the lists start from" in message_of(elsewhere)


def test_a_truncated_image_is_named(listed, tmp_path):
    image = tmp_path / "images/n01/3.JPEG"
    image.write_bytes(image.read_bytes()[:200])
    message = message_of(check_data(listed(TRAIN, VAL)), load_dataset)
    assert message.startswith(f"data.path: image {image} cannot be decoded (")


def test_long_tail_and_limits(listed):
    lines = [f"n0{label + 1}/{number}.JPEG {label}" for label in (0, 1) for number in range(5)]
    dataset = load_dataset(listed(lines[:4] + lines[5:9], [lines[4], lines[9]], imbalance_ratio=4.0))
    assert np.bincount(dataset.train.labels_N).tolist() == [4, 1]
