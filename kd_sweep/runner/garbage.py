"""`kd-sweep gc`: files under a results root that no study refers to. Listed always, deleted on request."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

import pyarrow as pa
from pydantic import ByteSize

from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.distill.files import CORRUPT
from kd_sweep.distill.logits import LOGITS
from kd_sweep.distill.records import TEACHER_LEASE, TEACHERS, teacher_folder
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.results.keyed import read_keyed
from kd_sweep.results.lease import holder_of, study_lease
from kd_sweep.results.local_files import is_temporary
from kd_sweep.results.reader import open_results
from kd_sweep.results.recovery import DAMAGED_FOLDER
from kd_sweep.results.schema import FINISHED, TABLE_FILES, TRIALS_COPY
from kd_sweep.results.storage import PROBE, Location, Root
from kd_sweep.runner import preflight
from kd_sweep.runner.study_folder import StudyFolder
from kd_sweep.study.space import is_finite, planned_trials
from kd_sweep.study.trial import TrialConfig
from kd_sweep.vision.cache import DECODED
from kd_sweep.vision.fingerprints import KNOWN

PROBES = (PROBE, preflight.PROBE)
_PROBE_S = 3600.0
"""A launch looks at its probes for less than this."""


@dataclass(frozen=True)
class Garbage:
    """A file, or a folder with everything in it, that nothing refers to."""

    place: str
    """Its name below the root."""
    num_bytes: int
    why: str

    def __str__(self) -> str:
        return f"{ByteSize(self.num_bytes).human_readable(decimal=True):>8}  {self.place}: {self.why}"


class Collector:
    """Finds what nothing under a results root refers to; in one study, where the location is a study's folder.

    While the block runs with ``exclusive``, none of the studies can be launched or resumed: what was found stays true.
    `delete` refuses where another study has appeared meanwhile. One that appears while it deletes trains the teachers
    that it misses.

    Args:
        location: a results root, or one study in it.
        exclusive: take the lease of every study.

    Raises:
        StorageError: there is no such folder, or no study in it.
        StudyLockedError: a study runs, and ``exclusive`` was asked for.
    """

    def __init__(self, location: Location, *, exclusive: bool = False) -> None:
        self._results = open_results(location)
        opened, self._names = self._results.root, self._folders()
        self._is_one = all(study.location == opened.location for study in self._results.select().values())
        self.root: Root = opened.parent()[0] if self._is_one else opened
        self._exclusive = exclusive

    def __enter__(self) -> "Collector":
        with ExitStack() as stack:
            for name in self._names if self._exclusive else ():
                stack.enter_context(study_lease(self.root.child(name), name))
            self._leases = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._leases.close()

    def find(self) -> list[Garbage]:
        """Return everything that may go, by place.

        Raises:
            StorageError: a study's spec or trials cannot be read, so what it refers to is unknown.
        """
        wanted = _Wanted()
        for name in self._names:
            wanted.add(self.root, name)
        sizes, reasons = Counter[str](), {}
        for name, size in self._files():
            found = wanted.reason(name)
            if found is not None:
                place, why = found
                sizes[place] += size
                reasons[place] = why
        free = [Garbage(place, sizes[place], why) for place, why in sorted(reasons.items())]
        return [garbage for garbage in free if not self._is_in_use(garbage.place)]

    def delete(self, found: Iterable[Garbage]) -> None:
        """Delete these.

        Raises:
            StorageError: a study has been launched since the listing began; nothing was deleted.
        """
        fresh = sorted(set(self._folders()) - set(self._names))
        if fresh:
            raise StorageError(f"{self.root}: {fresh[0]} has been launched meanwhile; nothing was deleted, ask again")
        for garbage in found:
            if self.root.is_folder(garbage.place):
                self.root.delete_folder(garbage.place)
            else:
                self.root.delete(garbage.place)

    def _files(self) -> Iterator[tuple[str, int]]:
        if not self._is_one:
            yield from self.root.sizes().items()
            return
        (study,) = self._names
        for name, size in self.root.sizes(study).items():
            yield f"{study}/{name}", size

    def _folders(self) -> list[str]:
        return [study.parent()[1] for study in self._results.select().values()]

    def _is_in_use(self, place: str) -> bool:
        """Whether a process that holds no study's lease may need it: a teacher's trainer, or a launch that begins."""
        folder, *rest = place.split("/")
        if folder == TEACHERS:
            holder = holder_of(teacher_folder(self.root, rest[0]), TEACHER_LEASE)
            return holder is not None and holder.is_alive
        return folder.startswith(PROBES) and self.root.age_s(place) < _PROBE_S


def garbage_table(found: list[Garbage]) -> pa.Table:
    """Return the findings as a table."""
    schema = pa.schema([("place", pa.string()), ("num_bytes", pa.int64()), ("why", pa.string())])
    return pa.Table.from_pylist([asdict(garbage) for garbage in found], schema)


@dataclass
class _Wanted:
    """What the studies refer to."""

    trials: dict[str, set[str]] = field(default_factory=dict)
    """Ids by study."""
    teachers: set[str] = field(default_factory=set)
    learning_from: set[str] = field(default_factory=set)
    """Teachers that trials still to run learn from."""
    streams: set[tuple[str, str]] = field(default_factory=set)
    """(teacher, stream) whose outputs trials still to run look up."""
    open_ended: set[str] = field(default_factory=set)
    """Teachers of adaptive studies that go on: on which streams they will be asked is not known."""
    fingerprints: set[str] = field(default_factory=set)

    def add(self, root: Root, name: str) -> None:
        """Count in what a study refers to."""
        study = root.child(name)
        spec = StudyFolder(root, name).spec()
        try:
            rows = read_keyed(study, TABLE_FILES["trials"]).to_pylist()
            about = read_keyed(study, TABLE_FILES["studies"]).to_pylist()
            if not study.exists(TABLE_FILES["trials"]) and study.exists(TRIALS_COPY):
                raise CorruptFileError(f"{study.shown(TABLE_FILES['trials'])} is missing")
        except CorruptFileError as error:
            raise StorageError(f"{error}; what {name} refers to is not known until kd-sweep resume {study}") from None
        known = {row["trial_id"]: TrialConfig.model_validate_json(row["config"]) for row in rows}
        finished = {row["trial_id"] for row in rows if row["status"] in FINISHED}
        trials = {trial.trial_id: trial.config for trial in planned_trials(spec)} | known
        self.trials[name] = set(trials)
        self.fingerprints |= {spec.data.fingerprint} if spec.data.fingerprint else set()
        goes_on = not is_finite(spec) and any(row["status"] != "completed" for row in about)
        for trial_id, config in trials.items():
            used = {teacher.teacher_id for teacher in config.needed_teachers}
            self.teachers |= used
            self.open_ended |= used if goes_on else set()
            if trial_id not in finished:
                self.learning_from |= used
                self.streams |= {(teacher, config.stream.stream_id) for teacher in used}

    def reason(self, name: str) -> tuple[str, str] | None:
        """Return which place a file's name belongs to and why that may go; None where it may not."""
        folder, *rest = name.split("/")
        if not rest:
            return (name, "the probe of a launch that was killed") if name.startswith(PROBES) else None
        if folder in self.trials:
            return _first(self._in_study(folder, rest), _leftover(name))
        rules = {TEACHERS: self._in_teachers, LOGITS: self._in_logits, DECODED: self._in_datasets}
        if folder not in rules:
            return None  # not ours
        return _first(rules[folder](rest), _leftover(name))

    def _in_study(self, study: str, rest: list[str]) -> tuple[str, str] | None:
        if rest[0] == CHECKPOINTS and len(rest) == 3 and rest[1] not in self.trials[study]:
            return f"{study}/{CHECKPOINTS}/{rest[1]}", "checkpoints of a trial that is not in the tables"
        if rest[0] == DAMAGED_FOLDER:
            return f"{study}/{'/'.join(rest)}", "was set aside as damaged"
        return None

    def _in_teachers(self, rest: list[str]) -> tuple[str, str] | None:
        return None if rest[0] in self.teachers else (f"{TEACHERS}/{rest[0]}", "a teacher that no trial uses")

    def _in_logits(self, rest: list[str]) -> tuple[str, str] | None:
        teacher, *inside = rest
        if teacher not in self.teachers:
            return f"{LOGITS}/{teacher}", "cached outputs of a teacher that no trial uses"
        is_epoch = len(inside) == 2
        if teacher in self.open_ended or (
            (teacher, inside[0]) in self.streams if is_epoch else teacher in self.learning_from
        ):
            return None
        return f"{LOGITS}/{teacher}/{inside[0]}", "cached teacher outputs that no trial still to run looks up"

    def _in_datasets(self, rest: list[str]) -> tuple[str, str] | None:
        fingerprint = rest[0].partition("-")[0]
        if fingerprint in self.fingerprints or rest[0].startswith("."):
            return None
        what = "a known fingerprint" if rest[0].endswith(KNOWN) else "decoded images"
        return f"{DECODED}/{rest[0]}", f"{what} of a dataset that no study uses"


def _first(*found: tuple[str, str] | None) -> tuple[str, str] | None:
    return next((reason for reason in found if reason is not None), None)


def _leftover(name: str) -> tuple[str, str] | None:
    base = name.rpartition("/")[2]
    if base.endswith(CORRUPT):
        return name, "was set aside as damaged"
    return (name, "the unfinished file of a writer that was killed") if is_temporary(base) else None
