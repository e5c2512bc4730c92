"""What a launch asks before anything runs. Nothing here loads torch, but for networks that are not built in."""

from pathlib import Path

import numpy as np

from kd_sweep.study.spec import Data, Learner
from kd_sweep.vision.model_names import check_width, is_built_in
from kd_sweep.vision.pictures import chosen
from kd_sweep.vision.sources import find_images

DIGITS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
"""How often each digit is in scikit-learn's set."""


def check_data(data: Data) -> Data:
    """Return ``data`` with an absolute path and the fingerprint of its files, after checks that open no image.

    The embedded digits have neither.

    Raises:
        DataError: what `load_dataset` would find wrong, but for damaged images.
    """
    if data.name == "digits":
        chosen(data, np.repeat(np.arange(len(DIGITS_COUNTS)), DIGITS_COUNTS), None)
        return data
    found = find_images(data)
    lists = {key: value for key in ("train_list", "val_list") if (value := getattr(data, key)) is not None}
    places = {key: str(Path(value).expanduser().resolve()) for key, value in lists.items()}
    return data.model_copy(update={"path": str(found.root), "fingerprint": found.fingerprint, **places})


def check_model(learner: Learner, where: str, image_size: int, channels: int) -> None:
    """Raise SpecError where ``learner.model`` cannot be built, or gives no attention maps at ``image_size``.

    Built-in names are answered at once; others are built once and tried on two images.

    Args:
        learner: the network.
        where: the model's place in the study, `teacher.model` or `student.model`, for the message.
        image_size: height and width in pixels.
        channels: of the images.
    """
    if not is_built_in(learner.model):
        from kd_sweep.vision.backbones import check_backbone

        check_backbone(learner.model, where, image_size, channels)
    check_width(learner, where)
