"""Several studies side by side: how they stand, what their files set otherwise, what each says of the same claims."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_sweep.analysis.study_analysis import analyse, pooled_effects
from kd_sweep.analysis.trial_settings import BOTH, STUDENT
from kd_sweep.analysis.wording import listed
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import words
from kd_sweep.figures.report.report_content import ReportContent
from kd_sweep.figures.report.shown_tables import Heading, ShownTable, interval_cells, without_dust
from kd_sweep.tables.comparison import settings_of_study
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.value_text import cells
from kd_sweep.tables.schema import as_text

_MOST_ROWS = 100
_NO_ARM = "-"
Row = Mapping[str, Any]
Key = tuple[str, ...]


@dataclass(frozen=True)
class SideBySide:
    """What several studies have beside each other."""

    title: str
    tables: Sequence[ShownTable]


def side_by_side(studies: Mapping[str, Results], contents: Sequence[ReportContent]) -> SideBySide:
    """Return tables with a column for each study.

    Args:
        studies: the tables of each study, by its name.
        contents: what the report of each says.
    """
    head = [Heading(""), *(Heading(name) for name in studies)]
    standing = [
        ("question", *(one.question for one in contents)),
        ("trials", *(one.standing for one in contents)),
        ("best trial", *(one.best or "-" for one in contents)),
        (
            "hours of training",
            *(dict(zip(_names(one.cost), one.cost.rows[-1], strict=True))["hours"] for one in contents),
        ),
    ]
    tables = [
        ShownTable("How the studies stand", head, standing),
        _settings(studies),
        *_outcomes(studies),
    ]
    return SideBySide(f"Studies {listed(list(studies))}", [table for table in tables if table.rows])


def _names(table: ShownTable) -> list[str]:
    return [head.text for head in table.head]


def _settings(studies: Mapping[str, Results]) -> ShownTable:
    """Return the fields of the study files that are not alike in all studies."""
    flat = [settings_of_study(results) for results in studies.values()]
    names = [name for name in dict.fromkeys(name for one in flat for name in one) if name != "name"]
    rows = [(name, *(as_text(one.get(name)) or "-" for one in flat)) for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    hidden = len(differing) - len(differing[:_MOST_ROWS])
    return ShownTable(
        "Settings that differ",
        [Heading("field"), *(Heading(name) for name in studies)],
        differing[:_MOST_ROWS],
        f"{hidden:,} more rows: kd_sweep.open_results(ROOT).compare has all" if hidden else "",
        hidden,
    )


def _outcomes(studies: Mapping[str, Results]) -> list[ShownTable]:
    """Return verdicts, and effects on the objectives and on what the claims are about, a row for each."""
    verdicts: dict[Key, dict[str, str]] = {}
    effects: dict[Key, dict[str, Row]] = {}
    told = {one["metric"] for results in studies.values() for each in results.objectives().values() for one in each}
    for name, results in studies.items():
        try:
            analysis = analyse(results)
        except QueryError:
            continue
        for row in analysis.verdicts.to_pylist():
            verdicts.setdefault(_claim(row), {})[name] = row["verdict"]
            told.add(row["outcome"])
        for row in pooled_effects(analysis.effects).to_pylist():
            if row["outcome"] in told:
                effects.setdefault((words(row["outcome"]), _arm(row), _levels(row)), {})[name] = row
    said = [[rows.get(name, "-") for name in studies] for rows in verdicts.values()]
    texts = [_changes([rows.get(name) for rows in effects.values()]) for name in studies]
    changes = [list(row) for row in zip(*texts, strict=True)]
    brackets = "in brackets 95 % intervals (Student's t over seeds)"
    return [
        _table("Verdicts on the paper's claims", ("claim", "arm", "outcome"), studies, verdicts, said),
        _table(
            f"What metrics change by from the lowest to the highest level; {brackets}",
            ("outcome", "arm", "from, to"),
            studies,
            effects,
            changes,
            is_number=True,
        ),
    ]


def _table(
    caption: str,
    names: Sequence[str],
    studies: Iterable[str],
    keys: Iterable[Key],
    cells_of_rows: Sequence[Sequence[str]],
    *,
    is_number: bool = False,
) -> ShownTable:
    """Return a table whose rows begin with their keys; arms are left out where they tell no rows apart."""
    rows = list(keys)
    arms = {key[1] for key in rows} - {_NO_ARM}
    kept = [index for index, name in enumerate(names) if name != "arm" or len(arms) > 1]
    head = [*(Heading(names[index]) for index in kept), *(Heading(name, is_number=is_number) for name in studies)]
    texts = [(*(key[index] for index in kept), *row) for key, row in zip(rows, cells_of_rows, strict=True)]
    hidden = len(texts) - len(texts[:_MOST_ROWS])
    more = f"{hidden:,} more rows: kd-sweep analyse ROOT STUDY" if hidden else ""
    return ShownTable(caption, head, texts[:_MOST_ROWS], more, hidden)


def _claim(row: Row) -> Key:
    """Return what tells a verdict from the others of its study."""
    whose = {STUDENT: "student's strength", BOTH: "both strengths"}.get(row["varied"], "")
    outcome = words(row["outcome"]) if row["outcome"] else "-"
    return row["claim"], _arm(row), ", ".join(filter(None, [outcome, whose]))


def _arm(row: Row) -> str:
    arm = [str(row[name]) for name in ("distillation_loss", "attention_maps") if row.get(name) is not None]
    return ", ".join(arm) or _NO_ARM


def _levels(row: Row) -> str:
    return f"{words(row['varied'])} {row['from_level']:g} to {row['to_level']:g}"


def _changes(rows: Sequence[Row | None]) -> list[str]:
    known = [row or {} for row in rows]
    estimates, lows, highs = (
        without_dust([row.get(name) for row in known]) for name in ("estimate", "t_low", "t_high")
    )
    texts = cells([*estimates, *lows, *highs])[: len(known)]
    intervals = interval_cells(lows, highs, estimates)
    return [text if one == "-" else f"{text} {one}" for text, one in zip(texts, intervals, strict=True)]
