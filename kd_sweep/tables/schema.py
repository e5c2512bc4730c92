"""The tables: their columns, their versions, and how a table of another version or with searched columns is read."""

import json
from collections.abc import Iterable, Mapping, Set

import pyarrow as pa

from kd_sweep.errors import StorageError
from kd_sweep.study.identity import SECTIONS
from kd_sweep.study.metric_catalogue import LIST_METRICS, METRICS_VERSION, REPORTED_METRICS

SCHEMA_VERSION = "1"
"""Layout of the tables. Raised when a column changes its meaning or type; a new nullable column does not raise it."""
_METADATA = {b"schema_version": SCHEMA_VERSION.encode(), b"metrics_version": str(METRICS_VERSION).encode()}
_TIME = pa.timestamp("us", tz="UTC")
_METRICS = [("metrics_version", pa.int32()), *((name, pa.float64()) for name in REPORTED_METRICS)]


_SECTIONS = tuple(f"{section}_" for section in (*SECTIONS, "teachers"))
"""What the columns of searched fields begin with. No extra metric's does."""
SOURCE = "_source"
"""What the columns of plug-ins' versions end with. No parameter's name does."""


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields], metadata=_METADATA)


EPOCHS = _schema(
    ("study", pa.string()),
    ("trial_id", pa.string()),
    ("epoch", pa.int32()),
    ("augmentation_strength", pa.float64()),
    ("ensemble_size", pa.int32()),
    ("seed", pa.int64()),
    *_METRICS,
    *((name, pa.list_(pa.field("element", pa.float64()))) for name in LIST_METRICS),
    ("learning_rate", pa.float64()),
    ("epoch_s", pa.float64()),
    ("train_images_per_s", pa.float64()),
    ("finished_at", _TIME),
    ("host", pa.string()),
    ("pid", pa.int64()),
    ("attempt", pa.int32()),
)
"""One row per (trial_id, epoch): every epoch 1…last of a trial, none twice."""

TRIALS = _schema(
    ("study", pa.string()),
    ("trial_id", pa.string()),
    ("status", pa.string()),
    ("augmentation_strength", pa.float64()),
    ("ensemble_size", pa.int32()),
    ("seed", pa.int64()),
    ("student", pa.string()),
    ("teacher", pa.string()),
    ("config", pa.string()),
    ("num_epochs", pa.int32()),
    ("last_epoch", pa.int32()),
    *_METRICS,
    ("best_epoch", pa.int32()),
    ("objective", pa.float64()),
    ("best_objective", pa.float64()),
    ("rung", pa.int32()),
    ("suggestion", pa.int32()),
    ("generation", pa.int32()),
    ("attempts", pa.int32()),
    ("error", pa.string()),
    ("traceback", pa.string()),
    ("started_at", _TIME),
    ("finished_at", _TIME),
    ("train_s", pa.float64()),
    ("host", pa.string()),
)
"""One row per trial; metrics are those of its last epoch. A study adds one column per further searched field."""

TEACHERS = _schema(
    ("study", pa.string()),
    ("teacher_id", pa.string()),
    ("model", pa.string()),
    ("augmentation_strength", pa.float64()),
    ("seed", pa.int64()),
    ("member", pa.int32()),
    ("control", pa.string()),
    ("epochs", pa.int32()),
    ("val_accuracy", pa.float64()),
    ("train_accuracy", pa.float64()),
    ("num_parameters", pa.int64()),
    ("train_s", pa.float64()),
    ("finished_at", _TIME),
    ("host", pa.string()),
    ("pid", pa.int64()),
)
"""One row per teacher that the study uses."""

STUDIES = _schema(
    ("study", pa.string()),
    ("created_at", _TIME),
    ("updated_at", _TIME),
    ("sampler", pa.string()),
    ("scheduler", pa.string()),
    ("objectives", pa.string()),
    ("spec", pa.string()),
    ("num_planned", pa.int64()),
    ("seeds_judged", pa.string()),
    ("kd_sweep_version", pa.string()),
    ("status", pa.string()),
)
"""One row per study. `objectives` is a JSON list of {metric, mode}; `spec` is the frozen YAML."""

NOTES = _schema(
    ("study", pa.string()),
    ("trial_id", pa.string()),
    ("note_id", pa.string()),
    ("text", pa.string()),
    ("tags", pa.list_(pa.field("element", pa.string()))),
    ("written_at", _TIME),
    ("author", pa.string()),
)
"""One row per note (`tables.notes`); `trial_id` is null where it is about the study."""

TABLES: dict[str, pa.Schema] = {
    "studies": STUDIES,
    "trials": TRIALS,
    "epochs": EPOCHS,
    "teachers": TEACHERS,
    "notes": NOTES,
}
"""Every table that SQL sees, by name."""

