"""The cache of datasets in a results root: decoded images and known fingerprints, which can be made again."""

import os
from pathlib import Path

from kd_sweep.storage.root import Root

DECODED = "datasets"
"""The folder in a results root."""


def dataset_cache_dir(root: Root) -> Path:
    """Return the folder of the cache: ``<root>/datasets``, or this machine's cache where the root is not local.

    Decoded images are mapped into memory, which only files of a mounted filesystem can be.
    """
    if root.is_local:
        return root.local_path(DECODED)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "kd_sweep" / DECODED
