"""Listings of datasets by name: all their images, before any is decoded and without torch."""

from pathlib import Path

from kd_sweep.data.selection import selected_indices
from kd_sweep.data.undecoded_images import UndecodedDataset
from kd_sweep.errors import DataError, alternatives
from kd_sweep.study.recipe import DATASETS, Data


def list_images(data: Data, cache_dir: Path | None = None) -> UndecodedDataset:
    """Return the images at ``data.path``, of any dataset but the embedded digits.

    Args:
        data: the `data` section of a study.
        cache_dir: of `dataset_cache_dir`, where earlier processes stored fingerprints; None: all files are read for the
            fingerprint.

    Raises:
        DataError: it is missing, damaged, laid out in another way, of another fingerprint, or has fewer images than are
            asked for.
    """
    dataset = _read(data, cache_dir)
    if data.fingerprint is not None and data.fingerprint != dataset.fingerprint:
        raise DataError(
            f"data.path: the images under {dataset.root} are not those that the study was launched with (fingerprint "
            f"{dataset.fingerprint}, at launch {data.fingerprint}); restore them, or launch a study with another name"
        )
    selected_indices(data, dataset.train.labels_N, None if dataset.val is None else dataset.val.labels_N)
    return dataset


def _read(data: Data, cache_dir: Path | None) -> UndecodedDataset:
    # Each reader is loaded where it is needed: pyarrow for one is not cheap.
    if data.name == "image_folder":
        from kd_sweep.data.readers.image_folder import list_image_folder

        return list_image_folder(data, cache_dir)
    if data.name == "image_list":
        from kd_sweep.data.readers.image_lists import list_image_lists

        return list_image_lists(data, cache_dir)
    if data.name == "tiny_imagenet":
        from kd_sweep.data.readers.tiny_imagenet import list_tiny_imagenet

        return list_tiny_imagenet(data, cache_dir)
    if data.name in ("cifar10", "cifar100"):
        from kd_sweep.data.readers.cifar import list_cifar

        return list_cifar(data, cache_dir)
    raise DataError(f"data.name: {data.name!r} is not a dataset; {alternatives(data.name, DATASETS)}")