EPOCHS_FOLDER = "epochs"
TABLE_FILES = {
    "studies": "study/study.parquet",
    "trials": "trials/trials.parquet",
    "teachers": "teachers/teachers.parquet",
}
"""One file per study each: its name in the study's folder, without the term (`tables.current_files`)."""
LARGE_COLUMNS = ("config",)
"""Of `trials`: more than half of the memory of a table, and few look at it."""
TRIALS_COPY = "copies/trials.parquet"
"""The trials once more. Nothing else holds what an adaptive sampler has suggested: checkpoints may be deleted."""

STATUSES = ("pending", "running", "completed", "stopped", "failed", "preempted", "lost", "interrupted")
"""What a trial can be. `stopped`: by the scheduler, at `rung`. `failed`: it raised. `preempted`: its worker or node was
told to end. `lost`: they ended without notice, or out of memory. `interrupted`: its driver ended before it.
`preempted` and `lost` trials go on by themselves, unless that happens too often in a row."""
FINISHED = ("completed", "stopped")
"""Statuses whose metrics count as results. A trial in one of them is never run again."""
ENDED = (*FINISHED, "failed", "lost", "preempted")
"""Statuses of trials that nobody waits for."""


def column_name(field: str) -> str:
    """Return the trials column of a searched field: its dotted name with underscores."""
    return field.replace(".", "_")


def added_type(values: Iterable[object]) -> pa.DataType:
    """Return the narrowest of bool, int64, float64 and string for these values; nulls fit in each, alone in string."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.string()


def as_text(value: object) -> str | None:
    """Return a searched value as a string column holds it: strings as they are, others as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, default=str)


def added_columns(schema: pa.Schema, base: pa.Schema = TRIALS) -> list[str]:
    """Return the names of the columns that a study added, in order."""
    known = set(base.names)  # Arrow makes the list anew each time
    return [name for name in schema.names if name not in known]


def is_of_searched_field(column: str) -> bool:
    """Whether a column that a study added is that of a searched field; others are of plug-ins' sources and metrics."""
    return column.startswith(_SECTIONS) and not column.endswith(SOURCE)


def searched_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that a study added to its trials for searched fields, in order."""
    return [name for name in added_columns(schema) if is_of_searched_field(name)]


def source_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns with the versions of plug-ins' entries, in order."""
    return [name for name in added_columns(schema) if name.startswith(_SECTIONS) and name.endswith(SOURCE)]


def extra_metric_columns(schema: pa.Schema, base: pa.Schema = TRIALS) -> list[str]:
    """Return the metrics in a table of trials or epochs that studies added, or that later versions have, in order."""
    known = set(base.names)
    return [field.name for field in schema if field.type == pa.float64() and _is_of_extra_metric(field.name, known)]


def extra_metrics_of(row: Mapping[str, object]) -> list[str]:
    """Return the columns of a row of trials that have the value of such a metric, in order."""
    known = set(TRIALS.names)
    return [name for name, value in row.items() if isinstance(value, float) and _is_of_extra_metric(name, known)]


def _is_of_extra_metric(column: str, known: Set[str]) -> bool:
    return column not in known and not column.startswith(_SECTIONS)


def metric_columns(schema: pa.Schema) -> list[str]:
    """Return all metrics in a table of trials: those that every trial reports, then the extra ones."""
    return [*REPORTED_METRICS, *extra_metric_columns(schema)]


def with_metrics(schema: pa.Schema, extra: Iterable[str]) -> pa.Schema:
    """Return the schema with columns for extra metrics."""
    return pa.schema([*schema, *(pa.field(name, pa.float64()) for name in extra)], metadata=schema.metadata)


def unified(base: pa.Schema, others: Iterable[pa.Schema]) -> pa.Schema:
    """Return ``base`` with every column that the others add, each of a type that holds all their values."""
    known = set(base.names)
    kinds: dict[str, pa.DataType] = {}
    for schema in others:
        for field in schema:
            if field.name not in known:
                kinds[field.name] = common_type(kinds.get(field.name), field.type)
    return pa.schema([*base, *(pa.field(name, kind) for name, kind in kinds.items())], metadata=base.metadata)


def common_type(known: pa.DataType | None, kind: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of both: the same, float64 for numbers, else string."""
    if known is None or known == kind or pa.types.is_null(known):
        return kind
    numbers = {pa.int64(), pa.float64()}
    return pa.float64() if {known, kind} <= numbers else pa.string()


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with exactly the schema's columns: missing ones are null, others are cast or left out."""
    columns, names = [], set(table.column_names)
    for field in schema:
        if field.name not in names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif (column := table.column(field.name)).type == field.type:
            columns.append(column)  # a cast to the same type is a copy
        else:
            columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def check_version(schema: pa.Schema, file: str) -> None:
    """Raise `StorageError` where a file was written by a newer layout than this one."""
    version = (schema.metadata or {}).get(b"schema_version", b"").decode() or "0"
    if not version.isdigit() or int(version) > int(SCHEMA_VERSION):
        raise StorageError(
            f"schema_version: {version!r} is newer than {SCHEMA_VERSION}, the newest that this kd_sweep reads ({file})"
        )
