"""The statistics of one study: effects, correlations, verdicts, and how they are written."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.claims.paper_claims import loss_arms
from kd_sweep.analysis.claims.sentences import exact_from
from kd_sweep.analysis.claims.verdict_tables import levels_table, verdicts_table
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.comparisons import EXTREMES
from kd_sweep.analysis.correlations import correlations_table
from kd_sweep.analysis.effects import effects_table
from kd_sweep.analysis.sample import Sample, read_sample
from kd_sweep.analysis.trial_settings import SIZE, STRENGTH, STUDENT
from kd_sweep.analysis.wording import counted, listed
from kd_sweep.errors import QueryError, alternatives
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Bootstrap
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.output_formats import FORMATS, render
from kd_sweep.tables.rendering.value_text import plain

FOLDER = "analysis"
"""Where a study's folder keeps the tables of its analysis."""
MARGIN = 0.02
"""By how much logits matching may raise fidelity, as a fraction of the images, and still hardly raise it."""

_RESAMPLES = (100, 1_000_000)
_INTERVALS = ("low", "high", "t_low", "t_high")
_COUNTS = ("num_pairs", "num_seeds")
_ARM = ("distillation_loss", "attention_maps")
_SHOWN_EFFECTS = ("outcome", *_ARM, "varied", "from_level", "to_level", "estimate", *_INTERVALS, *_COUNTS)
_SHOWN_CORRELATIONS = (
    *("x", "y", *_ARM, "rho", "low", "high", "ceiling"),
    *("rho_within", "within_low", "within_high", "num_trials", "num_seeds"),
)
_SHOWN_VERDICTS = (
    *("verdict", "outcome", *_ARM, "varied", "effect", "t_low", "t_high", "p_corrected", "p", "num_seeds"),
    *("verdict_if_normal", "curvature_p_corrected", "best_level", "seeds_to_decide"),
)
_SHOWN_LEVELS = ("outcome", *_ARM, "varied", "from_level", "to_level", "estimate", "low", "high", "p_corrected")


