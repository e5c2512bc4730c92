"""What a launch asks before anything runs. Nothing here loads torch, but for networks that are not built in."""

from kd_sweep.errors import DataError, alternatives
from kd_sweep.study.spec import DATASETS, Data, Learner
from kd_sweep.vision.folders import check_train_limit, list_folder
from kd_sweep.vision.model_names import check_width, depth_of

DIGITS_COUNT = 1797
DIGITS_CLASSES = 10


def check_data(data: Data) -> Data:
    """Return ``data`` with an absolute path and the fingerprint of its files, after checks that open no image.

    The embedded digits have neither.

    Raises:
        DataError: what `load_dataset` would find wrong, but for damaged images.
    """
    if data.name == "digits":
        check_train_limit(data, DIGITS_COUNT, DIGITS_CLASSES)
        return data
    if data.name == "image_folder":
        folder = list_folder(data)
        return data.model_copy(update={"path": str(folder.root), "fingerprint": folder.fingerprint})
    raise DataError(f"data.name: {data.name!r} is not a dataset; {alternatives(data.name, DATASETS)}")


def check_model(learner: Learner, where: str, image_size: int, channels: int) -> None:
    """Raise SpecError where ``learner.model`` cannot be built, or gives no attention maps at ``image_size``.

    Built-in names are answered at once; others are built once and tried on two images.

    Args:
        learner: the network.
        where: the model's place in the study, `teacher.model` or `student.model`, for the message.
        image_size: height and width in pixels.
        channels: of the images.
    """
    if depth_of(learner.model) is None:
        from kd_sweep.vision.backbones import check_backbone

        check_backbone(learner.model, where, image_size, channels)
    check_width(learner, where)
