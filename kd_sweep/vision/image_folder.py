"""Images in a folder per class, decoded once into one uint8 array that every later process maps into memory."""

from pathlib import Path

import torch

from kd_sweep.study.digest import digest
from kd_sweep.study.spec import Data
from kd_sweep.vision.decoding import decode_images
from kd_sweep.vision.folders import Folder, Listing, list_folder
from kd_sweep.vision.images import Dataset, ImageSet
from kd_sweep.vision.splits import stratified_sample, stratified_split


def load_image_folder(data: Data, cache_dir: Path | None) -> Dataset:
    """Return the images at ``data.path`` as RGB, cropped to their central square and resized to `data.image_size`.

    Args:
        data: the `data` section of a study, with name `image_folder`.
        cache_dir: decoded images are kept here, for the next process to map; in memory alone when None.

    Raises:
        DataError: as `list_folder`, or an image cannot be decoded (its path is named).
    """
    folder = list_folder(data)
    train, val = folder.train, folder.val
    if val is None:
        train_N, val_N = stratified_split(train.labels_N, data.validation_fraction, data.split_seed)
        train, val = train.pick(train_N), train.pick(val_N)
    train = train.pick(stratified_sample(train.labels_N, data.max_train_images, data.split_seed))
    val = val.pick(stratified_sample(val.labels_N, data.max_val_images, data.split_seed))
    return Dataset(
        train=_decode(train, folder, data.image_size, cache_dir),
        val=_decode(val, folder, data.image_size, cache_dir),
        class_names=folder.class_names,
        horizontal_flip=data.horizontal_flip is not False,
    )


def _decode(listing: Listing, folder: Folder, image_size: int, cache_dir: Path | None) -> ImageSet:
    cache_file = None
    if cache_dir is not None:
        chosen = digest([path.relative_to(folder.root).as_posix() for path in listing.paths])
        cache_file = cache_dir / f"{folder.fingerprint}-{chosen}-{image_size}.npy"
    images_NDHW = decode_images(listing.paths, image_size, cache_file)
    return ImageSet(torch.from_numpy(images_NDHW), torch.from_numpy(listing.labels_N))
