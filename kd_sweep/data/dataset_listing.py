"""Listings of datasets by name: all their images, before any is decoded and without torch."""

from pathlib import Path

from kd_sweep.data.selection import selected_indices
from kd_sweep.data.undecoded_images import UndecodedDataset
from kd_sweep.errors import DataError
from kd_sweep.study.recipe import Data


def list_images(data: Data, cache_dir: Path | None = None) -> UndecodedDataset:
    """Return the images at ``data.path``, of a dataset that lists files.

    Args:
        data: the `data` section of a study.
        cache_dir: of `dataset_cache_dir`, where earlier processes stored fingerprints; None: all files are read for the
            fingerprint.

    Raises:
        DataError: it is missing, damaged, laid out in another way, of another fingerprint, or has fewer images than are
            asked for.
    """
    dataset: UndecodedDataset = data.entry.item(data, cache_dir)
    if data.fingerprint is not None and data.fingerprint != dataset.fingerprint:
        raise DataError(
            f"data.path: the images under {dataset.root} are not those that the study was launched with (fingerprint "
            f"{dataset.fingerprint}, at launch {data.fingerprint}); restore them, or launch a study with another name"
        )
    selected_indices(data, dataset.train.labels_N, None if dataset.val is None else dataset.val.labels_N)
    return dataset
