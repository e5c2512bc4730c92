"""The evidence of a study's trials on one question, before it is judged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from kd_sweep.analysis.chain import Link, Path, link_of
from kd_sweep.analysis.claims.paper_claims import SHUFFLED, SPLIT_FIDELITIES, Question, loss_arms
from kd_sweep.analysis.correlations import within_seeds
from kd_sweep.analysis.profiles import Profiles, pair_profiles, profiles
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import LOSS, Setting
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Bootstrap, Estimate, Floats, Interval
from kd_sweep.statistics.permutations import exact_p
from kd_sweep.statistics.shapes import (
    Contrast,
    Level,
    against_lowest,
    contrast_of,
    curvature,
    ends,
    extreme_levels,
    least_std,
    mean_contrast,
    trend,
)

Basis = Literal["profiles", "ranks", "losses", "association", "carried"]


class Border(NamedTuple):
    """The test of an effect against a value."""

    contrast: Contrast
    tested_SK: Floats
    """The outcome of every seed at every level, less that value at the highest."""


@dataclass(frozen=True)
class Along:
    """What an outcome does along three strengths or more."""

    means: tuple[tuple[float, float], ...]
    """(level, mean over seeds)."""
    curvature: Contrast
    against_lowest: tuple[Level, ...]
    best_level: float
    """Where the outcome is farthest in the claim's direction."""
    best_range: Interval | None
    turn: float | None
    """The inner level at the top of a hump, or the bottom of a valley, if the range that it lies in has neither end."""


@dataclass(frozen=True)
class Evidence:
    """Effect, tests and what was left out."""

    basis: Basis
    effect: Estimate
    """From the lowest to the highest level; the mean rank correlation, where strengths are not repeated."""
    trend: Contrast
    """What is judged: of two levels the same as the effect."""
    tested_SK: Floats | None = field(repr=False, compare=False)
    """What `exact` permutes: the outcome of every seed at every level, less the margin; None where nothing does."""
    num_levels: int
    num_pairs: int
    missing: tuple[str, ...] = ()
    from_level: float | None = None
    to_level: float | None = None
    along: Along | None = None
    below: Border | None = None
    """Of the effect against the margin below zero, where a claim is that something hardly changes."""
    ends: tuple[float, float] | None = None
    """Signed means at the two ends, where the claim is about a size."""
    step: float = 0.0
    """The resolution of the outcome."""
    chance_share: float | None = None
    """The greatest share of the outcome, among the settings compared, that shuffled images have as well."""
    random_teachers: bool = False
    """Whether teachers started from random weights."""
    among: tuple[tuple[str, Estimate], ...] = ()
    """Of fidelity: the effect on some of the images, which are described in words."""
    link: Link | None = None
    """Where the question is about two outcomes."""
    path: Path | None = None
    """Where it is about what one of them carries."""

    @property
    def contrasts(self) -> dict[str, Contrast]:
        """What is tested, by the names of `verdict_record.Tests`, where seeds show a spread to judge by."""
        found = {
            "trend": self.trend,
            **({"curvature": self.along.curvature} if self.along else {}),
            **({"below": self.below.contrast} if self.below else {}),
        }
        return {name: contrast for name, contrast in found.items() if contrast.t is not None}

    def exact_of(self, name: str) -> float | None:
        """Return `exact_p` of one of `contrasts`; None where there is no exact test."""
        return self._exact_below if name == "below" else self.exact

    @cached_property
    def exact(self) -> float | None:
        """`exact_p` over all levels."""
        return None if self.tested_SK is None else exact_p(self.tested_SK)

    @cached_property
    def _exact_below(self) -> float | None:
        return None if self.below is None else exact_p(self.below.tested_SK)


def evidence_on(sample: Sample, question: Question, bootstrap: Bootstrap, margin: float | None) -> Evidence | str:
    """Return what the trials show on a question, or why nothing.

    Args:
        sample: the study's trials.
        question: one that the study can answer.
        bootstrap: how intervals are taken.
        margin: how large a change is still hardly any, where the claim is that there is hardly any.
    """
    outcome, varied = question.outcome, question.varied
    assert outcome is not None
    if question.mediator is not None:
        link = link_of(sample, question.settings, question.mediator, outcome, bootstrap.confidence)
        return _of_link(sample, link) if isinstance(link, Link) else link
    assert varied is not None
    if varied == LOSS:
        balanced: Profiles | None = pair_profiles(sample, outcome, loss_arms(sample))
        none, most_seeds = "no seed was run with both losses and everything else equal", MIN_CLUSTERS
    else:
        balanced = profiles(sample, outcome, question.settings, varied, question.claim.measure)
        none = "no seed was run at two strengths with everything else equal; search `seed` as a grid"
        most_seeds = _most_seeds(sample, outcome, question.settings)
        if most_seeds < MIN_CLUSTERS:
            ranks = within_seeds(sample, outcome, question.settings, varied, question.claim.measure)
            if len(ranks) > (balanced.num_seeds if balanced else 0):
                return _of_ranks(ranks, bootstrap)
    if balanced is not None and balanced.num_seeds:
        return _of_profiles(sample, question, balanced, bootstrap, margin)
    is_torn = balanced is not None and balanced.missing and most_seeds > 1
    return f"no seed is complete: not in it are {'; '.join(balanced.missing)}" if balanced and is_torn else none


def _most_seeds(sample: Sample, outcome: str, settings: Sequence[Setting]) -> int:
    """Return how many seeds a setting was run with at most: strengths drawn from a range are hardly repeated."""
    return max(len(sample.trials.of(outcome)[setting]) for setting in settings)


