"""The epochs table as a folder of immutable Parquet parts, merged in tiers.

Every flush has a sequence number. The part ``00000009-00000016-00000003.parquet`` holds what flushes 9 to 16 wrote, and
is a file of the writer whose term is 3. A merged part appears before the parts in it are deleted, a part whose range
lies inside another's does not count, nor does one of another term than the tables' (`tables.current_files`): at every
moment, and after a crash at any moment, the parts that count hold each row once.
"""

import itertools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kd_sweep.storage.parquet_checksums import UNSEALED, check_whole, damage_named, seal
from kd_sweep.storage.root import Root
from kd_sweep.tables.current_files import current_term
from kd_sweep.tables.schema import EPOCHS, EPOCHS_FOLDER, check_version, conformed, unified

FAN_IN = 8
"""How many parts of one tier are merged."""
MAX_MERGED_ROWS = 250_000
"""Parts are not merged beyond this: it bounds the memory and the time of a merge."""
ROWS_PER_GROUP = 32_768
"""A filter on one trial decodes one group of every merged part; smaller groups slow wide scans and enlarge files."""

# Dictionaries suit accuracies (few values) and not losses: a small limit makes the writer give up on the latter soon.
_ENCODING = {"compression": "zstd", "write_page_checksum": True, "dictionary_pagesize_limit": 128 * 1024}
_NAME = re.compile(r"^(\d{8,})-(\d{8,})-(\d{8,})\.parquet$")
_TEXT_COLUMNS = [field.name for field in EPOCHS if field.type == pa.string()]
_LISTINGS = 50


class Part(NamedTuple):
    """A range of flushes, first and last included, in a file of one term."""

    first: int
    last: int
    term: int

    @property
    def name(self) -> str:
        """File name in the epochs folder; names sort as the flushes do."""
        return f"{self.first:08d}-{self.last:08d}-{self.term:08d}.parquet"

    @property
    def path(self) -> str:
        """Path below the study's folder."""
        return f"{EPOCHS_FOLDER}/{self.name}"

    @property
    def tier(self) -> int:
        """How often a flush in it was merged, if every merge took `FAN_IN` parts."""
        span, tier = self.last - self.first + 1, 0
        while span >= FAN_IN:
            span, tier = span // FAN_IN, tier + 1
        return tier


def parts_among(names: Iterable[str]) -> set[Part]:
    """Return the parts among file names, whatever their term. Other names are ignored."""
    return {Part(int(match[1]), int(match[2]), int(match[3])) for name in names if (match := _NAME.match(name))}


def counted(names: Iterable[str], term: int | None) -> list[Part]:
    """Return the parts that count among file names, in order: those of this term that lie in no other part of it."""
    candidates = [part for part in parts_among(names) if part.term == term]
    kept: list[Part] = []
    for part in sorted(candidates, key=lambda part: (part.first, -part.last)):
        if not kept or part.last > kept[-1].last:
            kept.append(part)
    return kept


def superseded(names: Iterable[str], term: int | None) -> list[str]:
    """Return the file names of parts of this term that lie in another part of it."""
    candidates = [part for part in parts_among(names) if part.term == term]
    kept = counted(names, term)
    return sorted(part.name for part in candidates if part not in kept)


def has_gap(parts: Sequence[Part]) -> bool:
    """Whether a flush between the first and the last is in no part."""
    return any(after.first != before.last + 1 for before, after in itertools.pairwise(parts))


def list_parts(root: Root, term: int | None = None) -> list[Part]:
    """Return the parts that count, or would in this term, as they were at one moment, while a writer may merge them.

    A folder's listing is no snapshot: it can miss both a part deleted while it ran and the merged part made while it
    ran. Two equal listings in a row saw everything; where flushes are still missing (a damaged part was set aside) a
    third must agree.
    """
    previous: list[Part] | None = None
    agreements = 0
    for _ in range(_LISTINGS):
        names = root.files(EPOCHS_FOLDER)
        parts = counted(names, current_term(root) if term is None else term)
        agreements = agreements + 1 if parts == previous else 0
        if agreements >= (2 if has_gap(parts) else 1):
            break
        if agreements:
            time.sleep(0.01)
        previous = parts
    return parts