@dataclass(frozen=True)
class Analysis:
    """The statistics of the completed trials of a study."""

    sample: Sample
    bootstrap: Bootstrap
    effects: pa.Table
    """`effects.EFFECTS`"""
    correlations: pa.Table
    """`correlations.CORRELATIONS`"""
    verdicts: pa.Table
    """`verdict_tables.VERDICTS`"""
    levels: pa.Table
    """`verdict_tables.LEVELS`"""

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The four tables by name, with the numbers of trials and the settings in their metadata."""
        about = {key.encode(): str(value).encode() for key, value in self.about.items()}
        tables = {
            "effects": self.effects,
            "correlations": self.correlations,
            "verdicts": self.verdicts,
            "levels": self.levels,
        }
        return {name: table.replace_schema_metadata(about) for name, table in tables.items()}

    @property
    def about(self) -> dict[str, Any]:
        """How many trials count and how many were left out, and how intervals were taken."""
        sample = self.sample
        return {
            "study": sample.study,
            "num_completed": sample.num_completed,
            "num_stopped": sample.num_stopped,
            "num_failed": sample.num_failed,
            "num_unfinished": sample.num_unfinished,
            "num_untaught": sample.num_untaught,
            "confidence": self.bootstrap.confidence,
            "resamples": self.bootstrap.resamples,
        }


def analyse(
    results: Results,
    study: str | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    outcomes: Sequence[str] | None = None,
    margin: float = MARGIN,
) -> Analysis:
    """Return effects of strength and ensemble size, correlations, and verdicts on the paper's claims.

    Args:
        results: a results root or a study.
        study: its name; may be left out if there is only one.
        confidence: of every interval, above 0 and below 1.
        resamples: of the bootstrap.
        outcomes: metrics that the effects and correlations are restricted to; all that the trials have when None.
        margin: by how much logits matching may raise fidelity and still hardly raise it.

    Raises:
        QueryError: no such study or outcome, no completed trial, a single strength, an argument out of range. One line.
    """
    _check_arguments(confidence, resamples, margin)
    sample = read_sample(results, study)
    _check_strengths(sample)
    for name in outcomes or ():
        if name not in sample.outcomes:
            raise QueryError(f"outcome: no completed trial has {name!r}; {alternatives(name, sample.outcomes)}")
    selected = tuple(dict.fromkeys(outcomes or sample.outcomes))
    bootstrap = Bootstrap(confidence, resamples)
    judged = verdicts(sample, bootstrap, margin)
    return Analysis(
        sample,
        bootstrap,
        effects_table(sample, selected, bootstrap),
        correlations_table(sample, selected, confidence),
        verdicts_table(sample, judged),
        levels_table(sample, judged),
    )


def _check_arguments(confidence: float, resamples: int, margin: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise QueryError(f"confidence: {confidence:g} is not above 0 and below 1; 0.95 is usual")
    if not _RESAMPLES[0] <= resamples <= _RESAMPLES[1]:
        raise QueryError(f"resamples: {resamples} is not between {_RESAMPLES[0]} and {_RESAMPLES[1]}")
    if not 0.0 <= margin < 1.0:
        raise QueryError(f"margin: {margin:g} is not a fraction from 0 and below 1")


def write_analysis(analysis: Analysis, format: str, out: BinaryIO, *, complete: bool = False) -> None:
    """Write an analysis to a stream as ``table`` or ``json``.

    Args:
        analysis: what to write.
        format: ``json`` is one object with a list for each of `Analysis.tables`; ``table`` is for people.
        out: a binary stream.
        complete: show every effect and correlation in ``table``, not only those pooled over settings.
    """
    if format == "json":
        lists = {name: table.to_pylist() for name, table in analysis.tables.items()}
        content = plain({**analysis.about, **lists})
        out.write(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n")
        out.flush()
        return
    out.write("".join(f"{line}\n" for line in explained(analysis)).encode())
    _write_verdicts(analysis, out)
    effects, correlations = analysis.effects, analysis.correlations
    if not complete:
        effects, correlations = pooled_effects(effects), pooled_correlations(correlations)
        effects, correlations = effects.select(_SHOWN_EFFECTS), correlations.select(_SHOWN_CORRELATIONS)
    hidden = analysis.effects.num_rows + analysis.correlations.num_rows - effects.num_rows - correlations.num_rows
    _titled("Effects, lowest to highest level, paired by seed" if not complete else "Effects", effects, out)
    _titled("Rank correlations (Spearman)", correlations, out)
    if hidden:
        out.write(f"({hidden} more rows by level and setting: --outcome NAME, --format json or parquet)\n".encode())
    out.flush()


def pooled_effects(effects: pa.Table) -> pa.Table:
    """Return the effects from the lowest to the highest level that are pooled over settings."""
    return effects.filter(pc.and_(effects["is_pooled"], pc.equal(effects["kind"], EXTREMES)))


def pooled_correlations(correlations: pa.Table) -> pa.Table:
    """Return the correlations over all levels together."""
    for name in (STRENGTH, STUDENT, SIZE):
        correlations = correlations.filter(pc.is_null(correlations[name]))
    return correlations


def _write_verdicts(analysis: Analysis, out: BinaryIO) -> None:
    """Write the verdicts, first in words, then as a table, with each strength against the lowest."""
    out.write(b"\nVerdicts on the paper's claims (arXiv 2405.00739)\n")
    rows = sorted(analysis.verdicts.to_pylist(), key=lambda row: row["verdict"] == "not tested")
    out.write("".join(f"- {row['sentence']}\n" for row in rows).encode())
    is_apart = STUDENT in analysis.sample.dimensions
    names = [name for name in _SHOWN_VERDICTS if name != "varied" or is_apart]
    tested = analysis.verdicts.filter(pc.is_valid(analysis.verdicts["effect"]))
    if tested.num_rows:
        _titled("Verdicts in figures", tested.select(names), out)
    if analysis.levels.num_rows:
        names = [name for name in _SHOWN_LEVELS if name != "varied" or is_apart]
        _titled("Every strength against the lowest", analysis.levels.select(names), out)


def save_analysis(analysis: Analysis, format: str, folder: Root) -> list[str]:
    """Write each table into a file of its own in ``folder``, as ``parquet`` or ``csv``; return the files' locations.

    Raises:
        StorageError: the folder cannot be written.
    """
    locations = []
    for name, table in analysis.tables.items():
        content = io.BytesIO()
        render(table, format, content)
        folder.write_bytes(f"{name}.{format}", content.getvalue())
        locations.append(folder.location_of(f"{name}.{format}"))
    return locations


def output_analysis(
    analysis: Analysis, results: Results, format: str, out: BinaryIO, folder: str | Path | None, *, complete: bool
) -> None:
    """Write an analysis as the command line does: ``table`` and ``json`` to the stream, the others into files.

    Args:
        analysis: what to write.
        results: the root of the study, whose folder gets the files when ``folder`` is None.
        format: one of `output_formats.FORMATS`.
        out: standard output; gets the files' locations if there are files.
        folder: the folder of the files.
        complete: as for `write_analysis`.

    Raises:
        QueryError: a folder for a format that has no files.
        StorageError: the folder cannot be written.
    """
    check_format(format, folder)
    if format in ("table", "json"):
        write_analysis(analysis, format, out, complete=complete)
        return
    study = analysis.sample.study
    target = Root.open(folder) if folder is not None else results.select(study)[study].child(FOLDER)
    for location in save_analysis(analysis, format, target):
        out.write(f"{location}\n".encode())
    out.flush()


def check_format(format: str, folder: str | Path | None) -> None:
    """Raise `QueryError` for an unknown format, or a folder for one that goes to standard output."""
    if format not in FORMATS:
        raise QueryError(f"format: {format!r} is not a format; {alternatives(format, FORMATS)}")
    if folder is not None and format in ("table", "json"):
        raise QueryError(f"out: format {format!r} goes to standard output; possible with --out: csv, parquet")


def _check_strengths(sample: Sample) -> None:
    strengths = sample.levels(STRENGTH)
    if not any(len(sample.levels(name)) > 1 for name in sample.dimensions if name != SIZE) and not loss_arms(sample):
        raise QueryError(
            f"study: every completed trial of {sample.study!r} has augmentation_strength {strengths[0]:g}; effects "
            "need at least two strengths (extend augmentation_strength or student_strength in search and launch again)"
        )


def _made_of(sample: Sample, num_seeds: int) -> str:
    nouns = {STRENGTH: "strength", STUDENT: "student strength", SIZE: "ensemble size"}
    if STUDENT in sample.dimensions:
        nouns[STRENGTH] = "teacher strength"
    parts = [counted(len(sample.levels(name)), nouns[name]) for name in sample.dimensions]
    return ", ".join([*parts, counted(num_seeds, "seed")])


def explained(analysis: Analysis) -> list[str]:
    """Return what a reader of the tables has to know: which trials count, what intervals and verdicts assume."""
    sample, bootstrap = analysis.sample, analysis.bootstrap
    num_seeds = len({seed for trials in sample.trials.values() for seed in trials})
    lines = [
        f"Study {sample.study}: {counted(sample.num_completed, 'completed trial')} ({_made_of(sample, num_seeds)}); "
        f"left out: {sample.left_out}.",
        *_about_tests(analysis),
        f"Intervals: {100 * bootstrap.confidence:g} %, over seeds (correlations: jackknife), each on its own: not "
        "corrected for how many there are; none below 3 seeds. They hold for this split of the data, which all seeds "
        "share.",
    ]
    limit = bootstrap.coverage_limit(num_seeds) if num_seeds >= MIN_CLUSTERS else None
    if limit is not None:
        lines.append(
            f"A bootstrap over {num_seeds} seeds covers at most {limit:.0%}, since it cannot reach beyond the values "
            "seen; Student's t interval (t_low, t_high) can."
        )
    return [*lines, *_notes(sample)]


def _about_tests(analysis: Analysis) -> Iterator[str]:
    """Yield what verdicts assume."""
    tested = [row for row in analysis.verdicts.to_pylist() if row["p"] is not None]
    if not tested:
        return
    num_tests = tested[0]["num_tests"]
    yield (
        "Verdicts: p values allow for differences between seeds that are as skewed as an exponential distribution, "
        f"and are corrected together (Holm): {counted(num_tests, 'test')}. A study in which nothing has an effect gets "
        f"any verdict in at most {1 - analysis.bootstrap.confidence:.0%} of cases."
    )
    short = sorted({row["num_levels"] or 2 for row in tested if not row["is_exact"]})
    if short:
        needed = [f"{exact_from(k, num_tests, analysis.bootstrap.confidence)} at {k} strengths" for k in short]
        yield (
            "Exact tests, which hold whatever the distribution, could not decide anything with so few seeds: they take "
            f"{listed(needed)}. Below that a verdict rests on the skewness above."
        )


def _notes(sample: Sample) -> Iterator[str]:
    """Yield what a reader has to know of this study to read its tables rightly."""
    if sample.selected_by_outcome:
        yield (
            f"Chosen by outcome: {sample.selected_by_outcome}. Effects on students are those of the trials that were "
            "kept, and have no verdicts. What is about the teachers alone counts for stopped trials too."
        )
    if sample.never_completed:
        cells = [f"{level:g} with ensemble size {size}" for level, size in sample.never_completed]
        yield f"No trial was completed at strength {listed(cells)}: nothing here is about that."
    if STUDENT in sample.dimensions:
        yield (
            "Teachers and student have strengths of their own: augmentation_strength is the teachers' (their mean), "
            "student_strength the student's. One is held equal where the effect of the other is taken."
        )
    if any(setting.mix for setting in sample.trials):
        yield (
            "Ensembles whose teachers have different strengths are compared where no teacher's falls. Rows pooled over "
            "them are means over all such pairs, each mix counted once; --format json has every pair of lists."
        )
    if any(recipe.is_mixed for recipe in sample.recipes.values()) and len(sample.levels(SIZE)) > 1:
        yield (
            "Some ensembles have teachers that differ in network or recipe. Where a larger one has other kinds than a "
            "smaller one, an effect of ensemble_size is one of both."
        )
    if len(sample.losses) > 1:
        yield "Losses are not averaged: what a student's loss can change has a row for each."
    if sample.num_untaught:
        yield (
            f"{counted(sample.num_untaught, 'trial')} learned from labels alone (distillation.loss none, or alpha 1): "
            "no evidence on fidelity and mutual information, whose verdicts leave them out."
        )


def _telling(table: pa.Table) -> pa.Table:
    """Return the table without the optional columns that are constant."""
    sometimes = {*_ARM, STUDENT, "teacher_strengths"} & set(table.column_names)
    return table.drop_columns([name for name in sometimes if len(table[name].drop_null().unique()) < 2])


def _titled(title: str, table: pa.Table, out: BinaryIO) -> None:
    out.write(f"\n{title}\n".encode())
    out.flush()
    render(_telling(table), "table", out)
