"""The record of a finished teacher: ``teacher.json``, readable without torch.

Whoever trains a teacher has a term (`storage.terms`), that of its lease, in the names of all its files:
``teacher-00000001.json``, ``model-00000001.safetensors``. A record that somebody publishes after another has begun to
train in its place never counts, so that what students have learned from does not change.
"""

import hashlib
import re

from pydantic import ValidationError

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Location, Root
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.storage.tensor_files import write_atomic
from kd_sweep.storage.terms import of_term, terms_of
from kd_sweep.study.trial import TeacherConfig

RECORD = "teacher.json"
WEIGHTS = "model.safetensors"
TEACHER_LEASE = "lease.json"
"""In a teacher's folder: who trains it, while somebody does."""
BEGUN = "training.begun"
"""The file by which a training says that it has begun, with its term in the name; gone when it has ended."""
TEACHERS = "teachers"
"""The folder of all teachers in a results root."""
_SEAL = re.compile(rb',\n  "record_sha256": "([0-9a-f]{64})"(?=\n}$)')
"""The last entry of a record: the SHA-256 of the record without it. Records of before there were sums are believed."""


class TeacherRecord(Strict):
    """A teacher that has been trained to its end. Its presence on disk is what makes the teacher finished."""

    teacher_id: str
    config: TeacherConfig
    epochs: int
    val_accuracy: float
    """Top-1 accuracy on clean validation images after the last epoch."""
    train_accuracy: float | None
    """Top-1 accuracy on the training stream, as seen during the last epoch; None where there was none."""
    num_parameters: int
    train_s: float
    """Sum over its epochs, whoever trained them."""
    finished_at: str
    """UTC, ISO 8601."""
    host: str
    pid: int
    sha256: str
    """Of model.safetensors, the whole file."""
    history: tuple[dict[str, int | float], ...]
    """One row per epoch: epoch, train_loss, train_accuracy, val_accuracy, epoch_s."""
    versions: dict[str, str]
    """Of the packages that trained it."""


def teacher_folder(root: Location, teacher_id: str) -> Root:
    """Return where a teacher lies under a results root."""
    return Root.open(root).child(f"{TEACHERS}/{teacher_id}")


def teacher_record(root: Location, teacher_id: str) -> TeacherRecord | None:
    """Return the record of a finished teacher; None where it is not finished, or its record cannot be trusted."""
    try:
        return read_record(root, teacher_id)
    except CorruptFileError:
        return None


def finished_term(folder: Root) -> int | None:
    """Return the term of the record that counts in a teacher's folder; None where the teacher is not finished.

    It is the latest, unless a training has begun after it: that one found no record, so this was published too late.
    """
    files = folder.files()
    finished, begun = terms_of(RECORD, files), terms_of(BEGUN, files)
    return finished[-1] if finished and finished[-1] >= max(begun, default=0) else None


def weights_file(folder: Root) -> StoredFile | None:
    """Return the weights that the record which counts speaks of; None where the teacher is not finished."""
    term = finished_term(folder)
    return None if term is None else StoredFile(folder, of_term(WEIGHTS, term))


def read_record(root: Location, teacher_id: str) -> TeacherRecord | None:
    """Return the record of a finished teacher, None where there is none.

    Raises:
        CorruptFileError: there is one, and it is damaged or belongs to another teacher.
    """
    folder = teacher_folder(root, teacher_id)
    while (term := finished_term(folder)) is not None:
        path = StoredFile(folder, of_term(RECORD, term))
        try:
            return _parsed(path, path.read_bytes(), teacher_id)
        except FileNotFoundError:  # it was set aside, or there is a later one
            continue
    return None


def _parsed(path: StoredFile, text: bytes, teacher_id: str) -> TeacherRecord:
    if seal := _SEAL.search(text):
        text = text[: seal.start()] + text[seal.end() :]
        if hashlib.sha256(text).hexdigest().encode() != seal[1]:
            raise CorruptFileError(f"{path}: does not match its checksum")
    try:
        record = TeacherRecord.model_validate_json(text)
    except ValidationError as error:
        raise CorruptFileError(f"{path}: damaged ({error.error_count()} fields are wrong)") from error
    if record.teacher_id != teacher_id:
        raise CorruptFileError(f"{path}: is the record of teacher {record.teacher_id}")
    return record


def write_record(root: Location, record: TeacherRecord, term: int) -> None:
    """Publish ``record`` in the trainer's term. The weights must be in place before."""
    text = record.model_dump_json(indent=2)
    seal = hashlib.sha256(text.encode()).hexdigest()
    sealed = text.removesuffix("\n}") + f',\n  "record_sha256": "{seal}"\n}}'
    file = StoredFile(teacher_folder(root, record.teacher_id), of_term(RECORD, term))
    write_atomic(file, sealed.encode())
