"""The text of an analysis for people: verdicts, then the effects that they are about, and how to read both."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.reading_notes import explained, nouns
from kd_sweep.analysis.study_analysis import Analysis, pooled_contrasts, pooled_effects
from kd_sweep.analysis.trial_settings import SIZE, STRENGTH, STUDENT
from kd_sweep.analysis.wording import listed
from kd_sweep.tables.rendering.output_formats import render
from kd_sweep.tables.rendering.value_text import cells

_LAST = ("undecided", "not tested")
"""Verdicts that stand below all others, in this order."""
_ARM = ("distillation_loss", "attention_maps")
_HELD = (STRENGTH, STUDENT, SIZE, "teacher_strengths", "other_fields")
_INTERVALS = ("t_low", "t_high", "low", "high")
_COUNTS = ("num_pairs", "num_seeds")
_OF_EFFECTS = (
    *("outcome", *_ARM, "kind", "varied", "from_level", "to_level", "estimate", *_INTERVALS),
    *("std", *_COUNTS, "is_pooled", *_HELD, "note"),
)
_OF_CORRELATIONS = (
    *("x", "y", *_ARM, "rho", "low", "high", "ceiling", "rho_within", "within_low", "within_high"),
    *("num_trials", "num_seeds", STRENGTH, STUDENT, SIZE, "note"),
)
_OF_VERDICTS = (
    *("verdict", "outcome", *_ARM, "varied", "effect", "t_low", "t_high", "p_corrected", "p", "num_seeds"),
    *("verdict_if_normal", "curvature_p_corrected", "best_level", "seeds_to_decide"),
)
_OF_LATTICES = ("from_level", "to_level", "from_modifier", "to_modifier")
_USUAL_DECIMALS, _MOST_DECIMALS = 4, 6
_OF_COMPONENTS = (
    *("outcome", *_ARM, "level", "std", "share", "variance", "low", "high", "degrees", "p", "num_trials"),
    *(STRENGTH, STUDENT, SIZE, "other_fields", "note"),
)
_OF_INTERACTIONS = (
    *("outcome", *_ARM, "varied", "from_level", "to_level", "modifier", "from_modifier", "to_modifier"),
    *("effect_at_from", "effect_at_to", "estimate", *_INTERVALS, "std", "num_settings", "num_seeds", "note"),
)
_OF_CHAIN = (
    *("mediator", "outcome", *_ARM, "varied", "on_mediator", "slope", "slope_low", "slope_high", "correlation"),
    *("effect", "carried", "carried_low", "carried_high", "not_carried", "share", "share_low", "share_high"),
    *("rho_to_undecided", "num_settings", "num_seeds", "note"),
)
_OF_LEVELS = ("outcome", *_ARM, "varied", "from_level", "to_level", "estimate", "low", "high", "p_corrected")


def write_text(analysis: Analysis, out: BinaryIO, *, complete: bool) -> None:
    """Write verdicts in words, effects, and how to read them.

    Args:
        analysis: what to write.
        out: a binary stream.
        complete: write all tables, not only effects pooled over settings, and interactions, of `Analysis.outcomes`.
    """
    about, *notes = explained(analysis)
    rows = sorted(analysis.verdicts.to_pylist(), key=_rank)
    shared = _shared_reason(rows)
    since = f". Undecided since {shared}." if shared else ""
    _lines([about, "", f"Verdicts on the paper's claims (arXiv 2405.00739): {_counts(rows)}{since}"], out)
    texts = (str(row["sentence" if complete else "summary"]) for row in rows)
    _lines((f"- {text.replace(f': no verdict, since {shared}', '', 1) if shared else text}" for text in texts), out)
    if complete:
        _write_tables(analysis, out)
    else:
        _write_effects(analysis, out)
        _write_interactions(analysis, out)
    _write_components(analysis, out)
    _lines(["", "How to read it", *notes], out)
    if not complete:
        _lines(["", "--all says more of each verdict, and has all effects, correlations, and the chain."], out)


def _counts(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return how many verdicts there are of each kind, in words, in their order."""
    counts = Counter(row["verdict"] for row in verdicts)
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items())


