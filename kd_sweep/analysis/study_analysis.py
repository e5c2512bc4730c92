"""The statistics of one study: effects and interactions, correlations, verdicts, and the links between claims."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.added_seeds.seed_looks import LookedAt, adaptive_seeds, looked_at
from kd_sweep.analysis.arm_contrasts import ARMS, arm_contrasts
from kd_sweep.analysis.chain import chain_table
from kd_sweep.analysis.claims.margins import MARGINS, Margins, margins_of
from kd_sweep.analysis.claims.paper_claims import loss_arms
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.claims.verdict_tables import levels_table, verdicts_table
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.comparisons import EXTREMES
from kd_sweep.analysis.correlations import correlations_table
from kd_sweep.analysis.effects import effects_table
from kd_sweep.analysis.interactions import interactions_table
from kd_sweep.analysis.sample import Sample, read_sample, trials_of
from kd_sweep.analysis.seed_components import components_table
from kd_sweep.analysis.trial_settings import SIZE, STRENGTH, STUDENT
from kd_sweep.errors import QueryError, alternatives
from kd_sweep.statistics.intervals import Bootstrap
from kd_sweep.tables.reader import Results

TABLES = ("effects", "correlations", "verdicts", "levels", "components", "interactions", "chain")
"""The tables of an analysis, in the order in which they are written."""

_RESAMPLES = (100, 1_000_000)


@dataclass(frozen=True)
class Analysis:
    """The statistics of the completed trials of a study."""

    sample: Sample
    looked: LookedAt | None
    """The looks at a study with adaptive seeds, of which verdicts are about the last."""
    bootstrap: Bootstrap
    outcomes: tuple[str, ...]
    """Those that were asked for; otherwise those that verdicts are about, or all of the study where none are."""
    effects: pa.Table
    """`effects.EFFECTS`"""
    correlations: pa.Table
    """`correlations.CORRELATIONS`"""
    verdicts: pa.Table
    """`verdict_tables.VERDICTS`"""
    levels: pa.Table
    """`verdict_tables.LEVELS`"""
    components: pa.Table
    """`seed_components.COMPONENTS`"""
    interactions: pa.Table
    """`interactions.INTERACTIONS`"""
    chain: pa.Table
    """`chain.CHAIN`"""

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The tables by name, with the numbers of trials and the settings in their metadata."""
        about = {key.encode(): str(value).encode() for key, value in self.about.items()}
        return {name: getattr(self, name).replace_schema_metadata(about) for name in TABLES}

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
    margin: Margins = MARGINS,
) -> Analysis:
    """Return effects of strength and ensemble size, correlations, and verdicts on the paper's claims.

    Args:
        results: a results root or a study.
        study: its name; may be left out if there is only one.
        confidence: of every interval, above 0 and below 1.
        resamples: of the bootstrap.
        outcomes: metrics that the effects and correlations are restricted to; all that the trials have when None.
        margin: how large a change of fidelity is hardly any, for all splits or by outcome, ``{"fidelity_val": 0.01}``.

    Raises:
        QueryError: no such study or outcome, no completed trial, a single strength, an argument out of range. One line.
    """
    bootstrap = _checked(confidence, resamples)
    sample = read_sample(results, study)
    selected = _selected(sample, outcomes)
    looked = _looked_at(results, sample.study)
    judged = verdicts(sample, bootstrap, margins_of(margin), looked)
    return Analysis(
        sample,
        looked,
        bootstrap,
        selected if outcomes else _claimed(judged) or selected,
        effects_table(sample, selected, bootstrap),
        correlations_table(sample, selected, confidence),
        verdicts_table(sample, judged),
        levels_table(sample, judged),
        components_table(sample, selected, confidence),
        interactions_table(sample, selected, bootstrap),
        chain_table(sample, bootstrap),
    )


def _looked_at(results: Results, study: str) -> LookedAt | None:
    """Return the looks at a study; None where its number of seeds is fixed."""
    seeds = adaptive_seeds(results, study)
    return None if seeds is None else looked_at(trials_of(results, study), study, seeds)


def _claimed(judged: Iterable[Verdict]) -> tuple[str, ...]:
    """Return the outcomes that verdicts are about."""
    return tuple(dict.fromkeys(name for verdict in judged if (name := verdict.question.outcome)))


def _checked(confidence: float, resamples: int) -> Bootstrap:
    if not 0.0 < confidence < 1.0:
        raise QueryError(f"confidence: {confidence:g} is not above 0 and below 1; 0.95 is usual")
    if not _RESAMPLES[0] <= resamples <= _RESAMPLES[1]:
        raise QueryError(f"resamples: {resamples} is not between {_RESAMPLES[0]} and {_RESAMPLES[1]}")
    return Bootstrap(confidence, resamples)


def _selected(sample: Sample, outcomes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the outcomes that were asked for, each once; all of them where none were. `QueryError` for others."""
    _check_strengths(sample)
    for name in outcomes or ():
        if name not in sample.outcomes:
            raise QueryError(f"outcome: no completed trial has {name!r}; {alternatives(name, sample.outcomes)}")
    return tuple(dict.fromkeys(outcomes or sample.outcomes))


def pooled_effects(effects: pa.Table) -> pa.Table:
    """Return the effects from the lowest to the highest level that are pooled over settings."""
    return effects.filter(pc.and_(effects["is_pooled"], pc.equal(effects["kind"], EXTREMES)))


def pooled_contrasts(effects: pa.Table) -> pa.Table:
    """Return the effects from one arm to another that are pooled over settings."""
    return effects.filter(pc.and_(effects["is_pooled"], pc.equal(effects["kind"], ARMS)))


def pooled_correlations(correlations: pa.Table) -> pa.Table:
    """Return the correlations over all levels together."""
    for name in (STRENGTH, STUDENT, SIZE):
        correlations = correlations.filter(pc.is_null(correlations[name]))
    return correlations


def _check_strengths(sample: Sample) -> None:
    strengths = sample.levels(STRENGTH)
    varied = any(len(sample.levels(name)) > 1 for name in sample.dimensions if name != SIZE)
    has_arms = any(next(arm_contrasts(sample.arms(outcome)), None) for outcome in sample.outcomes)
    if not varied and not has_arms and not sample.repeats and not loss_arms(sample):
        raise QueryError(
            f"study: every completed trial of {sample.study!r} has augmentation_strength {strengths[0]:g}; effects "
            "need at least two strengths (extend augmentation_strength or student_strength in search and launch again)"
        )
