"""The results of a study as a notebook holds them: its spec, its tables, its trials by id."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kd_sweep.data.paths import absolute_path
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import QueryError
from kd_sweep.handles.study_plots import StudyPlots
from kd_sweep.handles.trial_results import TrialResults
from kd_sweep.storage.root import Root
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.comparison import StudyComparison, compare_studies
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.statement_limits import Limits
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.html_tables import html_blocks, html_facts, html_table
from kd_sweep.tables.rendering.study_overview import overview
from kd_sweep.tables.trial_lookup import StoredTrial, find_trials

if TYPE_CHECKING:
    from kd_sweep.export.request import Written

_SHOWN_TRIALS = 5
"""Of the leaderboard, in a notebook."""


class StudyResults(Results):
    """One study. The methods of `Results` ask its tables alone: ``study.table("epochs")``, ``study.sql("SELECT …")``.

    Each call reads what is on disk then, so a running sweep's rows appear. To be had of `open_results`.
    """

    def __init__(
        self, root: Root, limits: Limits | None = None, data_location: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(root, limits)
        self._data_location = data_location or {}

    @cached_property
    def name(self) -> str:
        """The study's name."""
        return self.studies()[0]

    @property
    def spec(self) -> StudySpec:
        """The study as it was launched, with every default.

        Raises:
            StorageError: it is damaged, both in the table and in `study.yaml`.
        """
        return StudyFolder.at(self.root).spec()

    def trials(self, status: str | None = None) -> list[TrialResults]:
        """Return the study's trials in the order in which they began; ``table("trials")`` has them as a table.

        Args:
            status: of those that are wanted, `completed` for example; all when None.

        Raises:
            CorruptFileError: the table is damaged.
        """
        rows = self.table("trials").to_pylist()
        return [self._handle(row) for row in rows if status in (None, row["status"])]

    def trial(self, trial_id: str) -> TrialResults:
        """Return a trial by its id, or by a prefix of it that no other trial of the study has.

        Raises:
            QueryError: no trial has such an id, or several ids begin so. One line.
        """
        return TrialResults(replace(find_trials(self, [trial_id])[0], data_location=self._data_location))

    def best_trial(self) -> TrialResults:
        """Return the first trial of the leaderboard: the best last value of the study's first objective.

        Raises:
            QueryError: no trial has a value yet.
        """
        leaders = answer(self, "leaderboard").slice(0, 1).to_pylist()
        if not leaders:
            raise QueryError(f"study: no trial of {self.name} has a value of its objective yet; see .status()")
        return self.trial(leaders[0]["trial_id"])

    def view(self, name: str, **parameters: Any) -> pa.Table:
        """Return the answer to a named query of docs/queries.md, of this study alone.

        Args:
            name: `bands`, `summary` or another.
            parameters: those of the query; the others have their defaults.

        Raises:
            QueryError: an unknown name, or a parameter that is unknown, missing or wrong. One line.
        """
        return answer(self, name, parameters)

    @property
    def plot(self) -> StudyPlots:
        """The study's figures: ``study.plot.dose_response()``; docs/figures.md has their names. Needs matplotlib."""
        return StudyPlots(self)

    def report(
        self,
        out: str | Path,
        *,
        format: str | None = None,
        beside: Sequence["StudyResults"] = (),
        galleries: bool = False,
    ) -> Path:
        """Write the study's report, one file, over an earlier one of this study; docs/report.md has its parts.

        Args:
            out: the file.
            format: ``html``, ``md``, ``latex`` or ``pdf``; by the ending of ``out`` when None, else HTML.
            beside: other studies, to stand side by side with this one.
            galleries: with sheets of attention and augmentations, from networks and images of the root: HTML, PDF.

        Raises:
            QueryError: there is no such format, or none with galleries, or a study is named twice. One line.
            StorageError: its folder is missing or cannot be written, or something else is at that path. One line.
            UserError: matplotlib or Jinja2 is not installed. One line.
        """
        from kd_sweep.figures.report.report_file import write_report  # analyses, which most readers do not need

        return write_report([self, *beside], out, format, galleries=galleries)

    def with_data(self, path: str, train_list: str | None = None, val_list: str | None = None) -> "StudyResults":
        """Return the study with its images elsewhere than at its launch, as on another machine.

        They have to be the same images, which is checked when they are read.

        Args:
            path: as `data.path` in a study file.
            train_list: as `data.train_list`; as at the launch when None.
            val_list: as `data.val_list`; as at the launch when None.

        Raises:
            DataError: no file can have such a path.
        """
        given = {"path": path, "train_list": train_list, "val_list": val_list}
        location = {
            name: str(absolute_path(value, f"data.{name}")) for name, value in given.items() if value is not None
        }
        return StudyResults(self.root, self.limits, location)

    def export(
        self,
        to: str,
        out: str | Path,
        *,
        trial: str | None = None,
        network: str = "student",
        follow: bool = False,
        metrics: str | Sequence[str] | None = None,
    ) -> "Written":
        """Write the study, or a network of one of its trials, as the files of another tool; docs/exports.md has them.

        Done again it changes nothing, or adds what has finished since.

        Args:
            to: `optuna`, `onnx` or another.
            out: the path of the file or folder.
            trial: of an export of a network: its id, a beginning of it, or `best`.
            network: `student`, or `teacher-1` and so on.
            follow: go on, adding trials as they finish, and return when the study is finished.
            metrics: of TensorBoard, MLflow and W&B, those of which every epoch is exported, or `all`; when None those
                that an earlier export at ``out`` has already, and of a new one those that people look at first.

        Returns:
            Whether anything was ``changed``, and ``what`` is there now.

        Raises:
            UserError: before anything is written: as `kd_sweep.export.targets.checked_request`. One line.
            KdSweepError: what was to be written does not compute what the network does.
        """
        from kd_sweep.export.following import follow as keep_up  # all targets, which most readers do not need
        from kd_sweep.export.targets import checked_request, export_request

        location = self._data_location
        request = checked_request(
            self, self.name, to, str(out), trial=trial, network=network, location=location, metrics=metrics
        )
        return keep_up(request) if follow else export_request(request)

    def compare(self, other: Results) -> StudyComparison:
        """Return how another study differs from this one, which is the first: settings, metrics, trials of one alone.

        Args:
            other: of this root or another.

        Raises:
            StorageError: the frozen study of one is missing or damaged in its table.
            CorruptFileError: a table is damaged.
        """
        return compare_studies(self, other)

    def __iter__(self) -> Iterator[TrialResults]:
        """Yield the trials, as `trials` returns them."""
        return iter(self.trials())

    def __len__(self) -> int:
        """Return how many trials there are."""
        return int(self.table("trials").num_rows)

    def __repr__(self) -> str:
        status = self.status()[0]
        done = f"{status['num_completed'] + status['num_stopped']} of {status['num_planned'] or len(self)}"
        return f"<study {self.name} in {self.root}: {status['status']}, {done} trials done>"

    def _repr_html_(self) -> str:
        facts = overview(self.status()).to_pylist()[0]
        leaders = answer(self, "leaderboard").slice(0, _SHOWN_TRIALS)
        return html_blocks(
            f"study {facts.pop('study')} in {self.root}", html_facts(facts), html_table(leaders, "best trials")
        )

    def _handle(self, row: dict[str, object]) -> TrialResults:
        return TrialResults(StoredTrial(self.root.parent()[0], self.root, row, self._data_location))