def read_part(root: Root, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a part's rows, or those of these columns that it has, text as dictionaries; every byte is checked.

    Raises:
        CorruptFileError: a byte of it is not what was written.
        StorageError: it cannot be read, or a newer kd_sweep wrote it.
        FileNotFoundError: it has been merged and deleted meanwhile.
    """
    location = root.location_of(part.path)
    with root.open_input(part.path) as source, damage_named(location):
        is_whole = check_whole(source, location)
        metadata = pq.read_metadata(source)
        text = [name for name in _TEXT_COLUMNS if name in metadata.schema.names]
        file = pq.ParquetFile(source, metadata=metadata, read_dictionary=text, page_checksum_verification=True)
        check_version(file.schema_arrow, location)
        table = file.read(columns=columns if is_whole else None)
    return table if columns is None else table.select([name for name in columns if name in table.column_names])


def write_part(root: Root, part: Part, table: pa.Table, order: pa.Array | None = None) -> None:
    """Write a part atomically: zstd, page checksums, `ROWS_PER_GROUP` rows to a group, rows in ``order`` if given."""
    schema = unified(EPOCHS, [_plain(table.schema)])
    with root.replace(part.path) as sink:
        with pq.ParquetWriter(sink, schema, **_ENCODING) as writer:
            # Group by group: only one group at a time is copied, and leaves the compact dictionary form of its text.
            for start in range(0, table.num_rows, ROWS_PER_GROUP):
                if order is None:
                    group = table.slice(start, ROWS_PER_GROUP)
                else:
                    group = table.take(order.slice(start, ROWS_PER_GROUP))
                writer.write_table(conformed(group, schema))
            writer.add_key_value_metadata(UNSEALED)
        seal(sink)


def merge(root: Root, parts: Sequence[Part], keep: Callable[[pa.Table], pa.Table] | None = None) -> tuple[Part, int]:
    """Write adjacent parts as one that is sorted by trial and epoch; return it and its number of rows.

    Sorted, so that reading one trial touches one row group and repeated values compress. ``keep`` may drop rows. The
    parts themselves do not count any more, and are the caller's to delete; one of the same range is replaced.
    """
    merged = Part(parts[0].first, parts[-1].last, parts[0].term)
    table = pa.concat_tables([read_part(root, part) for part in parts], promote_options="default").unify_dictionaries()
    if keep is not None:
        table = keep(table)
    # Dictionaries cannot be sorted by.
    keys = pa.table({"trial_id": table["trial_id"].cast(pa.string()), "epoch": table["epoch"]})
    order = pc.sort_indices(keys, [("trial_id", "ascending"), ("epoch", "ascending")])
    write_part(root, merged, table, order)
    return merged, table.num_rows


def due_merge(parts: Sequence[Part], num_rows: Callable[[Part], int]) -> Sequence[Part]:
    """Return the adjacent parts to merge next, or none.

    The newest parts of one tier are merged once there are `FAN_IN`. Parts above half of `MAX_MERGED_ROWS` are done.
    """
    open_parts = _not_done(parts, num_rows)
    num_lower = 0
    for tier in range(max((part.tier for part in open_parts), default=-1) + 1):
        tail = _tail(open_parts, tier)
        run = tail[: len(tail) - num_lower]
        if len(run) >= FAN_IN:
            return _up_to_limit(run, num_rows)
        num_lower = len(tail)
    return ()


def closing_merge(parts: Sequence[Part], num_rows: Callable[[Part], int]) -> Sequence[Part]:
    """Return the adjacent parts to merge next when the study ends, whatever their tier, or none."""
    run = _up_to_limit(_not_done(parts, num_rows), num_rows)
    return run if len(run) > 1 else ()


def _not_done(parts: Sequence[Part], num_rows: Callable[[Part], int]) -> Sequence[Part]:
    start = len(parts)
    while start > 0 and num_rows(parts[start - 1]) <= MAX_MERGED_ROWS // 2:
        start -= 1
    return parts[start:]


def _tail(parts: Sequence[Part], tier: int) -> Sequence[Part]:
    start = len(parts)
    while start > 0 and parts[start - 1].tier <= tier:
        start -= 1
    return parts[start:]


def _up_to_limit(parts: Sequence[Part], num_rows: Callable[[Part], int]) -> Sequence[Part]:
    total = 0
    for index, part in enumerate(parts):
        total += num_rows(part)
        if total > MAX_MERGED_ROWS:
            return parts[:index]
    return parts


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field for field in schema]
    )
