"""The garbage of a results root: files that no study refers to, listed by `kd-sweep gc` and deleted on request."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import pyarrow as pa
from pydantic import ByteSize

from kd_sweep.data.dataset_cache import DECODED
from kd_sweep.data.fingerprints import KNOWN
from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.distill.logit_files import LOGITS
from kd_sweep.distill.teacher_records import TEACHER_LEASE, TEACHERS, teacher_folder, teacher_record
from kd_sweep.driver.ray import preflight
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.lease_holder import holder_of
from kd_sweep.storage.local_files import is_temporary
from kd_sweep.storage.root import PROBE, Location, Root
from kd_sweep.storage.tensor_files import CORRUPT
from kd_sweep.study.recorded_trials import recorded_trials
from kd_sweep.study.space.points import is_finite
from kd_sweep.tables.current_files import table_file
from kd_sweep.tables.keyed_table import read_table
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.recovery import DAMAGED_FOLDER
from kd_sweep.tables.rendering.study_overview import span
from kd_sweep.tables.schema import FINISHED, TABLE_FILES, TRIALS_COPY
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.upkeep.planned_configs import planned_configs
from kd_sweep.upkeep.removal import REMOVED

PROBES = (PROBE, preflight.PROBE)
_PROBE_S = 3600.0
"""A launch needs its probes for less than this."""


GARBAGE, CACHE = "garbage", "cache"


@dataclass(frozen=True)
class Garbage:
    """A file, or a folder with everything in it, that nothing refers to."""

    path: str
    """Below the root."""
    num_bytes: int
    why: str
    kind: str = GARBAGE
    """`garbage`, or `cache` for files that save time when a study is extended or launched again."""
    cost: str | None = None
    """The work of making it again, if that is worth knowing."""

    def __str__(self) -> str:
        size = ByteSize(self.num_bytes).human_readable(decimal=True)
        # That caches are made again stands once, in the line above all of them.
        cost = f"; {self.cost}" if self.cost and self.kind != CACHE else ""
        return f"{size:>8}  {self.path}: {self.why}{cost}"


class _Reason(NamedTuple):
    """Why a file or folder may be deleted."""

    path: str
    why: str
    kind: str = GARBAGE
    cost: str | None = None


class Collector:
    """Finds what nothing under a results root refers to; in one study, if the location is a study's folder.

    While the block runs with ``exclusive``, none of the studies can be launched or resumed: the listing stays true.
    `delete` refuses if another study has appeared meanwhile. A study that appears during the deletion trains the
    teachers that it misses.

    Args:
        location: a results root, or one study in it.
        exclusive: take the lease of every study.

    Raises:
        StorageError: there is no such folder, or no study in it.
        StudyLockedError: a study runs, with ``exclusive``.
    """

    def __init__(self, location: Location, *, exclusive: bool = False) -> None:
        self._results = open_results(location)
        opened, self._names = self._results.root, self._folders()
        self._is_one = all(study.location == opened.location for study in self._results.select().values())
        self.root: Root = opened.parent()[0] if self._is_one else opened
        self._exclusive = exclusive
        self._held: list[Lease] = []

    def __enter__(self) -> "Collector":
        with ExitStack() as stack:
            for name in self._names if self._exclusive else ():
                self._held.append(stack.enter_context(study_lease(self.root.child(name), name)))
            self._leases = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._leases.close()

    def find(self) -> list[Garbage]:
        """Return everything that may be deleted, by path.

        Raises:
            StorageError: a study's spec or trials cannot be read, so what it refers to is unknown.
        """
        wanted = _Wanted()
        for name in self._names:
            wanted.add(self.root, name)
        sizes = Counter[str]()
        reasons: dict[str, _Reason] = {}
        for name, size in self._files():
            reason = wanted.reason(name)
            if reason is not None:
                sizes[reason.path] += size
                reasons[reason.path] = reason
        free = [reason for path, reason in sorted(reasons.items()) if not self._is_in_use(path)]
        return [
            Garbage(
                reason.path, sizes[reason.path], reason.why, reason.kind, reason.cost or self._training(reason.path)
            )
            for reason in free
        ]

    def delete(self, listed: Iterable[Garbage]) -> None:
        """Delete the listed garbage.

        Raises:
            StorageError: a study has been launched since the listing began; nothing was deleted.
            StudyLockedError: a study has been resumed while this process was suspended; the rest was not deleted.
        """
        fresh = sorted(set(self._folders()) - set(self._names))
        if fresh:
            raise StorageError(f"{self.root}: {fresh[0]} has been launched meanwhile; nothing was deleted, ask again")
        for garbage in listed:
            for lease in self._held:
                lease.check()
            if self.root.is_folder(garbage.path):
                self.root.delete_folder(garbage.path)
            else:
                self.root.delete(garbage.path)

    def _training(self, path: str) -> str | None:
        """Return how long it would take to train a teacher again, if it is a finished teacher's folder."""
        folder, _, teacher_id = path.partition("/")
        record = teacher_record(self.root, teacher_id) if folder == TEACHERS and "/" not in teacher_id else None
        return f"training it again would take {span(record.train_s)}" if record else None

    def _files(self) -> Iterator[tuple[str, int]]:
        if not self._is_one:
            yield from self.root.sizes().items()
            return
        (study,) = self._names
        for name, size in self.root.sizes(study).items():
            yield f"{study}/{name}", size

    def _folders(self) -> list[str]:
        return [study.parent()[1] for study in self._results.select().values()]

    def _is_in_use(self, path: str) -> bool:
        """Whether a process that holds no study's lease may need it: a teacher's trainer, or a launch that begins."""
        folder, *rest = path.split("/")
        if folder == TEACHERS:
            holder = holder_of(teacher_folder(self.root, rest[0]), TEACHER_LEASE)
            return holder is not None and holder.is_alive
        return folder.startswith(PROBES) and self.root.age_s(path) < _PROBE_S


