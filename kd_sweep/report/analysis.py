"""The statistics of one study: effects, correlations, verdicts, and how they are written."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.report.claims import loss_arms
from kd_sweep.report.correlations import correlations_table
from kd_sweep.report.effects import DIMENSIONS, EXTREMES, effects_table
from kd_sweep.report.intervals import MIN_CLUSTERS, Bootstrap
from kd_sweep.report.sample import Sample, read_sample
from kd_sweep.report.verdicts import counted, verdicts_table
from kd_sweep.results.reader import Results
from kd_sweep.results.render import FORMATS, plain, render
from kd_sweep.results.storage import Root

FOLDER = "analysis"
"""Where a study's folder keeps the tables of its analysis."""
MARGIN = 0.02
"""By how much logits matching may raise fidelity, as a fraction of the images, and still hardly raise it."""

_RESAMPLES = (100, 1_000_000)
_INTERVALS = ("low", "high", "t_low", "t_high")
_SHOWN_EFFECTS = ("outcome", "varied", "from_level", "to_level", "estimate", *_INTERVALS, "num_pairs", "num_seeds")
_SHOWN_CORRELATIONS = ("x", "y", "rho", "low", "high", "num_trials", "num_seeds")
_SHOWN_VERDICTS = ("claim", "outcome", "verdict", "effect", *_INTERVALS, "num_pairs", "num_seeds", "seeds_to_decide")


@dataclass(frozen=True)
class Analysis:
    """What the completed trials of a study say."""

    sample: Sample
    bootstrap: Bootstrap
    effects: pa.Table
    """`effects.EFFECTS`"""
    correlations: pa.Table
    """`correlations.CORRELATIONS`"""
    verdicts: pa.Table
    """`verdicts.VERDICTS`"""

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The three tables by name, with the numbers of trials and the settings in their metadata."""
        about = {key.encode(): str(value).encode() for key, value in self.about.items()}
        tables = {"effects": self.effects, "correlations": self.correlations, "verdicts": self.verdicts}
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
        study: its name; may be left out where there is one.
        confidence: of every interval, above 0 and below 1.
        resamples: of the bootstrap.
        outcomes: metrics that the effects and correlations are restricted to; all that the trials have when None.
        margin: by how much logits matching may raise fidelity and still hardly raise it.

    Raises:
        QueryError: no such study or outcome, no completed trial, a single strength, an argument out of range. One line.
    """
    if not 0.0 < confidence < 1.0:
        raise QueryError(f"confidence: {confidence:g} is not above 0 and below 1; 0.95 is usual")
    if not _RESAMPLES[0] <= resamples <= _RESAMPLES[1]:
        raise QueryError(f"resamples: {resamples} is not between {_RESAMPLES[0]} and {_RESAMPLES[1]}")
    if not 0.0 <= margin < 1.0:
        raise QueryError(f"margin: {margin:g} is not a fraction from 0 and below 1")
    sample = read_sample(results, study)
    strengths = sample.levels("augmentation_strength")
    if len(strengths) < 2 and not loss_arms(sample):
        raise QueryError(
            f"study: every completed trial of {sample.study!r} has augmentation_strength {strengths[0]:g}; effects "
            "need at least two strengths (extend search.augmentation_strength and launch again)"
        )
    for name in outcomes or ():
        if name not in sample.outcomes:
            raise QueryError(f"outcome: no completed trial has {name!r}; {alternatives(name, sample.outcomes)}")
    chosen = tuple(dict.fromkeys(outcomes or sample.outcomes))
    bootstrap = Bootstrap(confidence, resamples)
    return Analysis(
        sample,
        bootstrap,
        effects_table(sample, chosen, bootstrap),
        correlations_table(sample, chosen, bootstrap),
        verdicts_table(sample, bootstrap, margin),
    )


