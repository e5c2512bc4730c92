"""The archive of CIFAR-10's images as JPEG files, for tests on photographs; they are skipped without it."""

import os
import tarfile
from itertools import islice
from pathlib import Path

import pytest

ARCHIVE = Path(
    os.environ.get("KD_SWEEP_CIFAR10_ARCHIVE")
    or Path(__file__).resolve().parents[1] / "../shared/data/cifar10-images.tar.xz"
)
ABSENT = f"{ARCHIVE} is absent; name it in KD_SWEEP_CIFAR10_ARCHIVE"

needs_archive = pytest.mark.skipif(not ARCHIVE.exists(), reason=ABSENT)


def first_jpegs(count: int) -> list[bytes]:
    """Return the first files of the archive, which are of one class."""
    with tarfile.open(ARCHIVE) as archive:
        files = (archive.extractfile(member) for member in islice((m for m in archive if m.isfile()), count))
        return [file.read() for file in files if file is not None]


def extract_every_tenth(folder: Path) -> None:
    """Write every tenth image into ``folder``, by class."""
    with tarfile.open(ARCHIVE) as archive:
        every_tenth = [member for member in archive if member.name.endswith("0.jpg")]
        archive.extractall(folder, every_tenth, filter="data")
