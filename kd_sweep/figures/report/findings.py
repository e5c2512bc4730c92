"""What a study says: verdicts in the sentences of `analyse`, and effects with intervals, those that matter first."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.correlations import UNBALANCED
from kd_sweep.analysis.reading_notes import explained
from kd_sweep.analysis.study_analysis import Analysis, analyse, pooled_correlations, pooled_effects
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import words
from kd_sweep.figures.report.shown_tables import Heading, ShownTable, interval_cells, without_dust
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.value_text import cells

_NOT_TESTED = "not tested"
_LEVELS = ("_level", "_modifier")
_METRICS = ("outcome", "varied", "modifier", "mediator", "x", "y")
"""Columns whose values are names of columns."""
_ARM = {"distillation_loss": "loss", "attention_maps": "attention maps"}
_MOST_ROWS = 200
_MORE = "kd-sweep analyse ROOT STUDY --format csv"


@dataclass(frozen=True)
class Findings:
    """The analysis of a study as a report has it."""

    why_not: str = ""
    """Why there is no analysis; the rest is empty then."""
    basis: str = ""
    """Which trials count."""
    verdicts: Sequence[tuple[str, str]] = ()
    """Verdict and sentence of each claim, those that were tested first."""
    figures: ShownTable | None = None
    """The verdicts that were tested, in figures."""
    effects: ShownTable | None = None
    """Those of the objectives and of the claims."""
    other_effects: ShownTable | None = None
    interactions: ShownTable | None = None
    """Of the same outcomes as `effects`."""
    correlations: ShownTable | None = None
    chain: ShownTable | None = None
    remarks: Sequence[str] = field(default=())
    """What intervals and verdicts assume, and what they leave out."""


def findings(results: Results) -> Findings:
    """Return the analysis of the one study in ``results``, or why there is none."""
    try:
        analysis = analyse(results)
    except QueryError as error:
        return Findings(why_not=str(error))
    basis, *remarks = explained(analysis)
    rows = sorted(analysis.verdicts.to_pylist(), key=lambda row: row["verdict"] == _NOT_TESTED)
    told = {objective["metric"] for each in results.objectives().values() for objective in each}
    told |= {row["outcome"] for row in rows if row["verdict"] != _NOT_TESTED}
    effects = pooled_effects(analysis.effects)
    of_claims = pa.array(sorted(told), pa.string())
    few = pc.is_in(effects["outcome"], of_claims)
    return Findings(
        "",
        basis,
        [(row["verdict"], row["sentence"]) for row in rows],
        _verdict_figures(analysis),
        _effects(effects.filter(few), "Effects on the objectives and on what the claims are about"),
        _effects(effects.filter(pc.invert(few)), "Effects on other metrics"),
        _interactions(analysis.interactions.filter(pc.is_in(analysis.interactions["outcome"], of_claims))),
        _correlations(pooled_correlations(analysis.correlations)),
        _chain(analysis.chain),
        remarks,
    )


def _verdict_figures(analysis: Analysis) -> ShownTable | None:
    tested = analysis.verdicts.filter(pc.is_valid(analysis.verdicts["effect"]))
    return _shown(
        tested,
        "Verdicts in figures",
        ("verdict", "outcome", *_ARM, "varied"),
        ("effect", "p_corrected", "num_seeds"),
        (("Student's t interval", "t_low", "t_high"),),
    )


def _effects(effects: pa.Table, caption: str) -> ShownTable | None:
    return _shown(
        effects,
        caption,
        ("outcome", *_ARM, "varied", "from_level", "to_level"),
        ("estimate", "num_pairs", "num_seeds"),
        (("Student's t interval", "t_low", "t_high"), ("bootstrap interval", "low", "high")),
    )


def _correlations(table: pa.Table) -> ShownTable | None:
    unbalanced = any(UNBALANCED in (note or "") for note in table["note"].to_pylist())
    return _shown(
        table,
        "Rank correlations (Spearman)" + (f", some {UNBALANCED}" if unbalanced else ""),
        ("x", "y", *_ARM),
        ("rho", "num_trials", "num_seeds"),
        (("jackknife interval", "low", "high"),),
    )


def _interactions(table: pa.Table) -> ShownTable | None:
    return _shown(
        table,
        "Interactions: what the effect of strength changes by along another dimension",
        ("outcome", *_ARM, "varied", "modifier", "from_modifier", "to_modifier"),
        ("estimate", "effect_at_from", "effect_at_to", "num_seeds"),
        (("Student's t interval", "t_low", "t_high"), ("bootstrap interval", "low", "high")),
    )


def _chain(table: pa.Table) -> ShownTable | None:
    return _shown(
        table,
        "Links of the chain, and how much of an effect of strength goes with the mediator's",
        ("varied", "mediator", "outcome", *_ARM),
        ("carried", "effect", "not_carried", "correlation", "share", "rho_to_undecided", "num_seeds"),
        (("interval", "carried_low", "carried_high"),),
    )


def _shown(
    table: pa.Table,
    caption: str,
    labels: Sequence[str],
    numbers: Sequence[str],
    intervals: Sequence[tuple[str, str, str]],
) -> ShownTable | None:
    """Return columns of a table with its intervals behind the first number; None where it has no row."""
    if table.num_rows == 0:
        return None
    names = [name for name in labels if name not in _ARM or len(pc.unique(table[name].drop_null())) > 1]
    kept = table.slice(0, _MOST_ROWS)
    columns = [(_heading(name), _labelled(kept, name)) for name in names]
    columns.append(
        (Heading(_WORDS.get(numbers[0], numbers[0]), is_number=True), cells(without_dust(kept[numbers[0]].to_pylist())))
    )
    for title, low, high in intervals:
        columns.append(
            (
                Heading(title, is_number=True),
                interval_cells(*(without_dust(kept[name].to_pylist()) for name in (low, high))),
            )
        )
    columns += [
        (Heading(_WORDS.get(name, name), is_number=True), cells(kept[name].to_pylist())) for name in numbers[1:]
    ]
    hidden = table.num_rows - kept.num_rows
    rows = list(zip(*(column for _, column in columns), strict=True))
    return ShownTable(
        caption, [head for head, _ in columns], rows, f"{hidden:,} more rows: {_MORE}" if hidden else "", hidden
    )


_WORDS = {
    **_ARM,
    "from_level": "from",
    "to_level": "to",
    "estimate": "change",
    "effect": "change",
    "p_corrected": "p, corrected",
    "num_pairs": "pairs",
    "num_trials": "trials",
    "num_seeds": "seeds",
    "from_modifier": "from",
    "to_modifier": "to",
    "effect_at_from": "effect at from",
    "effect_at_to": "effect at to",
    "not_carried": "not carried",
    "rho_to_undecided": "rho to undecided",
}


def _heading(name: str) -> Heading:
    return Heading(_WORDS.get(name, name), is_number=name.endswith(_LEVELS))


def _labelled(table: pa.Table, name: str) -> list[str]:
    values = table[name].to_pylist()
    if name.endswith(_LEVELS):
        return ["-" if value is None else f"{value:g}" for value in values]
    return [words(value) if name in _METRICS and value else value or "-" for value in values]
