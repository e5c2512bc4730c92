"""The instances of DuckDB that statements run in: one statement at a time in each, and kept for the next one.

Making an instance takes 20 ms of CPU, which is more than most statements.
"""

import os
import threading

import duckdb

_SETTINGS = (
    "SET GLOBAL TimeZone='UTC'",
    "SET GLOBAL python_enable_replacements=false",
    "SET temp_directory=''",  # what does not fit into memory is refused: a query takes no disk from a running sweep
    "SET allocator_flush_threshold='1MB'",  # what a statement has had goes back behind it, not 0.1 GB later
    "SET allocator_bulk_deallocation_flush_threshold='1MB'",
    "SET enable_external_access=false",
)
_MOST_KEPT = 4

_Key = tuple[int, int, int]


class Instances:
    """Instances that can neither write nor reach files or the network, and whose settings are locked."""

    def __init__(self) -> None:
        self._kept: list[tuple[_Key, duckdb.DuckDBPyConnection]] = []
        self._lock = threading.Lock()

    def take(self, memory_bytes: int, threads: int) -> "Instance":
        """Return an instance that nobody else uses until it is given back.

        Args:
            memory_bytes: that a statement may take in it.
            threads: that it may run on.
        """
        key = (os.getpid(), memory_bytes, threads)  # one of the parent's has no threads in a forked process
        with self._lock:
            place = next((place for place, (kept, _) in enumerate(self._kept) if kept == key), None)
            if place is not None:
                return Instance(self, key, self._kept.pop(place)[1])
        made = duckdb.connect()
        for setting in (*_SETTINGS, f"SET memory_limit='{memory_bytes}B'", f"SET threads={threads}"):
            made.execute(setting)
        made.execute("SET lock_configuration=true")
        return Instance(self, key, made)

    def keep(self, key: _Key, made: duckdb.DuckDBPyConnection) -> None:
        """Keep an instance, and close the one that was kept first where there are too many."""
        with self._lock:
            self._kept.append((key, made))
            oldest = self._kept.pop(0)[1] if len(self._kept) > _MOST_KEPT else None
        if oldest is not None:
            oldest.close()


class Instance:
    """An instance in use, with a connection that no other statement has."""

    def __init__(self, instances: Instances, key: _Key, made: duckdb.DuckDBPyConnection) -> None:
        self._instances, self._key, self._made = instances, key, made
        self.connection = made.cursor()
        """Nothing that is registered here, and no state of a session, is seen by later ones."""

    def give_back(self, *, is_kept: bool) -> None:
        """Close the connection; keep the instance, or close it too, as where a statement did not end well."""
        self.connection.close()
        if is_kept:
            self._instances.keep(self._key, self._made)
        else:
            self._made.close()


INSTANCES = Instances()
"""Those of this process."""
