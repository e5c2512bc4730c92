"""The epochs of one or several studies as an Arrow dataset: a view of the parts that counted at one moment."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from kd_sweep.errors import StorageError
from kd_sweep.storage.parquet_checksums import check_footer, damage_named
from kd_sweep.storage.root import Root
from kd_sweep.tables.epoch_parts import Part, list_parts, read_part
from kd_sweep.tables.schema import EPOCHS, EPOCHS_FOLDER, check_version, unified

_OPENINGS = 20
_BATCHES_AHEAD, _FILES_AHEAD = 2, 1
_KEYS = ("trial_id", "epoch")
_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=True)
)


class _Parts(ds.FileSystemDataset):  # type: ignore[misc]
    """Parts of which little is read ahead: Arrow's own 16 batches of four files can be a whole study."""

    def scanner(self, **given: Any) -> ds.Scanner:
        """Return a scan; DuckDB asks for it, too."""
        return super().scanner(**{"batch_readahead": _BATCHES_AHEAD, "fragment_readahead": _FILES_AHEAD, **given})


class Snapshot(NamedTuple):
    """The epochs as they were at one moment."""

    dataset: ds.Dataset
    parts: list[tuple[Root, Part]]

    def is_current(self) -> bool:
        """Whether every file of it is still there."""
        return all(root.exists(part.path) for root, part in self.parts)

    def batches(self, num_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield all rows, so many at a time, of which one group of a file is held: all columns of it are 30 MB."""
        for fragment in self.dataset.get_fragments():
            for group in fragment.split_by_row_group():
                yield from group.to_table(schema=self.dataset.schema).to_batches(num_rows)

    def of_trials(self, trial_ids: Collection[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of some trials, by trial and epoch.

        Only the groups of rows that hold one are read whole, of the others at most the ids: of a study of millions of
        epochs that takes a tenth of the time and memory of a scan of all its columns.

        Args:
            trial_ids: of the trials.
            columns: that are wanted, besides `trial_id` and `epoch`; all when None.

        Raises:
            CorruptFileError: a part is damaged.
        """
        wanted = ds.field("trial_id").isin(pa.array(list(trial_ids), pa.string()))
        try:
            holding = [
                group
                for fragment in self.dataset.get_fragments()
                for group in fragment.split_by_row_group(wanted)
                if group.count_rows(filter=wanted)
            ]
            shown = self.dataset.schema.names if columns is None else list(dict.fromkeys((*_KEYS, *columns)))
            rows = _Parts(holding, self.dataset.schema, _FORMAT).scanner(columns=shown, filter=wanted).to_table()
        except (pa.ArrowException, OSError):
            self.check()
            raise
        return rows.sort_by([("trial_id", "ascending"), ("epoch", "ascending")])

    def num_values(self, columns: Sequence[str]) -> dict[str, int]:
        """Return how many rows have a value of each of these columns, none of which is a list.

        The files say so themselves, for each group of rows: of millions of epochs none is read.

        Raises:
            CorruptFileError: a part is damaged.
        """
        found = dict.fromkeys(columns, 0)
        for fragment in self.dataset.get_fragments():
            about = fragment.metadata
            held = {about.schema.column(index).path: index for index in range(about.num_columns)}
            places = {name: held[name] for name in columns if name in held}
            for group in map(about.row_group, range(about.num_row_groups)):
                for name, place in places.items():
                    found[name] += group.column(place).statistics.num_values
        return found

    def check(self) -> None:
        """Read everything; `CorruptFileError` names the first damaged file, `StorageError` one that cannot be read."""
        for root, part in self.parts:
            read_part(root, part)


def snapshot(roots: Sequence[Root]) -> Snapshot:
    """Open the epochs of the studies in ``roots``. Files are held open: a local one can be merged away meanwhile.

    Raises:
        CorruptFileError: a part is damaged.
        StorageError: one cannot be read, a newer kd_sweep wrote it, or the parts change faster than they can be opened.
    """
    for _ in range(_OPENINGS):
        parts = [(root, part) for root in roots for part in list_parts(root)]
        try:
            fragments = [_fragment(root, part) for root, part in parts]
        except FileNotFoundError:
            continue
        schema = unified(EPOCHS, [fragment.physical_schema for fragment in fragments])
        return Snapshot(_Parts(fragments, schema, _FORMAT), parts)
    raise StorageError(f"{roots[0].location_of(EPOCHS_FOLDER)}: parts are replaced faster than they can be opened")


def _fragment(root: Root, part: Part) -> ds.Fragment:
    location = root.location_of(part.path)
    source = root.open_input(part.path)
    with damage_named(location):
        check_footer(source, location)
        fragment = _FORMAT.make_fragment(source)
        check_version(fragment.physical_schema, location)
    return fragment
