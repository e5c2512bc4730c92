"""What a report does not show: few seeds, trials that are missing, caveats of the study, versions that changed."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow.compute as pc

from kd_sweep.analysis.wording import counted
from kd_sweep.figures.report.findings import Findings
from kd_sweep.figures.report.run_facts import status_counts
from kd_sweep.statistics.intervals import MIN_CLUSTERS
from kd_sweep.study.caveats import caveats
from kd_sweep.study.file.frozen import FrozenStudy
from kd_sweep.tables.reader import Results

_OPEN = ("pending", "running", "preempted", "lost", "interrupted")


def limits(results: Results, frozen: FrozenStudy | None, found: Findings, missing_figures: Sequence[str]) -> list[str]:
    """Return what a reader must not take from the report, a sentence or two each.

    Args:
        results: the tables of the study.
        frozen: its study file; None where the tables have none that can be read.
        found: its analysis.
        missing_figures: why figures could not be drawn.
    """
    counts = status_counts(results)
    return [
        *_of_seeds(results),
        *_of_trials(counts),
        *found.remarks,
        *([] if frozen is None else _of_study(frozen)),
        *(f"No figure {reason}." for reason in missing_figures),
    ]


def _of_seeds(results: Results) -> Iterator[str]:
    seeds = len(pc.unique(results.table("trials")["seed"].drop_null()))
    if 0 < seeds < MIN_CLUSTERS:
        yield (
            f"{counted(seeds, 'seed')}: no difference between settings can be told from one between seeds. Intervals "
            f"and verdicts need {MIN_CLUSTERS} seeds at least."
        )


def _of_trials(counts: Mapping[str, int]) -> Iterator[str]:
    if unfinished := sum(counts.get(status, 0) for status in _OPEN):
        yield f"{counted(unfinished, 'trial')} not finished: what follows from them may change what is said here."
    if stopped := counts.get("stopped"):
        yield (
            f"{counted(stopped, 'trial')} stopped early by the scheduler, for their outcomes: averages are of the "
            "trials that were kept, and flatter a setting of which many were stopped."
        )
    if failed := counts.get("failed"):
        yield f"{counted(failed, 'trial')} failed: averages are without them."


def _of_study(frozen: FrozenStudy) -> Iterator[str]:
    yield (
        f"One dataset, {frozen.spec.data.name}, and these networks: what holds here need not hold with others. "
        "Validation images are of the same source as those that were trained on."
    )
    for caveat in caveats(frozen.spec):
        yield f"{caveat[:1].upper()}{caveat[1:]}."
    for package, version in frozen.provenance.items():
        if " since " in version:
            yield f"{package} changed while the study ran ({version}): trials of both need not agree bit for bit."