def write_analysis(analysis: Analysis, format: str, out: BinaryIO, *, complete: bool = False) -> None:
    """Write an analysis to a stream as ``table`` or ``json``.

    Args:
        analysis: what to write.
        format: ``json`` is one object with the lists `effects`, `correlations`, `verdicts`; ``table`` is for people.
        out: a binary stream.
        complete: show every effect and correlation in ``table``, not only those pooled over settings.
    """
    if format == "json":
        lists = {name: table.to_pylist() for name, table in analysis.tables.items()}
        content = plain({**analysis.about, **lists})
        out.write(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n")
        out.flush()
        return
    _heading(analysis, out)
    effects, correlations = analysis.effects, analysis.correlations
    if not complete:
        effects = effects.filter(pc.and_(effects["is_pooled"], pc.equal(effects["kind"], EXTREMES)))
        everywhere = pc.and_(*(pc.is_null(correlations[name]) for name in DIMENSIONS))
        effects, correlations = effects.select(_SHOWN_EFFECTS), correlations.filter(everywhere)
        correlations = correlations.select(_SHOWN_CORRELATIONS)
    hidden = analysis.effects.num_rows + analysis.correlations.num_rows - effects.num_rows - correlations.num_rows
    _titled("Effects, lowest to highest level, paired by seed" if not complete else "Effects", effects, out)
    _titled("Rank correlations (Spearman)", correlations, out)
    if hidden:
        out.write(f"({hidden} more rows by level and setting: --outcome NAME, --format json or parquet)\n".encode())
    _titled("Verdicts on the paper's claims (arXiv 2405.00739)", analysis.verdicts.select(_SHOWN_VERDICTS), out)
    out.write("".join(f"- {text}\n" for text in analysis.verdicts["sentence"].to_pylist()).encode())
    out.flush()


def save_analysis(analysis: Analysis, format: str, folder: Root) -> list[str]:
    """Write each table into a file of its own in ``folder``, as ``parquet`` or ``csv``; return the files' places.

    Raises:
        StorageError: the folder cannot be written.
    """
    places = []
    for name, table in analysis.tables.items():
        content = io.BytesIO()
        render(table, format, content)
        folder.write_bytes(f"{name}.{format}", content.getvalue())
        places.append(folder.shown(f"{name}.{format}"))
    return places


def output_analysis(
    analysis: Analysis, results: Results, format: str, out: BinaryIO, folder: str | Path | None, *, complete: bool
) -> None:
    """Write an analysis as the command line does: ``table`` and ``json`` to the stream, the others into files.

    Args:
        analysis: what to write.
        results: where the study lies; its folder gets the files where ``folder`` is None.
        format: one of `render.FORMATS`.
        out: standard output; gets the files' places where there are files.
        folder: where the files go.
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
    for place in save_analysis(analysis, format, target):
        out.write(f"{place}\n".encode())
    out.flush()


def check_format(format: str, folder: str | Path | None) -> None:
    """Raise `QueryError` for an unknown format, or a folder for one that goes to standard output."""
    if format not in FORMATS:
        raise QueryError(f"format: {format!r} is not a format; {alternatives(format, FORMATS)}")
    if folder is not None and format in ("table", "json"):
        raise QueryError(f"out: format {format!r} goes to standard output; possible with --out: csv, parquet")


def _heading(analysis: Analysis, out: BinaryIO) -> None:
    sample, bootstrap = analysis.sample, analysis.bootstrap
    seeds = {seed for trials in sample.trials.values() for seed in trials}
    strengths, sizes = (len(sample.levels(name)) for name in DIMENSIONS)
    made_of = ", ".join([counted(strengths, "strength"), counted(sizes, "ensemble size"), counted(len(seeds), "seed")])
    lines = [
        f"Study {sample.study}: {counted(sample.num_completed, 'completed trial')} ({made_of}); "
        f"left out: {sample.left_out}.",
        f"Intervals: {100 * bootstrap.confidence:g} %, bootstrap over seeds, each on its own: not corrected for "
        "how many there are; none below 3 seeds.",
    ]
    limit = bootstrap.coverage_limit(len(seeds)) if len(seeds) >= MIN_CLUSTERS else None
    if limit is not None:
        lines.append(
            f"A bootstrap over {len(seeds)} seeds covers at most {limit:.0%}, since it cannot reach beyond the values "
            "seen; verdicts need Student's t interval (t_low, t_high) to agree."
        )
    if sample.num_stopped:
        lines.append(
            "The scheduler chose which trials were completed, so these effects are those of the trials that it kept."
        )
    out.write("".join(f"{line}\n" for line in lines).encode())


def _titled(title: str, table: pa.Table, out: BinaryIO) -> None:
    out.write(f"\n{title}\n".encode())
    out.flush()
    render(table, "table", out)
