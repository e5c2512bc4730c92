"""Datasets that are arrays of a plug-in: their images and ids against the arrays themselves, and what is refused."""

import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from kd_sweep.catalogue import entries
from kd_sweep.catalogue.decorators import dataset
from kd_sweep.catalogue.entries import registered_by
from kd_sweep.data.arrays import Arrays
from kd_sweep.data.contents import check_data, inspect_data, num_channels
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.network_input import NetworkInput
from kd_sweep.data.readers.array_datasets import array_dataset
from kd_sweep.errors import DataError, SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.recipe import Data
from kd_sweep.study.trial import TrialConfig
from tests.catalogue_entries import own_entries
from tests.data.folders import message_of


@pytest.fixture(autouse=True)
def catalogue():
    with own_entries():
        yield


def noise(shape, seed=0, dtype=np.uint8):
    levels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return levels if dtype == np.uint8 else (levels / 255).astype(dtype)


def labels_of(count, num_classes=3):
    return np.arange(count) % num_classes


def registered(function, name="made", **options):
    """Return the `data` section that selects a function, which no other test has called."""
    dataset(name, **{"image_size": 8} | options)(function)
    return Data(name=f"tests:{name}", split_seed=0)


def returning(*arrays, **options):
    return registered(lambda _: Arrays(*arrays), **options)


@pytest.mark.parametrize("shape", [(30, 8, 8), (30, 8, 8, 1), (30, 8, 8, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_pixels_are_those_of_the_arrays(shape, dtype):
    images, labels = noise(shape, dtype=dtype), labels_of(30)
    data = returning(images, labels)
    loaded = load_dataset(data)
    assert (len(loaded.train), len(loaded.val), loaded.num_classes) == (24, 6, 3)
    assert loaded.channels == num_channels(data) == (3 if shape[-1] == 3 else 1)
    expected = noise(shape).reshape(30, 8, 8, -1).transpose(0, 3, 1, 2)
    known = {image.tobytes(): label for image, label in zip(expected, labels, strict=True)}
    shown = [
        (image.numpy().tobytes(), int(label))
        for part in (loaded.train, loaded.val)
        for image, label in zip(part.images_NDHW, part.labels_N, strict=True)
    ]
    assert dict(shown) == known
    assert len(shown) == 30


def test_everything_that_data_says_holds_for_arrays():
    data = returning(noise((90, 8, 8)), labels_of(90))
    tailed = data.changed({"imbalance_ratio": 4.0, "max_val_images": 6, "image_size": 16})
    loaded = load_dataset(tailed)
    assert np.bincount(loaded.train.labels_N).tolist() == [24, 12, 6]
    assert (len(loaded.val), loaded.image_size) == (6, 16)
    assert inspect_data(tailed).lines() == ["data: 42 training and 6 validation images of 3 classes (0, 1, 2)"]


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 20), (20, 20, 8), (12, 20, 12)])
def test_images_are_cut_and_resized_as_pillow_does(height, width, size):
    images = noise((6, height, width, 3))
    data = returning(images, labels_of(6), image_size=size)
    loaded = load_dataset(data.changed({"validation_fraction": 0.5}))
    side, top, left = min(height, width), (height - min(height, width)) // 2, (width - min(height, width)) // 2
    square = images[:, top : top + side, left : left + side]
    resized = [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in square]
    shown = np.concatenate([part.images_NDHW.numpy() for part in (loaded.train, loaded.val)]).transpose(0, 2, 3, 1)
    for image in shown:
        assert min(np.abs(image.astype(int) - other).max() for other in resized) <= 1


def test_a_validation_part_and_names_of_classes():
    val = noise((9, 8, 8), seed=1)
    data = returning(noise((30, 8, 8)), labels_of(30), val, labels_of(9), ("cat", "dog", "owl"))
    loaded = load_dataset(data)
    assert np.array_equal(loaded.val.images_NDHW[:, 0], val)
    assert (len(loaded.train), loaded.class_names) == (30, ("cat", "dog", "owl"))
    assert inspect_data(data).lines() == ["data: 30 training and 9 validation images of 3 classes (cat, dog, owl)"]


