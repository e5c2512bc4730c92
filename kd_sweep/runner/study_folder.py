"""One study on disk: its frozen spec, its lock, the places of its files."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from kd_sweep import __version__
from kd_sweep.errors import StorageError
from kd_sweep.results.lease import DRIVER_LEASE, Lease, study_lease
from kd_sweep.results.storage import Root
from kd_sweep.study.freeze import check_extension, frozen_yaml, load_frozen
from kd_sweep.study.spec import StudySpec

SPEC_FILE = "study.yaml"
PACKAGES = ("torch", "torchvision", "ray", "optuna", "pyarrow", "kornia", "numpy")


class StudyFolder:
    """The folder `<root>/<name>`.

    Args:
        root: the results root.
        name: the study.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.path = root / name

    @property
    def storage(self) -> Root:
        """The results root as the tables' storage."""
        return Root.open(self.root)

    def exists(self) -> bool:
        """Whether a study was launched here.

        Raises:
            StorageError: something else is here.
        """
        if (self.path / SPEC_FILE).is_file():
            return True
        if self.path.exists() and not self.path.is_dir():
            raise StorageError(f"{self.path}: is a file, not a study folder; choose another --root or another name")
        found = sorted(item.name for item in self.path.iterdir()) if self.path.is_dir() else []
        strangers = [name for name in found if DRIVER_LEASE not in name]
        if strangers:
            raise StorageError(
                f"{self.path}: has no {SPEC_FILE} and is not empty ({strangers[0]}), so it is not a study; "
                "choose another --root or another name"
            )
        return False

    def check_extends(self, spec: StudySpec) -> None:
        """Refuse a spec whose results would not belong with those that are here."""
        if self.exists():
            check_extension(load_frozen(self.path), spec)

    def lock(self) -> Lease:
        """Become the one driver of the study, until the lease is released."""
        self.storage.ensure_folder(self.name)
        return study_lease(self.storage.child(self.name), self.name)

    def freeze(self, spec: StudySpec) -> None:
        """Write the fully resolved spec, unless it stands there already."""
        if not self.exists() or load_frozen(self.path) != spec:
            self.storage.write_bytes(f"{self.name}/{SPEC_FILE}", frozen_yaml(spec, provenance()).encode())

    def checkpoint_folder(self, trial_id: str) -> Path:
        """Return where a trial keeps its checkpoints."""
        return self.path / "checkpoints" / trial_id


def provenance() -> dict[str, str]:
    """Return the versions that results depend on."""
    versions = {"kd_sweep": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = metadata.version(package)
    source = Path(__file__).resolve().parents[2]
    if (source / ".git").exists():
        command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
        described = subprocess.run(command, capture_output=True, text=True, check=False)
        if described.returncode == 0:
            versions["git_revision"] = described.stdout.strip()
    return versions
