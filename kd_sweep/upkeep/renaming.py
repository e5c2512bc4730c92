"""The renaming of a study: its name is in its folder's, in every row of its tables and in its frozen study.

All tables are written once more with the new name, in a new term, the ``studies`` table last: with that file the study
has the new name, in one step. Then its folder is renamed, in one step too. Between these steps the study is whole, with
the new name in the old folder; renaming it once more ends the work.
"""

from typing import Any

import pyarrow as pa

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.root import Location, Root
from kd_sweep.storage.terms import of_term
from kd_sweep.study.file.frozen import FrozenStudy, freeze
from kd_sweep.study.file.load import spec_of
from kd_sweep.study.file.python_values import python_document
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.current_files import delete_earlier, delete_term
from kd_sweep.tables.epoch_parts import list_parts, read_part, write_part
from kd_sweep.tables.keyed_table import KeyedTable, read_table
from kd_sweep.tables.reader import is_study, stated_name
from kd_sweep.tables.schema import STUDIES, TABLE_FILES, TEACHERS, TRIALS, TRIALS_COPY


def rename_study(location: Location, name: str) -> Root:
    """Give a study another name, and return its folder from now on. A rename that was interrupted is ended.

    Args:
        location: the study's folder, whose name may be another than the study's.
        name: the new name.

    Raises:
        SpecError: that is no name.
        StorageError: it is no study, is damaged, there is one of the new name, or it lies in an object store.
        StudyLockedError: a driver runs the study.
    """
    folder = StudyFolder.at(location)
    if not is_study(folder.study):
        raise StorageError(f"{folder.study}: is not a study; possible: a study's folder, ROOT/STUDY")
    if not folder.study.is_local:
        raise StorageError(f"{folder.study}: lies in an object store, where nothing can be renamed in one step")
    _check_free(folder, _with_name(folder.spec(), name).name)
    with folder.lock() as lease:
        frozen = folder.frozen_in_table() or folder.frozen_in_file()
        renamed = freeze(_with_name(frozen.spec, name), frozen.provenance)
        if frozen.spec.name != name:
            _write_tables(folder, renamed, lease.term)
        folder.write_frozen(renamed.text)
    if folder.name != name:
        folder.storage.move_folder(folder.name, name)
    return folder.storage.child(name)


def _with_name(spec: StudySpec, name: str) -> StudySpec:
    """Return the study with another name, checked as that of a study file is; its plug-ins need not be here."""
    return spec.model_copy(update={"name": spec_of(python_document({"name": name})).name})


def _check_free(folder: StudyFolder, name: str) -> None:
    """Raise `StorageError` where the root has something else of the new name, or the study has it already."""
    if folder.spec().name == folder.name == name:
        raise StorageError(f"{folder.study}: is named {name!r} already")
    if folder.name != name and folder.storage.exists(name):
        raise StorageError(f"{folder.storage.location_of(name)} is there already; choose another name")
    for other in map(folder.storage.child, folder.storage.folders()):
        if other.location != folder.study.location and is_study(other) and stated_name(other) == name:
            raise StorageError(f"{other}: holds a study {name!r} already; choose another name")


def _write_tables(folder: StudyFolder, frozen: FrozenStudy, term: int) -> None:
    """Write every table with the new name, in this term; with the last one it begins."""
    study = folder.study
    try:
        tables = {name: read_table(study, file) for name, file in TABLE_FILES.items()}
        parts = [(part, read_part(study, part)) for part in list_parts(study)]
        if not tables["trials"].num_columns and read_table(study, TRIALS_COPY).num_columns:
            raise CorruptFileError(f"{study.location_of(TABLE_FILES['trials'])}: is missing")
    except CorruptFileError as error:
        raise StorageError(f"{error}; mend it with: kd-sweep resume {study}, and rename the study then") from None
    name = frozen.spec.name
    try:
        for part, table in parts:
            index = table.schema.get_field_index("study")
            column = pa.array([name] * table.num_rows, pa.string())
            write_part(study, part._replace(term=term), table.set_column(index, "study", column))
        trials, copy = of_term(TABLE_FILES["trials"], term), of_term(TRIALS_COPY, term)
        _write(KeyedTable(study, trials, TRIALS, "trial_id", extensible=True, copy=copy), tables["trials"], study=name)
        teachers = KeyedTable(study, of_term(TABLE_FILES["teachers"], term), TEACHERS, "teacher_id")
        _write(teachers, tables["teachers"], study=name)
        studies = KeyedTable(study, of_term(TABLE_FILES["studies"], term), STUDIES, "study")
        _write(studies, tables["studies"].slice(0, 1), study=name, spec=frozen.text)
    except BaseException:
        if folder.frozen_in_table() != frozen:
            delete_term(study, term)
        raise
    delete_earlier(study, term)


def _write(table: KeyedTable, rows: pa.Table, **changes: Any) -> None:
    """Save these rows, with some values changed in all of them, where there is a table at all."""
    if rows.num_columns or table.schema.names == STUDIES.names:
        for row in rows.to_pylist():
            table.upsert({key: value for key, value in row.items() if value is not None} | changes)
        table.save(always=True)
