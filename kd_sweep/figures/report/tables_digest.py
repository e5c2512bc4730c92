"""A digest of all that a report is made of: by it a stale one is known."""

import hashlib

import pyarrow as pa

from kd_sweep.tables.epoch_parts import list_parts
from kd_sweep.tables.reader import Results

_WHEN_WRITTEN = "updated_at"
"""Changes with each launch, also with one that has nothing left to run; the report does not show it."""


def tables_digest(results: Results) -> str:
    """Return the SHA-256 of the tables of the one study in ``results``, in hexadecimal.

    It is that of the rows, and of the files for the epochs: where a root lies and who wrote it does not count.
    """
    digest = hashlib.sha256()
    for name in ("studies", "trials", "teachers", "notes"):
        table = results.table(name)
        kept = table.drop_columns([_WHEN_WRITTEN]) if _WHEN_WRITTEN in table.column_names else table
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, kept.schema) as stream:
            stream.write_table(kept.combine_chunks())
        digest.update(hashlib.sha256(sink.getvalue()).digest())
    ((_, root),) = results.select().items()
    for part in sorted(hashlib.sha256(root.read_bytes(part.path)).digest() for part in list_parts(root)):
        digest.update(part)
    return digest.hexdigest()
