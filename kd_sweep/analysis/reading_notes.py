"""What a reader of an analysis has to know: which trials count, and what its intervals and verdicts assume."""

from collections.abc import Iterator

from kd_sweep.analysis.claims.sentences import exact_from
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.study_analysis import Analysis
from kd_sweep.analysis.trial_settings import BOTH, SIZE, STRENGTH, STUDENT
from kd_sweep.analysis.wording import counted, listed
from kd_sweep.statistics.intervals import MIN_CLUSTERS


def nouns(sample: Sample) -> dict[str, str]:
    """Return the dimensions of effects, and what they are called in sentences."""
    names = {STRENGTH: "strength", STUDENT: "student strength", SIZE: "ensemble size"}
    if STUDENT in sample.dimensions:
        names |= {STRENGTH: "teacher strength", BOTH: "teacher and student strength"}
    return names


def _made_of(sample: Sample, num_seeds: int) -> str:
    names = nouns(sample)
    parts = [counted(len(sample.levels(name)), names[name]) for name in sample.dimensions]
    return ", ".join([*parts, counted(num_seeds, "seed")])


def explained(analysis: Analysis) -> list[str]:
    """Return what a reader of the tables has to know: which trials count, what intervals and verdicts assume."""
    sample, bootstrap = analysis.sample, analysis.bootstrap
    num_seeds = len({seed for seeds in sample.trials.keys.values() for seed in seeds})
    lines = [
        f"Study {sample.study}: {counted(sample.num_completed, 'completed trial')} ({_made_of(sample, num_seeds)}); "
        f"left out: {sample.left_out}.",
        *_about_tests(analysis),
        *_about_looks(analysis),
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
    short = sorted({row["num_levels"] or 2 for row in tested if row["is_exact"] is False})
    if short:
        needed = [f"{exact_from(k, num_tests, analysis.bootstrap.confidence)} at {k} strengths" for k in short]
        yield (
            "Exact tests, which hold whatever the distribution, could not decide anything with so few seeds: they take "
            f"{listed(needed)}. Below that a verdict rests on the skewness above."
        )


def _about_looks(analysis: Analysis) -> Iterator[str]:
    """Yield what verdicts are corrected for where seeds are added while they are open."""
    looked = analysis.looked
    if looked is None:
        return
    seeds, looks, number = looked.seeds, looked.looks, looked.num_complete
    if number < seeds.min:
        yield f"Adaptive seeds: {looked.too_early}."
        return
    level = 1 - analysis.bootstrap.confidence
    yield (
        f"Adaptive seeds: {number} of at most {seeds.max}, look {looks.number(number)} of {looks.num_looks}. Verdicts "
        f"are about complete seeds, and p values hold for a look after every seed from {seeds.min} to {seeds.max}, "
        f"whatever ended the study: {looks.spent(number) * level:.2%} of the {level:.0%} are spent so far. Intervals "
        "are not corrected for looks, and where a verdict ended the study early, effects are too large on average."
    )


def _about_strengths(sample: Sample) -> Iterator[str]:
    """Yield whose strengths the dimensions are, where teachers and student have their own."""
    if STUDENT not in sample.dimensions:
        return
    yield (
        "Teachers and student have strengths of their own: augmentation_strength is the teachers' (their mean), "
        "student_strength the student's. One is held equal where the effect of the other is taken."
    )
    arms = [settings for outcome in sample.outcomes for settings in sample.arms(outcome).values()]
    if any(BOTH in sample.dimensions_of(settings) for settings in arms):
        yield (
            "Where an arm has them equal throughout, both_strengths is both at once; a student that learned from "
            "labels alone has nothing of the teachers' one."
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
    yield from _about_strengths(sample)
    if any(setting.mix for setting in sample.trials.keys):
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
        yield "Losses and arms are not averaged: what they can change has a row for each."
    if sample.repeats:
        yield (
            "The study varies seeds of the student apart. Trials that differ in them alone are averaged: an effect has "
            "one observation for each seed, whose teachers they share."
        )
    if any(recipe.control for recipe in sample.recipes.values()):
        yield "Teachers that know nothing (distillation.teacher_control) are controls: no verdict is about them."
    if sample.num_untaught:
        yield (
            f"{counted(sample.num_untaught, 'trial')} learned from labels alone (distillation.loss none, or alpha 1): "
            "no evidence on fidelity and mutual information, whose verdicts leave them out."
        )