def totals(listed: Sequence[Garbage], root: str, *, deleted: bool) -> str:
    """Return in a line how much is listed and, unless it is deleted, how to delete it."""
    parts = []
    for kind, name, options in ((GARBAGE, "path", "--delete"), (CACHE, "cache", "--delete --caches")):
        some = [garbage.num_bytes for garbage in listed if garbage.kind == kind]
        if kind == CACHE and not some:
            continue
        size = ByteSize(sum(some)).human_readable(decimal=True)
        advice = f"; kd-sweep gc {root} {options} deletes {'it' if kind == GARBAGE else 'them too'}" if some else ""
        parts.append(
            f"{len(some)} {name if len(some) == 1 else f'{name}s'}, {size} "
            + ("deleted" if deleted else f"could go{advice}")
        )
    return "; ".join(parts)


def garbage_table(listed: Sequence[Garbage]) -> pa.Table:
    """Return the garbage as a table, with a column for each of its fields."""
    texts = [(name, pa.string()) for name in ("why", "kind", "cost")]
    schema = pa.schema([("path", pa.string()), ("num_bytes", pa.int64()), *texts])
    return pa.Table.from_pylist([asdict(garbage) for garbage in listed], schema)


@dataclass
class _Wanted:
    """The references of the studies: trials, teachers, outputs and datasets that they need."""

    trials: dict[str, set[str]] = field(default_factory=dict)
    """Ids by study."""
    teachers: set[str] = field(default_factory=set)
    learning_from: set[str] = field(default_factory=set)
    """Teachers that trials still to run learn from."""
    streams: set[tuple[str, str]] = field(default_factory=set)
    """(teacher, stream) whose outputs trials still to run read."""
    open_ended: set[str] = field(default_factory=set)
    """Teachers of adaptive studies that go on: the streams that they will be used on are unknown."""
    fingerprints: set[str] = field(default_factory=set)

    def add(self, root: Root, name: str) -> None:
        """Add the references of a study."""
        study = root.child(name)
        folder = StudyFolder(root, name)
        spec = folder.spec()
        try:
            trials = read_table(study, TABLE_FILES["trials"])
            about = read_table(study, TABLE_FILES["studies"]).to_pylist()
            if not trials.num_columns and read_table(study, TRIALS_COPY).num_columns:
                raise CorruptFileError(f"{study.location_of(table_file(study, TABLE_FILES['trials']))} is missing")
        except CorruptFileError as error:
            raise StorageError(f"{error}; what {name} refers to is not known until kd-sweep resume {study}") from None
        rows = trials.to_pylist()
        known = dict(zip([row["trial_id"] for row in rows], recorded_trials(rows), strict=True))
        finished = {row["trial_id"] for row in rows if row["status"] in FINISHED}
        trials = {config.trial_id: config for config in planned_configs(folder, spec)} | known
        self.trials[name] = set(trials)
        self.fingerprints |= {spec.data.fingerprint} if spec.data.fingerprint else set()
        goes_on = not is_finite(spec) and any(row["status"] != "completed" for row in about)
        for trial_id, config in trials.items():
            used = {teacher.teacher_id for teacher in config.needed_teachers}
            self.teachers |= used
            self.open_ended |= used if goes_on else set()
            if trial_id not in finished:
                self.learning_from |= used
                self.streams |= {(teacher, config.teacher_stream.stream_id) for teacher in used}

    def reason(self, name: str) -> _Reason | None:
        """Return the file or folder that a name belongs to and why it may be deleted; None if it may not."""
        folder, *rest = name.split("/")
        if not rest:
            return _Reason(name, "the probe of a launch that was killed") if name.startswith(PROBES) else None
        if folder.startswith(REMOVED):
            return _Reason(folder, "what is left of a study that was removed")
        if folder in self.trials:
            return _first(self._in_study(folder, rest), _leftover(name))
        rules = {TEACHERS: self._in_teachers, LOGITS: self._in_logits, DECODED: self._in_datasets}
        if folder not in rules:
            return None  # not ours
        return _first(rules[folder](rest), _leftover(name))

    def _in_study(self, study: str, rest: list[str]) -> _Reason | None:
        if rest[0] == CHECKPOINTS and len(rest) == 3 and rest[1] not in self.trials[study]:
            return _Reason(f"{study}/{CHECKPOINTS}/{rest[1]}", "checkpoints of a trial that is not in the tables")
        if rest[0] == DAMAGED_FOLDER:
            return _Reason(f"{study}/{'/'.join(rest)}", "was set aside as damaged")
        return None

    def _in_teachers(self, rest: list[str]) -> _Reason | None:
        return None if rest[0] in self.teachers else _Reason(f"{TEACHERS}/{rest[0]}", "a teacher that no trial uses")

    def _in_logits(self, rest: list[str]) -> _Reason | None:
        teacher, *inside = rest
        if teacher not in self.teachers:
            return _Reason(f"{LOGITS}/{teacher}", "of a teacher that no trial uses", CACHE)
        is_epoch = len(inside) == 2
        if teacher in self.open_ended or (
            (teacher, inside[0]) in self.streams if is_epoch else teacher in self.learning_from
        ):
            return None
        cost = "computed again for the trials that an extended study adds"
        return _Reason(f"{LOGITS}/{teacher}/{inside[0]}", "no trial still to run looks it up", CACHE, cost)

    def _in_datasets(self, rest: list[str]) -> _Reason | None:
        fingerprint = rest[0].partition("-")[0]
        if fingerprint in self.fingerprints or rest[0].startswith("."):
            return None
        if rest[0].endswith(KNOWN):
            what, cost = "a known fingerprint", "taken again where a study uses it"
        else:
            what, cost = "decoded images", "decoded again where a study uses it"
        return _Reason(f"{DECODED}/{rest[0]}", f"{what} of a dataset that no study uses", CACHE, cost)


def _first(*reasons: _Reason | None) -> _Reason | None:
    return next((reason for reason in reasons if reason is not None), None)


def _leftover(name: str) -> _Reason | None:
    base = name.rpartition("/")[2]
    if base.endswith(CORRUPT):
        return _Reason(name, "was set aside as damaged")
    return _Reason(name, "the unfinished file of a writer that was killed") if is_temporary(base) else None
