"""The results of a root as a notebook holds them: its studies by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from kd_sweep.handles.study_results import StudyResults
from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.statement_limits import Limits
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.html_tables import html_blocks, html_table
from kd_sweep.tables.rendering.study_overview import overview


def open_results(root: "str | Path | Root", limits: Limits | None = None) -> "RootResults":
    """Open a results root, or one study in it, for reading. Nothing is written, and torch is not loaded.

    Args:
        root: a folder, or a URI such as ``s3://bucket/prefix``.
        limits: of time and memory for each SQL statement; those of `Limits` when None.

    Raises:
        StorageError: there is no such folder, no study in it, or one study twice. One line.
    """
    return RootResults(Root.named(root), limits)


class RootResults(Results):
    """Every study under a root, by its name: ``results["digits"]``. The methods of `Results` ask all studies at once.

    Each call reads what is on disk then, so a running sweep's rows appear.
    """

    def __getitem__(self, study: str) -> StudyResults:
        """Return the results of a study; `QueryError` with the possible names where there is none of this name."""
        return StudyResults(self.select(study)[study], self.limits)

    def view(self, name: str, **parameters: Any) -> pa.Table:
        """Return the answer to a named query of docs/queries.md, of all studies; as `StudyResults.view`."""
        return answer(self, name, parameters)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the studies, sorted."""
        return iter(self.studies())

    def __len__(self) -> int:
        """Return how many studies there are."""
        return len(self.studies())

    def __contains__(self, study: object) -> bool:
        """Whether there is a study of this name."""
        return study in self.studies()

    def _ipython_key_completions_(self) -> list[str]:
        return self.studies()

    def __repr__(self) -> str:
        return f"<results in {self.root}: {', '.join(self.studies())}>"

    def _repr_html_(self) -> str:
        return html_blocks(f"results in {self.root}", html_table(overview(self.status())))
