"""One study on disk: its frozen spec, its lock, the places of its files."""

import contextlib
import logging
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from kd_sweep import __version__
from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.results.keyed import read_table
from kd_sweep.results.lease import Lease, is_lease_file, study_lease
from kd_sweep.results.recovery import DAMAGED_FOLDER
from kd_sweep.results.schema import TABLE_FILES
from kd_sweep.results.storage import Location, Root
from kd_sweep.results.tables import current_term
from kd_sweep.study.freeze import check_extension, frozen_provenance, frozen_yaml, load_frozen, parse_frozen
from kd_sweep.study.spec import StudySpec

SPEC_FILE = "study.yaml"
_LOG = logging.getLogger(__name__)
PACKAGES = ("torch", "torchvision", "ray", "optuna", "pyarrow", "numpy")


class StudyFolder:
    """The folder `<root>/<name>`.

    Args:
        root: the results root.
        name: the study.
    """

    def __init__(self, root: Location, name: str) -> None:
        self.storage = Root.resolved(root)
        self.name = name
        self.study = self.storage.child(name)

    @classmethod
    def at(cls, study: Location) -> "StudyFolder":
        """Return the study in this folder, which may not be one."""
        return cls(*Root.resolved(study).parent())

    def exists(self) -> bool:
        """Whether a study was launched here.

        Raises:
            StorageError: something else is here.
        """
        if self.study.exists(SPEC_FILE) or current_term(self.study) is not None:
            return True
        if self.study.exists() and not self.study.is_folder():
            raise StorageError(f"{self.study}: is a file, not a study folder; choose another --root or another name")
        found = sorted([*self.study.files(), *self.study.folders()])
        strangers = [name for name in found if not is_lease_file(name)]
        if strangers:
            raise StorageError(
                f"{self.study}: has no {SPEC_FILE} and is not empty ({strangers[0]}), so it is not a study; "
                "choose another --root or another name"
            )
        return False

    def spec(self) -> StudySpec:
        """Return the frozen spec; from the studies table, which has it too, where `study.yaml` is damaged or missing.

        Raises:
            StorageError: the folder is not a study, or both are damaged.
        """
        try:
            return self.spec_in_file()
        except StorageError:
            spec = self._spec_in_table()
            if spec is None:
                raise
            return spec

    def spec_in_file(self) -> StudySpec:
        """Return what `study.yaml` says; `StorageError` where it is damaged or missing."""
        if self.study.is_local:
            return load_frozen(self.study.local_path())
        place = self.study.shown(SPEC_FILE)
        try:
            return parse_frozen(self.study.read_bytes(SPEC_FILE).decode(), place)
        except FileNotFoundError:
            raise StorageError(f"{self.study}: is not a study, it has no {SPEC_FILE}") from None
        except UnicodeDecodeError:
            raise StorageError(f"damaged study: {place}: is not UTF-8 text") from None

    def check_extends(self, spec: StudySpec) -> None:
        """Refuse a spec whose results would not belong with those that are here."""
        if self.exists():
            check_extension(self.spec(), spec)

    def lock(self) -> Lease:
        """Become the one driver of the study, until the lease is released."""
        self.study.ensure_folder()
        return study_lease(self.study, self.name)

    def freeze(self, spec: StudySpec) -> None:
        """Write the fully resolved spec, unless it stands there already. A damaged one is set aside before."""
        versions = None
        if self.study.exists(SPEC_FILE):
            try:
                if self.spec_in_file() == spec:
                    return
                versions = self._provenance_in_file()
            except StorageError as damage:
                aside = f"{DAMAGED_FOLDER}/{SPEC_FILE}.{int(time.time())}"
                self.study.move(SPEC_FILE, aside)
                _LOG.warning("%s; moved to %s and written again", damage, self.study.shown(aside))
        self.study.write_bytes(SPEC_FILE, frozen_yaml(spec, versions or provenance()).encode())

    def note_versions(self, spec: StudySpec) -> str | None:
        """Add the versions that the study goes on with to its frozen spec, where they are not those of its last run.

        Returns:
            One line that tells of the change; None where there is none.
        """
        earlier, now = self._provenance_in_file(), provenance()
        last = {name: _last_version(versions) for name, versions in earlier.items()}
        changed = [name for name in now if name in last and last[name] != now[name]]
        if not changed:
            return None
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        history = earlier | {name: f"{earlier[name]}, {now[name]} since {since}" for name in changed}
        self.study.write_bytes(SPEC_FILE, frozen_yaml(spec, history).encode())
        told = ", ".join(f"{name} was {last[name]} and is {now[name]}" for name in changed)
        return (
            f"versions have changed since the last run ({told}): results need not agree bit for bit with earlier ones"
        )

    def checkpoint_folder(self, trial_id: str) -> Root:
        """Return where a trial keeps its checkpoints."""
        return self.study.child(f"{CHECKPOINTS}/{trial_id}")

    def _provenance_in_file(self) -> dict[str, str]:
        return frozen_provenance(self.study.read_bytes(SPEC_FILE).decode(), self.study.shown(SPEC_FILE))

    def _spec_in_table(self) -> StudySpec | None:
        try:
            rows = read_table(self.study, TABLE_FILES["studies"]).to_pylist()
            return parse_frozen(rows[0]["spec"], self.study.shown(TABLE_FILES["studies"])) if rows else None
        except (CorruptFileError, StorageError):
            return None


def provenance() -> dict[str, str]:
    """Return the versions that results depend on."""
    versions = {"kd_sweep": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = metadata.version(package)
    source = Path(__file__).resolve().parents[2]
    if (source / ".git").exists():
        command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
        with contextlib.suppress(OSError):  # git may be missing
            described = subprocess.run(command, capture_output=True, text=True, check=False)
            if described.returncode == 0:
                versions["git_revision"] = described.stdout.strip()
    return versions


def _last_version(versions: str) -> str:
    """Return the newest of the versions that `StudyFolder.note_versions` has put together."""
    return versions.rpartition(", ")[2].partition(" since ")[0]