def _shared_reason(verdicts: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the one reason why several claims are undecided; None where they have none, or not the same."""
    reasons = [row["reason"] for row in verdicts if row["verdict"] == "undecided"]
    return reasons[0] if len(reasons) > 1 and len(set(reasons)) == 1 else None


def _rank(verdict: Mapping[str, Any]) -> int:
    return _LAST.index(verdict["verdict"]) if verdict["verdict"] in _LAST else -1


def _write_tables(analysis: Analysis, out: BinaryIO) -> None:
    tested = analysis.verdicts.filter(pc.is_valid(analysis.verdicts["effect"]))
    if tested.num_rows:
        _titled("Verdicts in figures", tested.select(_OF_VERDICTS), out)
    if analysis.levels.num_rows:
        _titled("Every strength against the lowest", analysis.levels.select(_OF_LEVELS), out)
    _titled("Means, and effects paired by seed", analysis.effects.select(_OF_EFFECTS), out)
    if analysis.interactions.num_rows:
        _titled(
            "Interactions: how effects depend on other dimensions", analysis.interactions.select(_OF_INTERACTIONS), out
        )
    _titled("Rank correlations (Spearman)", analysis.correlations.select(_OF_CORRELATIONS), out)
    if analysis.chain.num_rows:
        _titled("Links of the chain, and what they carry", analysis.chain.select(_OF_CHAIN), out)


def _write_effects(analysis: Analysis, out: BinaryIO) -> None:
    """Write what pooled effects there are of the outcomes, a table for each dimension and pair of levels."""
    groups: dict[tuple[str, float, float], list[dict[str, Any]]] = {}
    for row in pooled_effects(analysis.effects).to_pylist():
        if row["outcome"] in analysis.outcomes:
            groups.setdefault((row["varied"], row["from_level"], row["to_level"]), []).append(row)
    if not groups:
        _lines(["", "There are no effects: no two settings differ in one strength or in ensemble size alone."], out)
    _write_contrasts(analysis, out)
    for (varied, low, high), rows in groups.items():
        title = f"Effects of {nouns(analysis.sample)[varied]} {low:g} to {high:g}, paired by seed, clearest first"
        known = sorted((row for row in rows if row["estimate"] is not None), key=_clearness, reverse=True)
        if known:
            _titled(title, _effects(known, analysis.bootstrap.confidence), out)
        else:
            _lines(["", title], out)
        if unknown := list(dict.fromkeys(row["outcome"] for row in rows if row["estimate"] is None)):
            _lines([f"No seed has every pair of settings: {listed(unknown)}."], out)


def _write_components(analysis: Analysis, out: BinaryIO) -> None:
    """Write which seeds the variance of outcomes comes from, where the study varies some apart."""
    table = analysis.components
    shown = table.filter(pc.is_in(table["outcome"], pa.array(analysis.outcomes)))
    if shown.num_rows:
        _titled("Variance by seeds", shown.select(_OF_COMPONENTS), out)


def _write_contrasts(analysis: Analysis, out: BinaryIO) -> None:
    """Write what outcomes change by from one arm of the study to another."""
    rows = [row for row in pooled_contrasts(analysis.effects).to_pylist() if row["outcome"] in analysis.outcomes]
    known = sorted((row for row in rows if row["estimate"] is not None), key=_clearness, reverse=True)
    if known:
        title = "From one arm to another, paired by seed, clearest first"
        _titled(title, _effects(known, analysis.bootstrap.confidence), out)


def _write_interactions(analysis: Analysis, out: BinaryIO) -> None:
    """Write how much effects of strength depend on each other dimension, of the outcomes that claims are about."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in analysis.interactions.to_pylist():
        if row["outcome"] in analysis.outcomes and row["estimate"] is not None:
            key = (row["varied"], row["modifier"], *(row[name] for name in _OF_LATTICES))
            groups.setdefault(key, []).append(row)
    names = nouns(analysis.sample)
    for (varied, modifier, low, high, first, last), rows in groups.items():
        title = (
            f"What {names[modifier]} {last:g} instead of {first:g} adds to the effect of {names[varied]} {low:g} to "
            f"{high:g}, clearest first"
        )
        ordered = sorted(rows, key=_clearness, reverse=True)
        _titled(title, _effects(ordered, analysis.bootstrap.confidence, "adds"), out)


def _clearness(row: Mapping[str, Any]) -> float:
    """Return how large an effect is for its interval; below all others where it has none."""
    return abs(row["estimate"]) / (row["t_high"] - row["t_low"]) if row["t_low"] is not None else -1.0


def _effects(rows: Sequence[Mapping[str, Any]], confidence: float, noun: str = "effect") -> pa.Table:
    notation = _notation([(row["t_high"] - row["t_low"]) / 2 for row in rows if row["t_low"] is not None])
    estimates, lows, highs = (
        _aligned([None if row[name] is None else f"{row[name]:{notation}}" for row in rows])
        for name in ("estimate", "t_low", "t_high")
    )
    intervals = [low and f"[{low}, {high}]" for low, high in zip(lows, highs, strict=True)]
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in ("outcome", *_ARM)}
    columns |= {noun: estimates, f"{100 * confidence:g} % interval (t)": intervals}
    counts = {word: name for word, name in (("pairs", "num_pairs"), ("seeds", "num_seeds")) if name in rows[0]}
    return pa.table(columns | {word: [row[name] for row in rows] for word, name in counts.items()})


def _notation(halves: Sequence[float]) -> str:
    """Return the format of effects whose intervals are so wide to each side: two digits of the narrowest are shown."""
    decimals = 1 - math.floor(math.log10(min(halves))) if halves else _USUAL_DECIMALS
    return f"+.{max(decimals, 1)}f" if decimals <= _MOST_DECIMALS else "+.2e"


def _aligned(texts: Sequence[str | None]) -> list[str | None]:
    widest = max(len(text or "") for text in texts)
    return [text and text.rjust(widest) for text in texts]


def _titled(title: str, table: pa.Table, out: BinaryIO) -> None:
    """Write a table below its title, and below that, once, what all of its rows have in common."""
    telling, common = _told_apart(table)
    _lines(["", title, *([f"Every row: {', '.join(common)}."] if common else [])], out)
    render(telling, "table", out)


def _told_apart(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return the columns that tell rows apart, and the others in words, without those that say nothing of any row."""
    telling: list[str] = []
    common: list[str] = []
    for name in table.column_names:
        values = table[name].unique().to_pylist()
        known = [value for value in values if value is not None and value != ""]
        if len(values) > 1 and (len(known) > 1 or name not in (*_ARM, *_HELD)):
            telling.append(name)
        elif known and len(values) == 1:
            (telling if table.num_rows == 1 else common).append(name)
    if not telling:
        return table, []
    return table.select(telling), [f"{name} {cells(table[name].slice(0, 1).to_pylist())[0]}" for name in common]


def _lines(lines: Iterable[str], out: BinaryIO) -> None:
    out.write("".join(f"{line}\n" for line in lines).encode())
    out.flush()