def _of_profiles(
    sample: Sample, question: Question, balanced: Profiles, bootstrap: Bootstrap, margin: float | None
) -> Evidence:
    levels_K, values_SK = balanced.levels_K, balanced.values_SK
    assert question.outcome is not None
    step = sample.steps.get(question.outcome, 0.0)
    effect, tested_SK = _of_ends(balanced, bootstrap, step, margin or 0.0)
    is_long = len(levels_K) > 2
    return Evidence(
        basis="losses" if question.varied == LOSS else "profiles",
        effect=effect.estimate,
        trend=contrast_of(values_SK, trend(levels_K), bootstrap, step) if is_long else effect,
        tested_SK=tested_SK,
        num_levels=len(levels_K),
        num_pairs=balanced.num_pairs,
        missing=balanced.missing,
        from_level=None if question.varied == LOSS else float(levels_K[0]),
        to_level=None if question.varied == LOSS else float(levels_K[-1]),
        along=_along(question, levels_K, values_SK, bootstrap, step) if is_long else None,
        below=_of_ends(balanced, bootstrap, step, -margin) if margin else None,
        ends=_signed_ends(sample, question),
        step=step,
        chance_share=_chance_share(sample, question.outcome, question.settings),
        random_teachers=any(sample.recipes[setting].random_teachers for setting in question.settings),
        among=tuple(_among(sample, question, bootstrap)),
    )


def _of_link(sample: Sample, link: Link) -> Evidence:
    slope = link.found.slope
    return Evidence(
        basis="association",
        effect=slope,
        trend=Contrast(slope, link.found.t),
        tested_SK=None,
        num_levels=0,
        num_pairs=link.num_trials,
        missing=link.missing,
        random_teachers=any(sample.recipes[setting].random_teachers for setting in link.settings),
        link=link,
    )


def _among(sample: Sample, question: Question, bootstrap: Bootstrap) -> Iterator[tuple[str, Estimate]]:
    """Yield the effect on fidelity among images that the teachers get right or wrong, with the images in words."""
    if question.outcome != "fidelity_val" or question.varied is None:
        return
    for name, where in SPLIT_FIDELITIES.items():
        if question.varied == LOSS:
            balanced: Profiles | None = pair_profiles(sample, name, loss_arms(sample))
        else:
            have = [setting for setting in question.settings if sample.trials.of(name)[setting]]
            balanced = profiles(sample, name, have, question.varied)
        if balanced is not None and balanced.num_seeds:
            yield where, _of_ends(balanced, bootstrap, sample.steps.get(name, 0.0), 0.0).contrast.estimate


def _of_ends(balanced: Profiles, bootstrap: Bootstrap, step: float, border: float) -> Border:
    """Return the test of the change from the lowest to the highest level against a border."""
    values_SK, end_K = balanced.values_SK, ends(balanced.levels_K)
    contrast = mean_contrast(values_SK @ end_K, bootstrap, border=border, noise=least_std(end_K, step))
    return Border(contrast, values_SK - np.linspace(0.0, border, len(end_K)))


def _of_ranks(ranks: dict[int, tuple[float, int]], bootstrap: Bootstrap) -> Evidence:
    rhos_S = np.array([rho for rho, _ in ranks.values()])
    contrast = mean_contrast(rhos_S, bootstrap)
    estimate = contrast.estimate
    if estimate.t_interval is not None:
        inside = Interval(max(-1.0, estimate.t_interval.low), min(1.0, estimate.t_interval.high))
        estimate = replace(estimate, t_interval=inside)
    signs_S2 = np.stack([np.zeros_like(rhos_S), rhos_S], axis=1)
    num_trials = sum(number for _, number in ranks.values())
    return Evidence("ranks", estimate, contrast, signs_S2, 2, num_trials)


def _along(question: Question, levels_K: Floats, values_SK: Floats, bootstrap: Bootstrap, step: float) -> Along:
    bow = contrast_of(values_SK, curvature(levels_K), bootstrap, step)
    confidence = bootstrap.confidence
    best, best_range = extreme_levels(values_SK, levels_K, question.claim.direction, confidence, step)
    turn, turn_range = extreme_levels(values_SK, levels_K, 1 if bow.estimate.value > 0 else -1, confidence, step)
    is_inside = turn_range is not None and levels_K[0] < turn_range.low <= turn_range.high < levels_K[-1]
    return Along(
        means=tuple(zip(levels_K.tolist(), values_SK.mean(0).tolist(), strict=True)),
        curvature=bow,
        against_lowest=tuple(against_lowest(values_SK, levels_K, bootstrap, step)),
        best_level=best,
        best_range=best_range,
        turn=turn if is_inside else None,
    )


def _signed_ends(sample: Sample, question: Question) -> tuple[float, float] | None:
    if not question.claim.is_of_size or question.varied is None or question.outcome is None:
        return None
    signed = profiles(sample, question.outcome, question.settings, question.varied)
    assert signed is not None
    return float(signed.values_SK[:, 0].mean()), float(signed.values_SK[:, -1].mean())


def _chance_share(sample: Sample, outcome: str, settings: tuple[Setting, ...]) -> float | None:
    """Return the greatest share of an outcome that its shuffled counterpart has, over the settings."""
    shares = []
    for setting in settings:
        own, shuffled = (sample.trials.of(name)[setting] for name in (outcome, outcome + SHUFFLED))
        seeds = [seed for seed in own if seed in shuffled]
        total = sum(own[seed] for seed in seeds)
        if total > 0:
            shares.append(sum(shuffled[seed] for seed in seeds) / total)
    return max(shares, default=None)
