"""What a launch asks before anything runs. Nothing here loads torch, but for networks that are not built in."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_sweep.errors import SpecError
from kd_sweep.study.recipe import Data, Learner
from kd_sweep.vision.model_names import check_built_in, is_built_in
from kd_sweep.vision.pictures import chosen
from kd_sweep.vision.sources import find_images

DIGITS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
"""How often each digit is in scikit-learn's set."""

WEIGHT_FILES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class ImageCounts:
    """How many images a trial trains on and is evaluated on, and of how many classes they are."""

    train: int
    val: int
    classes: int


def check_data(data: Data, memory: Path | None = None) -> Data:
    """Return ``data`` with an absolute path and the fingerprint of its files, after checks that decode no image.

    The embedded digits have neither.

    Args:
        data: the `data` section of a study.
        memory: where fingerprints that are known already are looked up; else all files are read.

    Raises:
        DataError: what `load_dataset` would find wrong, but for damaged images.
    """
    if data.name == "digits":
        chosen(data, np.repeat(np.arange(len(DIGITS_COUNTS)), DIGITS_COUNTS), None)
        return data
    found = find_images(data, memory)
    lists = {key: value for key in ("train_list", "val_list") if (value := getattr(data, key)) is not None}
    places = {key: str(Path(value).expanduser().resolve()) for key, value in lists.items()}
    return data.model_copy(update={"path": str(found.root), "fingerprint": found.fingerprint, **places})


def count_images(data: Data) -> ImageCounts:
    """Return how many images ``data`` asks for. None is opened.

    Raises:
        DataError: as `check_data`.
    """
    if data.name == "digits":
        train_labels_N, val_labels_N = np.repeat(np.arange(len(DIGITS_COUNTS)), DIGITS_COUNTS), None
    else:
        found = find_images(data)
        train_labels_N, val_labels_N = found.train.labels_N, None if found.val is None else found.val.labels_N
    train_N, val_N = chosen(data, train_labels_N, val_labels_N)
    return ImageCounts(len(train_N), len(val_N), len(np.unique(train_labels_N)))


def check_model(learner: Learner, where: str, image_size: int, channels: int, *, download: bool = True) -> None:
    """Raise SpecError where ``learner.model`` cannot be built, or gives no attention maps at ``image_size``.

    Built-in names are answered at once; others are built once and tried on two images.

    Args:
        learner: the network.
        where: the model's place in the study, `teacher.model` or `student.model`, for the message.
        image_size: height and width in pixels.
        channels: of the images.
        download: try published weights too, which downloads them; else only whether there are some.
    """
    if not is_built_in(learner.model):
        from kd_sweep.vision.backbones import check_backbone

        check_backbone(learner, where, image_size, channels)
    check_built_in(learner, where)
    if learner.weights is not None:
        from kd_sweep.vision.pretrained import check_weights

        place = f"{where.removesuffix('model')}weights"
        check_weights(with_weights_digest(learner, place), place, image_size, channels, download=download)


def with_weights_digest(learner: Learner, where: str) -> Learner:
    """Return ``learner`` with an absolute path of its weights and the digest of that file, if it names one.

    Raises:
        SpecError: there is no such file, it is no file of weights, or not the one of the study's launch.
    """
    if learner.weights is None or learner.weights == "pretrained":
        return learner
    path = Path(learner.weights).expanduser().resolve()
    if not path.is_file():
        raise SpecError(
            f"{where}: {learner.weights!r} is no file; possible: pretrained, or a .safetensors or .pth file"
        )
    if path.suffix not in WEIGHT_FILES:
        raise SpecError(f"{where}: {learner.weights!r} is no file of weights; possible: {', '.join(WEIGHT_FILES)}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if learner.weights_digest not in (None, digest):
        raise SpecError(
            f"{where}: {path} is not the file that the study was launched with (digest {digest}, at launch "
            f"{learner.weights_digest}); restore it, or launch a study with another name"
        )
    return learner.model_copy(update={"weights": str(path), "weights_digest": digest})
