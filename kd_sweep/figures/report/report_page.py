"""The report as one page of HTML, from the tables alone: the same rows give the same bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.wording import listed
from kd_sweep.errors import QueryError, StorageError, UserError
from kd_sweep.figures.plots.axis_words import in_a_sentence
from kd_sweep.figures.plots.drawn_figures import FigureOptions, require_matplotlib, svg_figure
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.report.citations import PAPER, SOFTWARE
from kd_sweep.figures.report.findings import findings
from kd_sweep.figures.report.light_svg import lighter
from kd_sweep.figures.report.limits import limits
from kd_sweep.figures.report.recipe_words import dimension_words, recipe_words
from kd_sweep.figures.report.reproduction import reproduction
from kd_sweep.figures.report.run_facts import failures, notes, run_facts, standing, trials_by_status
from kd_sweep.figures.report.shown_tables import ShownTable, shown_table
from kd_sweep.study.file.frozen import FrozenStudy, parse_frozen
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.setting_columns import searched_fields
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.value_text import escaped
from kd_sweep.tables.schema import column_name
from kd_sweep.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template

_MOST_ROWS = 50
"""Of the data of a figure; `kd-sweep plot` writes all of them."""
_DPI = 150


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its caption, and the rows that it draws."""

    name: str
    title: str
    svg: str
    """One element, which needs no escaping."""
    caption: str
    tables: Sequence[ShownTable]


def report_page(results: Results, digest: str) -> str:
    """Return the report of the one study in ``results`` as HTML.

    Args:
        results: its tables.
        digest: of the tables, that tells whether the report is stale.

    Raises:
        CorruptFileError: a table is damaged.
        UserError: matplotlib or Jinja2 is not installed. One line.
    """
    template = _template()
    (name,) = results.studies()
    study: dict[str, Any] = next(iter(results.table("studies").to_pylist()), {})
    frozen = _frozen(study)
    figures, missing = _figures(results, name)
    found = findings(results)
    return template.render(
        name=name,
        version=__version__,
        digest=digest,
        question=_question(results),
        standing=standing(results, study),
        best=_best(results),
        found=found,
        figures=figures,
        searched=_searched(results, frozen),
        recipe=[] if frozen is None else recipe_words(frozen.spec),
        facts=run_facts(results, study),
        statuses=trials_by_status(results),
        failures=failures(results),
        notes=notes(results),
        limits=limits(results, frozen, found, missing),
        again=reproduction(results, name, frozen, digest),
        citations=(PAPER, SOFTWARE),
    )


def _template() -> "Template":
    require_matplotlib()
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError:
        raise UserError(
            "a report needs Jinja2, which is not installed; in the checkout: pip install '.[figures]'"
        ) from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: escaped(value) if type(value) is str else value,
    )
    return environment.get_template("report.html.j2")


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
            figure = svg_figure(results, kind.name, FigureOptions(size="two-columns", dpi=_DPI))
        except QueryError as error:
            missing.append(str(error))
            continue
        more = f"kd-sweep plot ROOT {study} {kind.name} --out DIR writes all as CSV"
        tables = [
            shown_table(table, f"What is drawn: {suffix or kind.title}", None, _MOST_ROWS, more)
            for suffix, table in figure.tables.items()
        ]
        drawn.append(ReportFigure(kind.name, kind.title, lighter(figure.svg), figure.caption, tables))
    return drawn, missing


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


def _searched(results: Results, frozen: FrozenStudy | None) -> ShownTable | None:
    """Return what varies: what the study file asks for, and how many values the trials have."""
    trials = results.table("trials")
    columns = [*searched_fields(results), "seed"]
    asked = {}
    if frozen is not None:
        asked = {column_name(key): dimension_words(one) for key, one in frozen.spec.search.items()}
        asked |= {"seed": ", ".join(map(str, frozen.spec.seeds))} if frozen.spec.seeds else {}
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
