"""Which images there are, by the dataset's name. Nothing here loads torch or decodes an image."""

from pathlib import Path

from kd_sweep.data.undecoded_images import Found, chosen
from kd_sweep.errors import DataError, alternatives
from kd_sweep.study.recipe import DATASETS, Data


def find_images(data: Data, memory: Path | None = None) -> Found:
    """Return what lies at ``data.path``, of any dataset but the embedded digits.

    Args:
        data: the `data` section of a study.
        memory: where fingerprints that are known already are looked up, as `cache.decoded_folder` names it.

    Raises:
        DataError: it is missing, damaged, laid out in another way, not what the fingerprint says, or has fewer images
            than are asked for.
    """
    found = _found(data, memory)
    if data.fingerprint is not None and data.fingerprint != found.fingerprint:
        raise DataError(
            f"data.path: the images under {found.root} are not those that the study was launched with (fingerprint "
            f"{found.fingerprint}, at launch {data.fingerprint}); restore them, or launch a study with another name"
        )
    chosen(data, found.train.labels_N, None if found.val is None else found.val.labels_N)
    return found


def _found(data: Data, memory: Path | None) -> Found:
    # Each reader is loaded where it is needed: pyarrow for one is not cheap.
    if data.name == "image_folder":
        from kd_sweep.data.readers.image_folder import find_folder

        return find_folder(data, memory)
    if data.name == "image_list":
        from kd_sweep.data.readers.image_lists import find_listed

        return find_listed(data, memory)
    if data.name == "tiny_imagenet":
        from kd_sweep.data.readers.tiny_imagenet import find_tiny_imagenet

        return find_tiny_imagenet(data, memory)
    if data.name in ("cifar10", "cifar100"):
        from kd_sweep.data.readers.cifar import find_cifar

        return find_cifar(data, memory)
    raise DataError(f"data.name: {data.name!r} is not a dataset; {alternatives(data.name, DATASETS)}")
