"""What a report of one study says, from the tables alone: the same rows give the same content."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.wording import listed
from kd_sweep.errors import QueryError, StorageError
from kd_sweep.figures.plots.axis_words import in_a_sentence
from kd_sweep.figures.plots.drawn_figures import read_figure
from kd_sweep.figures.plots.figure_kind import Drawing
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.report.findings import Findings, findings
from kd_sweep.figures.report.limits import limits
from kd_sweep.figures.report.paper_recipe import PaperComparison, beside_the_paper
from kd_sweep.figures.report.recipe_words import dimension_words, recipe_words
from kd_sweep.figures.report.reproduction import Reproduction, reproduction
from kd_sweep.figures.report.run_facts import cost, failures, notes, run_facts, standing, trials_by_status
from kd_sweep.figures.report.setting_means import setting_means
from kd_sweep.figures.report.shown_tables import ShownTable, shown_table
from kd_sweep.study.file.frozen import FrozenStudy, parse_frozen
from kd_sweep.study.space.repeats import seeds_in_words
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.setting_columns import searched_fields
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import column_name

_MOST_ROWS = 50
"""Of the data of a figure; `kd-sweep plot` writes all of them."""


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its caption, and the rows that it draws."""

    name: str
    title: str
    file: str
    """Where the format of a report that is text expects its picture, without the ending."""
    drawing: Drawing
    caption: str
    tables: Sequence[ShownTable]


@dataclass(frozen=True)
class ReportContent:
    """All that a report says, in no format yet."""

    name: str
    """Of the study."""
    digest: str
    """Of its tables, by which a stale report is known."""
    question: str
    standing: str
    """How many trials are done."""
    best: str
    found: Findings
    means: ShownTable | None
    """Outcomes by setting, with intervals."""
    figures: Sequence[ReportFigure]
    recipe: Sequence[tuple[str, str]]
    paper: PaperComparison | None
    """What the recipe has otherwise than the paper's; None where the recipe is not known."""
    searched: ShownTable
    facts: Sequence[tuple[str, str]]
    cost: ShownTable
    statuses: ShownTable
    failures: ShownTable | None
    notes: ShownTable | None
    limits: Sequence[str]
    again: Reproduction


def read_content(results: Results, digest: str, *, with_galleries: bool = False) -> ReportContent:
    """Return what the report of the one study in ``results`` says.

    Args:
        results: its tables.
        digest: of the tables, that tells whether the report is stale.
        with_galleries: with sheets of attention and of augmentations, from networks and images of the root.

    Raises:
        CorruptFileError: a table is damaged.
    """
    results = results.held()
    (name,) = results.studies()
    study: dict[str, Any] = next(iter(results.table("studies").to_pylist()), {})
    frozen = _frozen(study)
    figures, missing = _figures(results, name)
    if with_galleries:
        sheets, absent = _galleries(results, frozen)
        figures, missing = [*figures, *sheets], [*missing, *absent]
    found = findings(results)
    return ReportContent(
        name=name,
        digest=digest,
        question=_question(results),
        standing=standing(results, study),
        best=_best(results),
        found=found,
        means=setting_means(results),
        figures=figures,
        recipe=[] if frozen is None else recipe_words(frozen.spec),
        paper=None if frozen is None else beside_the_paper(frozen.spec),
        searched=_searched(results, frozen),
        facts=run_facts(results, study),
        cost=cost(results, frozen),
        statuses=trials_by_status(results),
        failures=failures(results),
        notes=notes(results),
        limits=limits(results, frozen, found, missing),
        again=reproduction(results, name, frozen, digest),
    )


def _frozen(study: dict[str, Any]) -> FrozenStudy | None:
    try:
        return parse_frozen(study.get("spec") or "", "the table of studies")
    except StorageError:
        return None


def _figures(results: Results, study: str) -> tuple[list[ReportFigure], list[str]]:
    """Return the figures that the study has, and of each other one why not."""
    drawn, missing = [], []
    for kind in FIGURES.values():
        try:
            drawing = read_figure(results, kind)
        except QueryError as error:
            missing.append(str(error))
            continue
        more = f"kd-sweep plot ROOT {study} {kind.name} --out DIR writes all as CSV"
        tables = [
            shown_table(table, f"What is drawn: {suffix or kind.title}", None, _MOST_ROWS, more)
            for suffix, table in drawing.tables.items()
        ]
        drawn.append(
            ReportFigure(
                kind.name, kind.title, f"figures/{study}/{kind.name}", drawing, " ".join(drawing.caption), tables
            )
        )
    return drawn, missing


def _galleries(results: Results, frozen: FrozenStudy | None) -> tuple[list[ReportFigure], list[str]]:
    from kd_sweep.figures.report.galleries import galleries  # with torch, which no other part of a report needs

    drawn, missing = galleries(results, frozen)
    figures = [
        ReportFigure(name, title, "", drawing, " ".join(drawing.caption), [])
        for name, (title, drawing) in drawn.items()
    ]
    return figures, missing


def _question(results: Results) -> str:
    """Return what the study asks, in one sentence."""
    trials = results.table("trials")
    fields = [name for name in searched_fields(results) if len(pc.unique(trials[name])) > 1]
    varied = ["the number of teachers" if name == "ensemble_size" else in_a_sentence(name) for name in fields]
    objectives = [in_a_sentence(one["metric"]) for each in results.objectives().values() for one in each]
    outcomes = listed(objectives)
    if not varied:
        return f"Which {outcomes} does one setting have?"
    return f"How {'do' if len(varied) > 1 else 'does'} {listed(varied)} change {outcomes}?"


def _best(results: Results) -> str:
    """Return which trial leads, in one sentence; nothing where no trial has a value."""
    leaders = answer(results, "leaderboard").slice(0, 1).to_pylist()
    if not leaders or leaders[0]["objective"] is None:
        return ""
    row = leaders[0]
    fields = [*searched_fields(results), "seed"]
    setting = ", ".join(f"{in_a_sentence(name)} {_plain(row[name])}" for name in fields if row.get(name) is not None)
    value = f"{in_a_sentence(row['objective_metric'])} {row['objective']:.4f}"
    return f"Best trial by {value}: {row['trial_id']} ({setting})."


def _searched(results: Results, frozen: FrozenStudy | None) -> ShownTable:
    """Return what varies: what the study file asks for, and how many values the trials have."""
    trials = results.table("trials")
    columns = [*searched_fields(results), "seed"]
    asked = {}
    if frozen is not None:
        asked = {column_name(key): dimension_words(one) for key, one in frozen.spec.search.items()}
        asked |= {"seed": seeds} if (seeds := seeds_in_words(frozen.spec)) else {}
    rows = [
        {
            "field": name,
            "values asked for": asked.get(name),
            "values of trials": len(pc.unique(trials[name].drop_null())) if name in trials.column_names else None,
        }
        for name in dict.fromkeys([*columns, *asked])
    ]
    schema = pa.schema([("field", pa.string()), ("values asked for", pa.string()), ("values of trials", pa.int64())])
    return shown_table(pa.Table.from_pylist(rows, schema), "What varies")


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
