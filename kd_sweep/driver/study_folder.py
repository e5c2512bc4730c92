"""A study's folder: its frozen spec, its lock, where its files are."""

import contextlib
import logging
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.lease_holder import is_lease_file
from kd_sweep.storage.plugin_files import load_stored_plugins, plugin_file, write_plugins
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.file.frozen import FrozenStudy, freeze, load_frozen, parse_frozen
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.current_files import current_term
from kd_sweep.tables.keyed_table import read_table
from kd_sweep.tables.recovery import DAMAGED_FOLDER
from kd_sweep.tables.schema import TABLE_FILES
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.version import __version__

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
        self.storage = Root.named(root)
        self.name = name
        self.study = self.storage.child(name)
        self._read: FrozenStudy | None = None

    @classmethod
    def at(cls, study: Location) -> "StudyFolder":
        """Return the study in this folder, which may not be one."""
        return cls(*Root.named(study).parent())

    def exists(self) -> bool:
        """Whether a study was launched here.

        Raises:
            StorageError: something else is here, or a study of an unreleased version.
        """
        if current_term(self.study) is not None or self.study.exists(SPEC_FILE):
            return True
        if self.study.exists() and not self.study.is_folder():
            raise StorageError(f"{self.study}: is a file, not a study folder; choose another --root or another name")
        listing = sorted([*self.study.files(), *self.study.folders()])
        strangers = [name for name in listing if not is_lease_file(name)]
        if strangers:
            raise StorageError(
                f"{self.study}: has no {SPEC_FILE} and is not empty ({strangers[0]}), so it is not a study; "
                "choose another --root or another name"
            )
        return False

    def spec(self) -> StudySpec:
        """Return the frozen spec: the studies table's; that of `study.yaml` where it has none that can be read.

        A driver that was taken over may have replaced `study.yaml` too late. The table it cannot touch.

        Raises:
            StorageError: the folder is not a study, or both are damaged.
        """
        return self.frozen_study().spec

    def frozen_study(self) -> FrozenStudy:
        """Return the frozen study that has this spec; raise as `spec` does."""
        return self.frozen_in_table() or self.frozen_in_file()

    def frozen_in_table(self) -> FrozenStudy | None:
        """Return the frozen study as the studies table has it; None where it has none, or it cannot be read."""
        try:
            rows = read_table(self.study, TABLE_FILES["studies"]).to_pylist()
        except (CorruptFileError, StorageError):
            return None
        return self._sound(rows[0].get("spec"), TABLE_FILES["studies"]) if rows else None

    def frozen_in_file(self) -> FrozenStudy:
        """Return the frozen study as `study.yaml` has it; `StorageError` where that is damaged or missing."""
        if self.study.is_local:
            return load_frozen(self.study.local_path())
        source = self.study.location_of(SPEC_FILE)
        try:
            return parse_frozen(self.study.read_bytes(SPEC_FILE).decode(), source)
        except FileNotFoundError:
            raise StorageError(f"{self.study}: is not a study, it has no {SPEC_FILE}") from None
        except UnicodeDecodeError:
            raise StorageError(f"damaged study: {source}: is not UTF-8 text") from None

    def lock(self) -> Lease:
        """Become the one driver of the study, until the lease is released."""
        self.study.ensure_folder()
        return study_lease(self.study, self.name)

    def frozen(self, spec: StudySpec, in_table: FrozenStudy | None) -> FrozenStudy:
        """Return the frozen study of this spec: the one that is here already, if it says the same.

        Args:
            spec: the study as it goes on.
            in_table: the frozen study of the studies table. Where there is none, that of `study.yaml` counts.
        """
        here = in_table
        if here is None and self.study.exists(SPEC_FILE):
            here = self._sound(self.study.read_bytes(SPEC_FILE).decode(errors="replace"), SPEC_FILE)
        if here is None:
            return freeze(spec, provenance())
        return here if here.spec == spec else freeze(spec, here.provenance)

    def load_plugins(self, spec: StudySpec) -> StudySpec:
        """Import the plug-ins of the frozen spec as they were at launch, and return the spec with their parameters.

        Raises:
            PluginError: one of them cannot be imported here, or another version of it has been.
            StorageError: the folder has lost them.
        """
        if spec.plugins_digest is None:
            return spec
        try:
            load_stored_plugins(self.study, spec.plugins, spec.plugins_digest)
        except FileNotFoundError:
            raise StorageError(
                f"{self.study}: has lost its plug-ins, {plugin_file(spec.plugins_digest)}; launch the study's own file"
            ) from None
        except CorruptFileError as error:
            raise StorageError(f"{error}; launch the study's own file") from None
        self._read = None  # it was read without them
        return self.spec()

    def write_plugins(self, spec: StudySpec) -> None:
        """Keep the source of the study's plug-ins beside its frozen spec."""
        if spec.plugins_digest is not None:
            write_plugins(self.study, spec.plugins, spec.plugins_digest)

    def write_frozen(self, text: str) -> None:
        """Make `study.yaml` this text, unless it is. A damaged one is set aside before."""
        if self.study.exists(SPEC_FILE):
            if self.study.read_bytes(SPEC_FILE) == text.encode():
                return
            try:
                self.frozen_in_file()
            except StorageError as damage:
                aside = f"{DAMAGED_FOLDER}/{SPEC_FILE}.{int(time.time())}"
                self.study.move(SPEC_FILE, aside)
                _LOG.warning("%s; moved to %s and written again", damage, self.study.location_of(aside))
        self.study.write_bytes(SPEC_FILE, text.encode())

    def checkpoint_folder(self, trial_id: str) -> Root:
        """Return where a trial keeps its checkpoints."""
        return self.study.child(f"{CHECKPOINTS}/{trial_id}")

    def _sound(self, text: str | None, file: str) -> FrozenStudy | None:
        """Return the frozen study that this is the text of, None where it is damaged. What was read last is known."""
        if self._read is None or self._read.text != text:
            try:
                self._read = parse_frozen(text or "", self.study.location_of(file))
            except StorageError:
                return None
        return self._read


def with_versions(frozen: FrozenStudy) -> tuple[FrozenStudy, str | None]:
    """Add the versions that a study goes on with to where it came from, unless they are those of its last run.

    Returns:
        The frozen study from now on, and one line that tells of the change; None where there is none.
    """
    earlier, now = frozen.provenance, provenance()
    last = {name: _last_version(versions) for name, versions in earlier.items()}
    changed = [name for name in now if name in last and last[name] != now[name]]
    if not changed:
        return frozen, None
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = earlier | {name: f"{earlier[name]}, {now[name]} since {since}" for name in changed}
    changes = ", ".join(f"{name} was {last[name]} and is {now[name]}" for name in changed)
    return freeze(frozen.spec, history), (
        f"versions have changed since the last run ({changes}): results need not agree bit for bit with earlier ones"
    )


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
    """Return the newest of the versions that `with_versions` has put together."""
    return versions.rpartition(", ")[2].partition(" since ")[0]
