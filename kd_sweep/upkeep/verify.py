"""The verification of a results root: every file checked by `kd-sweep verify`, without changes."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from kd_sweep.data.dataset_cache import DECODED
from kd_sweep.data.decoding.decoded_file import is_whole
from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST, checkpoints_in, read_header
from kd_sweep.distill.logit_files import LOGITS
from kd_sweep.distill.teacher_records import RECORD, TEACHERS, WEIGHTS, finished_term, read_record, teacher_folder
from kd_sweep.driver.study_folder import SPEC_FILE, StudyFolder
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.lease_holder import DRIVER_LEASE, damaged_lease, holder_of
from kd_sweep.storage.local_files import is_temporary
from kd_sweep.storage.root import Location, Root
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.storage.tensor_files import CORRUPT, check_data
from kd_sweep.storage.terms import of_term, terms_of
from kd_sweep.study.recorded_trials import recorded_trials
from kd_sweep.tables.current_files import current_term, files_of_other_terms, table_file
from kd_sweep.tables.epoch_parts import Part, counted, list_parts, parts_among, read_part, superseded
from kd_sweep.tables.keyed_table import read_table
from kd_sweep.tables.notes import NOTES_FOLDER, notes_table
from kd_sweep.tables.reader import driver_alive, open_results
from kd_sweep.tables.recovery import DAMAGED_FOLDER
from kd_sweep.tables.schema import EPOCHS_FOLDER, FINISHED, TABLE_FILES, TRIALS_COPY
from kd_sweep.upkeep.planned_configs import planned_configs

PROBLEM, NOTE = "problem", "note"
COLLECTED = "kd-sweep gc deletes it"
TRIALS = TABLE_FILES["trials"]
_READINGS = 20
"""So often the epochs are listed again because a driver has merged some of them meanwhile."""
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Finding:
    """A problem, or a note, about a file."""

    kind: str
    """`problem`, or `note` for what is sound and still worth knowing."""
    file: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.file}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


def verify(location: Location) -> list[Finding]:
    """Return the findings about a results root, or about one study and the teachers that it uses.

    Every file is read to its last byte: Parquet pages, checkpoints, teachers and cached outputs against checksums.

    Raises:
        StorageError: there is no such folder, or no study in it.
    """
    results = open_results(location)
    studies = results.select()
    is_one = next(iter(studies.values())).location == results.root.location
    shared = results.root.parent()[0] if is_one else results.root
    findings: list[Finding] = []
    used: set[str] = set()
    for study in studies.values():
        findings += _study(study, used)
    wanted = used if is_one else set(shared.folders(TEACHERS)) | set(shared.folders(LOGITS))
    for teacher_id in sorted(wanted):
        findings += _teacher(shared, teacher_id, teacher_id in used)
        findings += _logits(shared, teacher_id, teacher_id in used)
    findings += _decoded(shared)
    return sorted(findings, key=lambda finding: finding.kind != PROBLEM)


def findings_table(findings: list[Finding]) -> pa.Table:
    """Return the findings as a table."""
    fields = [(name, pa.string()) for name in ("kind", "file", "what", "remedy")]
    return pa.Table.from_pylist([asdict(finding) for finding in findings], pa.schema(fields))


def _study(study: Root, used: set[str]) -> Iterator[Finding]:
    resume = f"kd-sweep resume {study} sets it aside and rebuilds it from what is left"
    is_running = driver_alive(study)
    try:
        StudyFolder.at(study).frozen_in_file()
    except StorageError as error:
        yield Finding(PROBLEM, study.location_of(SPEC_FILE), str(error), resume)
    else:
        frozen = StudyFolder.at(study).frozen_in_table()
        if frozen is not None and frozen.text.encode() != study.read_bytes(SPEC_FILE) and not driver_alive(study):
            what = "is not what the studies table has, which counts"
            yield Finding(PROBLEM, study.location_of(SPEC_FILE), what, f"kd-sweep resume {study} writes it again")
    tables: dict[str, list[dict[str, Any]]] = {}
    is_there = {}
    for name in (*TABLE_FILES.values(), TRIALS_COPY):
        try:
            table = read_table(study, name)
            tables[name], is_there[name] = table.to_pylist(), bool(table.num_columns)
        except (CorruptFileError, StorageError) as error:
            is_there[name] = True
            yield _broken(study.location_of(table_file(study, name)), error, resume)
    if tables.get(TRIALS_COPY) and not is_there[TRIALS]:
        missing = study.location_of(table_file(study, TRIALS))
        yield Finding(PROBLEM, missing, "is missing", f"kd-sweep resume {study} makes it of its copy")
    rows = tables.get(TRIALS) or tables.get(TRIALS_COPY)
    epochs, findings = _epochs(study, resume)
    yield from findings
    is_running = is_running or driver_alive(study)
    trials = {row["trial_id"]: row for row in rows or ()}
    if rows is not None and epochs is not None:
        yield from _trials(study, trials, epochs, is_running=is_running)
    try:
        for config in recorded_trials(trials.values()):
            used |= {teacher.teacher_id for teacher in config.needed_teachers}
    except StorageError as error:
        yield Finding(PROBLEM, study.location_of(table_file(study, TRIALS)), str(error), "")
    yield from _checkpoints(study, trials, is_running=is_running)
    yield from _leftovers(study)


def _broken(file: str, error: Exception, remedy: str) -> Finding:
    """Return the finding on a file that cannot be read: it may be whole, so only damage has the remedy."""
    return Finding(PROBLEM, file, str(error), remedy if isinstance(error, CorruptFileError) else "")


def _epochs(study: Root, resume: str) -> tuple[dict[str, list[int]] | None, list[Finding]]:
    """Return the epochs of each trial, None if a part cannot be read, and the findings about the parts."""
    read: dict[Part, pa.Table | Finding] = {}
    for _ in range(_READINGS):
        parts = list_parts(study)
        try:
            for part in parts:
                if part not in read:
                    read[part] = _part(study, part, resume)
            break
        except FileNotFoundError:
            continue  # the study's driver has merged it meanwhile
    else:
        raise StorageError(f"{study.location_of(EPOCHS_FOLDER)}: parts are replaced faster than they can be read")
    damaged: list[Finding] = []
    epochs: dict[str, list[int]] = {}
    for part in parts:
        keys = read[part]
        if isinstance(keys, Finding):
            damaged.append(keys)
            continue
        for trial_id, epoch in zip(keys["trial_id"].to_pylist(), keys["epoch"].to_pylist(), strict=True):
            epochs.setdefault(trial_id, []).append(epoch)
    return None if damaged else epochs, [*_strangers(study), *damaged]


def _part(study: Root, part: Part, resume: str) -> pa.Table | Finding:
    try:
        return read_part(study, part, ["trial_id", "epoch"])
    except (CorruptFileError, StorageError) as error:
        return _broken(study.location_of(part.path), error, resume)


def _strangers(study: Root) -> Iterator[Finding]:
    term = current_term(study)
    names = study.files(EPOCHS_FOLDER)
    merged, parts = superseded(names, term), {part.name for part in parts_among(names)}
    for name in sorted(set(names) - {part.name for part in counted(names, term)}):
        if name in merged or name not in parts:
            what = "was merged into another part" if name in merged else "is no part of the table"
            yield Finding(NOTE, study.location_of(f"{EPOCHS_FOLDER}/{name}"), what, "")
    for name in files_of_other_terms(study, term):
        what = "does not count: a driver wrote it after another had taken over"
        yield Finding(NOTE, study.location_of(name), what, f"kd-sweep resume {study} deletes it")


def _trials(study: Root, trials: Rows, epochs: Mapping[str, list[int]], *, is_running: bool) -> Iterator[Finding]:
    folder, resume = study.location_of(EPOCHS_FOLDER), f"kd-sweep resume {study} mends it from the trial's checkpoint"
    for trial_id, numbers in sorted(epochs.items()):
        if sorted(numbers) != list(range(1, max(numbers) + 1)):
            missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
            what = f"trial {trial_id} lacks epochs {missing}" if missing else f"trial {trial_id} has an epoch twice"
            yield Finding(PROBLEM, folder, what, resume)
    if not is_running:
        yield from _orphans(study, sorted(epochs.keys() - trials.keys()))
    for trial_id, row in sorted(trials.items()):
        stated, there, status = row["last_epoch"] or 0, max(epochs.get(trial_id, [0])), row["status"]
        if stated != there and not is_running:
            what = f"trial {trial_id} is at epoch {stated} by its row and at {there} by {EPOCHS_FOLDER}"
            yield Finding(PROBLEM, study.location_of(table_file(study, TRIALS)), what, resume)
        elif status == "completed" and stated != row["num_epochs"]:
            what = f"trial {trial_id} is completed at epoch {stated} of {row['num_epochs']}"
            yield Finding(PROBLEM, study.location_of(table_file(study, TRIALS)), what, resume)
        elif status == "running" and not is_running:
            what = f"trial {trial_id} was running when its driver ended"
            yield Finding(
                NOTE, study.location_of(table_file(study, TRIALS)), what, f"kd-sweep resume {study} goes on with it"
            )


def _orphans(study: Root, trial_ids: list[str]) -> Iterator[Finding]:
    planned = _planned(study) if trial_ids else set()
    for trial_id in trial_ids:
        remedy = f"kd-sweep resume {study} adds its row again"
        if trial_id not in planned:
            remedy = "what was searched there is lost with its row; launched again, the study runs another in its place"
        yield Finding(
            PROBLEM,
            study.location_of(EPOCHS_FOLDER),
            f"trial {trial_id} has epochs and is not in the trials table",
            remedy,
        )


def _planned(study: Root) -> set[str]:
    try:
        folder = StudyFolder.at(study)
        return {config.trial_id for config in planned_configs(folder, folder.spec())}
    except StorageError:
        return set()


def _checkpoints(study: Root, trials: Rows, *, is_running: bool) -> Iterator[Finding]:
    for trial_id in study.folders(CHECKPOINTS):
        for name, file in checkpoints_in(study.child(f"{CHECKPOINTS}/{trial_id}")).items():
            yield from _checkpoint(study, trial_id, name, file, trials.get(trial_id), is_running=is_running)


def _checkpoint(
    study: Root, trial_id: str, name: str, file: StoredFile, row: Mapping[str, Any] | None, *, is_running: bool
) -> Iterator[Finding]:
    is_finished = row is not None and row["status"] in FINISHED
    try:
        header = read_header(file)
        if header is not None:
            check_data(file)
    except FileNotFoundError:
        return  # the study's driver has deleted it meanwhile
    except (CorruptFileError, StorageError) as error:
        remedy = f"kd-sweep resume {study} sets it aside and trains on from what is left of the trial"
        if is_finished:
            remedy = "it may be deleted: its trial is finished and in the tables"
        yield _broken(str(file), error, remedy)
        return
    if header is None:
        return
    if header.owner != trial_id:
        yield Finding(PROBLEM, str(file), f"is the checkpoint of trial {header.owner}", "put it back or delete it")
    elif row is None and not is_running:
        yield Finding(NOTE, str(file), "belongs to no trial in the tables", COLLECTED)
    elif row is not None and is_finished and name == LAST and header.epoch < (row["last_epoch"] or 0):
        what = f"is at epoch {header.epoch} of a trial that is finished at {row['last_epoch']}"
        yield Finding(NOTE, str(file), what, "")


def _leftovers(study: Root) -> Iterator[Finding]:
    holder = holder_of(study)
    if holder is not None:
        state = "is held by" if holder.is_alive else "was left by a driver that has ended,"
        yield Finding(NOTE, study.location_of(DRIVER_LEASE), f"{state} {holder}", "")
    if damaged := damaged_lease(study):
        yield Finding(NOTE, study.location_of(damaged), "is damaged, so nobody holds it", "the next driver deletes it")
    try:
        notes_table({"": study})
    except CorruptFileError as error:
        yield Finding(PROBLEM, study.location_of(NOTES_FOLDER), str(error), "")
    for name in study.files(DAMAGED_FOLDER):
        yield Finding(
            NOTE,
            study.location_of(f"{DAMAGED_FOLDER}/{name}"),
            "was set aside as damaged",
            COLLECTED,
        )
    for folder in ("", *(f"{CHECKPOINTS}/{trial_id}" for trial_id in study.folders(CHECKPOINTS))):
        yield from _named_leftovers(study, folder)


def _named_leftovers(root: Root, folder: str) -> Iterator[Finding]:
    for name in root.files(folder):
        file = root.location_of(f"{folder}/{name}" if folder else name)
        if name.endswith(CORRUPT):
            yield Finding(NOTE, file, "was set aside as damaged", COLLECTED)
        elif is_temporary(name):
            yield Finding(NOTE, file, "is being written, or its writer was killed", COLLECTED)


def _teacher(root: Root, teacher_id: str, is_used: bool) -> Iterator[Finding]:
    folder = teacher_folder(root, teacher_id)
    again = "the next trial that needs it trains it again"
    yield from _named_leftovers(folder, "")
    try:
        record = read_record(root, teacher_id)
    except (CorruptFileError, StorageError) as error:
        yield _broken(folder.location_of(of_term(RECORD, finished_term(folder) or 0)), error, again)
        return
    if record is None:
        yield from _unfinished(folder, again)
        return
    weights = StoredFile(folder, of_term(WEIGHTS, finished_term(folder) or 0))
    try:
        if hashlib.sha256(weights.read_bytes()).hexdigest() != record.sha256:
            yield Finding(PROBLEM, str(weights), "does not match the checksum in its record", again)
    except FileNotFoundError:
        yield Finding(PROBLEM, str(weights), "is missing", again)
    except StorageError as error:
        yield _broken(str(weights), error, again)
    if not is_used:
        yield Finding(NOTE, str(folder), "is used by no trial in the tables", COLLECTED)


def _unfinished(teacher: Root, again: str) -> Iterator[Finding]:
    checkpoint = checkpoints_in(teacher).get(LAST)
    try:
        header = None if checkpoint is None else read_header(checkpoint)
        if checkpoint is not None and header is not None:
            check_data(checkpoint)
            yield Finding(NOTE, str(teacher), f"is trained up to epoch {header.epoch} only", "")
        elif weights := terms_of(WEIGHTS, teacher.files()):
            yield Finding(PROBLEM, teacher.location_of(of_term(RECORD, weights[-1])), "is missing", again)
    except FileNotFoundError:
        return  # its training has ended meanwhile
    except (CorruptFileError, StorageError) as error:
        yield _broken(str(checkpoint), error, again)


def _decoded(root: Root) -> Iterator[Finding]:
    for name in root.files(DECODED) if root.is_local else ():
        file = root.local_path(DECODED, name)
        if name.endswith(".npy") and not is_whole(file):
            again = "delete it while nothing runs; it is decoded again where it is needed"
            yield Finding(PROBLEM, root.location_of(f"{DECODED}/{name}"), "does not match its checksums", again)


def _logits(root: Root, teacher_id: str, is_used: bool) -> Iterator[Finding]:
    cached = root.child(f"{LOGITS}/{teacher_id}")
    names = [*cached.files(), *(f"{stream}/{name}" for stream in cached.folders() for name in cached.files(stream))]
    for name in names:
        if is_temporary(name.rpartition("/")[2]):
            yield Finding(
                NOTE,
                cached.location_of(name),
                "is being written, or its writer was killed",
                COLLECTED,
            )
            continue
        try:
            check_data(StoredFile(cached, name))
        except FileNotFoundError:
            continue
        except (CorruptFileError, StorageError) as error:
            yield _broken(cached.location_of(name), error, "delete it; it is computed again where it is needed")
    if names and not is_used:
        yield Finding(
            NOTE,
            str(cached),
            "holds outputs of a teacher that no trial in the tables uses",
            COLLECTED,
        )