def test_mirroring_is_as_the_plugin_says_unless_the_study_does():
    arrays = (noise((30, 8, 8)), labels_of(30))
    assert not load_dataset(returning(*arrays)).horizontal_flip
    mirrored = returning(*arrays, name="mirrored", horizontal_flip=True)
    assert load_dataset(mirrored).horizontal_flip
    assert not load_dataset(mirrored.changed({"horizontal_flip": False})).horizontal_flip
    assert check_data(mirrored).fingerprint != check_data(returning(*arrays)).fingerprint


def test_the_function_is_called_once_per_process_and_parameters():
    called = []
    data = registered(lambda parameters: called.append(1) or Arrays(noise((30, 8, 8)), labels_of(30)))
    for changes in ({}, {"image_size": 16}, {"split_seed": 1}, {"fingerprint": check_data(data).fingerprint}):
        load_dataset(data.changed(changes))
    assert len(called) == 1


def test_an_image_of_pillow_becomes_the_input_that_validation_had():
    images = noise((30, 16, 16))
    data = returning(images, labels_of(30))
    loaded = load_dataset(data)
    network_input = NetworkInput(data, loaded)
    inputs = {network_input.of(Image.fromarray(image)).numpy().tobytes() for image in images}
    normalised = (loaded.val.images_NDHW.float() - 255 * loaded.mean[0]) / (255 * loaded.std[0])
    assert len(loaded.val) == 6
    for image in normalised:
        assert any(np.allclose(np.frombuffer(one, np.float32).reshape(1, 8, 8), image, atol=1e-5) for one in inputs)


SOURCE = """
import numpy as np
from pydantic import Field
from kd_sweep.catalogue.decorators import dataset
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.data.arrays import Arrays

class BlobParameters(Parameters):
    count: int = Field(60, ge=10)
    brightness: float = Field({brightness}, ge=0, le=1)

@dataset("blobs", parameters=BlobParameters, image_size=8)
def blobs(parameters):
    # {comment}
    random = np.random.default_rng({seed})
    return Arrays(random.random((parameters.count, 8, 8)) * parameters.brightness, np.arange(parameters.count) % 2)
"""


