"""MLflow's tables in a new store, made once: MLflow itself goes through all the versions that it has had for each."""

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

INITIALIZE = "mlflow.store.db.utils._initialize_tables"
"""What MLflow calls where a store has no tables."""
_FILE = "tables.db"


def make_tables(folder: Path) -> None:
    """Let MLflow make its tables in a file of this folder."""
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    logging.disable(logging.WARNING)
    engine = create_engine(f"sqlite:///{folder / _FILE}")
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()
        logging.disable(logging.NOTSET)


def copied_from(folder: Path) -> Callable[["Engine"], None]:
    """Return what does in a new store as `INITIALIZE` does, by a copy of those tables."""

    def copy(engine: "Engine") -> None:
        with contextlib.closing(sqlite3.connect(folder / _FILE)) as made, engine.connect() as connection:
            made.backup(connection.connection.driver_connection)

    return copy