@pytest.fixture
def blobs(tmp_path, monkeypatch):
    """Write the source of a plug-in, import it anew, and return its `data` section with the fingerprint."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(brightness=0.5, comment="", seed=0, **fields):
        (tmp_path / "blob_plugin.py").write_text(SOURCE.format(brightness=brightness, comment=comment, seed=seed))
        for entry in registered_by("blob_plugin"):
            del entries._entries[entry.kind, entry.name]
        sys.modules.pop("blob_plugin", None)
        importlib.invalidate_caches()
        importlib.import_module("blob_plugin")
        return check_data(Data(name="blob_plugin:blobs", **fields))

    yield written
    sys.modules.pop("blob_plugin", None)


def test_ids_follow_the_content_and_not_the_source(blobs):
    first = blobs()
    assert TrialConfig(data=blobs(comment="another line of source")).trial_id == TrialConfig(data=first).trial_id
    assert TrialConfig(data=blobs(seed=1)).trial_id != TrialConfig(data=first).trial_id
    assert TrialConfig(data=blobs(count=80)).trial_id != TrialConfig(data=first).trial_id
    # The same content by another way: a parameter, and its default in the source.
    given, default = blobs(brightness=0.75, count=40), blobs(brightness=0.5, count=40)
    changed = check_data(default.changed({"brightness": 0.75, "fingerprint": None}))
    assert TrialConfig(data=given).trial_id == TrialConfig(data=changed).trial_id
    assert TrialConfig(data=given).trial_id != TrialConfig(data=default).trial_id


def test_other_content_than_at_launch_is_refused(blobs):
    launched = blobs()
    blobs(seed=1)
    message = message_of(launched, array_dataset)
    assert message.startswith(
        "data.name: 'blob_plugin:blobs' returned other images or labels than those that the study"
    )


def test_parameters_are_keys_of_data_with_limits_and_cannot_be_searched(blobs):
    blobs()
    spec = parse_spec("name: d\nplugins: [blob_plugin]\ndata: {name: 'blob_plugin:blobs', count: 20}", "x.yaml")
    assert (spec.data.origin, spec.data.image_size) == ({"count": 20, "brightness": 0.5}, 8)
    for text, rule in (
        ("data: {name: 'blob_plugin:blobs', count: 2}", "data.count: 2 is not at least 10"),
        ("data: {count: 20}", "data.count: 20 has no effect with name 'digits'; possible: with 'blob_plugin:blobs'"),
        (
            "data: {name: 'blob_plugin:blobs'}\nsearch: {data.count: {grid: [20, 30]}}",
            "search.data.count: cannot be searched, a study has one dataset, possible: ",
        ),
    ):
        with pytest.raises(SpecError) as refused:
            parse_spec(f"name: d\nplugins: [blob_plugin]\n{text}", "x.yaml")
        assert str(refused.value).startswith(rule)


def test_a_size_of_its_own_or_one_of_the_study():
    with pytest.raises(ValueError, match=r"image_size is needed for data\.name 'tests:made'"):
        returning(noise((30, 8, 8)), labels_of(30), image_size=None)


def failing(_):
    return undefined  # noqa: F821


IMAGES, LABELS = noise((30, 8, 8)), labels_of(30)
NAN = noise((30, 8, 8), dtype=np.float32)
NAN[3, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ((noise((30, 3, 8, 8)), LABELS), "returned images of shape (30, 3, 8, 8); possible: (N, H, W) or (N, H, W, D)"),
        ((noise((30, 64)), LABELS), "returned images of shape (30, 64); possible: "),
        ((noise((0, 8, 8)), LABELS[:0]), "returned images of shape (0, 8, 8), which are none"),
        ((IMAGES.astype(np.int64), LABELS), "returned images of int64; possible: uint8, or floats from 0 to 1"),
        ((IMAGES.astype(np.float32), LABELS), "returned images from 0 to 255; possible: uint8, or floats from 0 to 1"),
        ((NAN, LABELS), "returned images with NaN or infinite values"),
        ((IMAGES.tolist(), LABELS), "returned images that are a list, not a NumPy array"),
        ((IMAGES, LABELS[:-1]), "returned labels of shape (29,) for 30 images; possible: (30,)"),
        ((IMAGES, LABELS.astype(float)), "returned labels of float64; possible: whole numbers from 0 on"),
        ((IMAGES, LABELS - 1), "returned labels with -1; possible: whole numbers from 0 on"),
        ((IMAGES, LABELS * 2), "returned no training image of class 1; labels are 0 to 4, and each needs an image"),
        ((IMAGES, LABELS * 0), "returned one class; at least 2 are needed"),
        ((IMAGES, LABELS, None, None, ("a", "b")), "returned the label 2 with 2 class_names"),
        ((IMAGES, LABELS, None, None, ("a", "b", "c", "d")), "returned no training image of class 3; "),
        ((IMAGES, LABELS, None, LABELS), "returned val_images that are a NoneType, not a NumPy array"),
        ((IMAGES, LABELS, noise((9, 9, 9)), LABELS[:9]), "returned val_images of (9, 9, 1) uint8, and images of (8, 8"),
        ((IMAGES, LABELS, noise((9, 8, 8)), LABELS[:9] + 1), "returned val_labels with 3; possible: 0 to 2, as of the"),
        ((IMAGES[:3], LABELS[:3]), "returned one image of every class, so none can be held out; possible: val_images"),
    ],
)
def test_wrong_arrays_are_one_line(arrays, rule):
    assert message_of(returning(*arrays)).startswith(f"data.name: 'tests:made' {rule}")


def test_what_raises_or_returns_something_else_is_one_line():
    message = message_of(registered(failing))
    assert message.startswith("data.name: 'tests:made' raised NameError: name 'undefined' is not defined (test_array_d")
    assert message_of(registered(lambda _: IMAGES, name="other")) == (
        "data.name: 'tests:other' returned a ndarray, not Arrays"
    )


def test_images_in_both_sets_are_refused():
    with pytest.raises(
        DataError, match=r"^data: 9 of 9 validation images are copies of training images, val_images\[0\] "
    ):
        check_data(returning(IMAGES, LABELS, IMAGES[:9], LABELS[:9]))
    twice = np.concatenate([IMAGES, IMAGES])
    with pytest.raises(DataError, match=r"^data: 30 of 60 images are copies, images\[30\] of images\[0\] for one"):
        check_data(returning(twice, labels_of(60), name="twice"))
