"""How many seeds to expect of a study with adaptive seeds, before it runs, by simulation.

Shape suffixes: K trend and curvature, R simulated studies, Q questions, S seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import brentq

from kd_sweep.analysis.claims.margins import MARGINS
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.sample import sample_of
from kd_sweep.statistics.intervals import MIN_RESAMPLES, Bootstrap, Floats, Ints, t_quantile
from kd_sweep.statistics.significance import POWER, holm, power
from kd_sweep.statistics.spending import STRICT, Law, Looks, decided_at, running_ts
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.metric_record import Null
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.schema import TRIALS, column_name

Bools = npt.NDArray[np.bool_]

EFFECTS = (0.0, 2.0, 5.0)
"""From the lowest to the highest strength, in standard deviations between seeds of that difference."""

_SEED = 2405
_RUNS = 200
_LEVEL = 0.05


@dataclass(frozen=True)
class PlannedTests:
    """What a study would test."""

    num_questions: int
    """That verdicts are about."""
    num_watched: int
    """Those of them that seeds are added for."""
    has_curvature: bool
    """Whether each has a second test, of the curvature over three strengths or more."""
    num_links: int = 0
    """Tests of outcomes that go together, for which no seed is added."""

    @property
    def number(self) -> int:
        """How many p values are corrected together."""
        return self.num_questions * (1 + self.has_curvature) + self.num_links


def tests_of(trials: Sequence[TrialConfig], searched: Sequence[str], seeds: AdaptiveSeeds) -> PlannedTests:
    """Return what a study would test if these were its trials, each of three seeds and more.

    Args:
        trials: of which all would be completed.
        searched: the study's dimensions.
        seeds: which outcomes matter.
    """
    generator = np.random.default_rng(_SEED)
    rows = [_row(trial, generator) for trial in trials]
    added = [pa.field(column_name(name), pa.string()) for name in searched if column_name(name) not in TRIALS.names]
    sample = sample_of(pa.Table.from_pylist(rows, pa.schema([*TRIALS, *added])), "planned")
    found = [one for one in verdicts(sample, Bootstrap(resamples=MIN_RESAMPLES), MARGINS) if one.p.trend is not None]
    judged = [one for one in found if one.question.mediator is None]
    num_links = sum(one.evidence is not None and one.evidence.basis == "association" for one in found)
    watched = [one for one in judged if one.question.outcome in (seeds.outcomes or sample.outcomes)]
    return PlannedTests(len(judged), len(watched), any(one.p.curvature is not None for one in judged), num_links)


def _row(trial: TrialConfig, generator: np.random.Generator) -> dict[str, object]:
    is_alone = trial.ensemble_size == 1
    known = [name for name, one in REPORTED_METRICS.items() if not (is_alone and Null.ONE_TEACHER in one.null)]
    return {
        **dict(zip(known, generator.uniform(0.4, 0.6, len(known)).tolist(), strict=True)),
        "status": "completed",
        "num_epochs": 1,
        "last_epoch": 1,
        "config": trial.model_dump_json(),
        "augmentation_strength": trial.mean_teacher_strength,
        "ensemble_size": trial.ensemble_size,
        "seed": trial.seed,
    }


@dataclass(frozen=True)
class Simulated:
    """Studies at their end."""

    num_seeds_R: Ints
    is_decided_RQ: Bools
    """Whether the trend of each question is."""
    effects_RQ: Floats
    """As the study has them, in standard deviations between seeds."""


def expected_seeds(tests: PlannedTests, seeds: AdaptiveSeeds, effect: float) -> float:
    """Return the mean number of seeds at which simulated studies end, where differences between seeds are normal.

    Args:
        tests: what is tested: outcomes do not depend on each other, nor do trend and curvature, which is none.
        seeds: of the study.
        effect: of strength on every outcome, in standard deviations between seeds.
    """
    return float(simulated_studies(tests, seeds, np.full(tests.num_questions, effect), _RUNS).num_seeds_R.mean())


def simulated_studies(tests: PlannedTests, seeds: AdaptiveSeeds, effects_Q: Floats, runs: int) -> Simulated:
    """Return so many studies with adaptive seeds at their end, of normal differences with these true effects."""
    looks, generator = Looks(seeds.min, seeds.max), np.random.default_rng(_SEED)
    shape = (1 + tests.has_curvature, runs, tests.num_questions, seeds.max)
    values_KRQS = generator.normal(size=shape)
    values_KRQS[0] += effects_Q[:, None]
    ts_KRQS = running_ts(values_KRQS.reshape(-1, seeds.max)).reshape(shape)
    means_RQS = values_KRQS[0].cumsum(-1) / np.arange(1, seeds.max + 1)
    lowest: dict[Law, Floats] = {}
    num_seeds_R, is_running_R = np.full(runs, seeds.max), np.ones(runs, dtype=bool)
    is_decided_RQ, effects_RQ = np.zeros(shape[1:3], dtype=bool), means_RQS[..., -1].copy()
    for num_seeds in range(seeds.min, seeds.max + 1):
        at_KRQ = ts_KRQS[..., num_seeds - 1]
        for law in STRICT:
            now = decided_at(at_KRQ.ravel(), num_seeds, looks, law).reshape(at_KRQ.shape)
            lowest[law] = np.minimum(lowest[law], now) if law in lowest else now
        ps_KRQ = np.max(list(lowest.values()), axis=0)
        for run in np.flatnonzero(is_running_R):
            is_decided_RQ[run], is_open = _standing(ps_KRQ[:, run], at_KRQ[:, run], num_seeds, looks, tests.num_watched)
            if not is_open:
                num_seeds_R[run], is_running_R[run] = num_seeds, False
                effects_RQ[run] = means_RQS[run, :, num_seeds - 1]
    return Simulated(num_seeds_R, is_decided_RQ, effects_RQ)


def _standing(ps_KQ: Floats, ts_KQ: Floats, num_seeds: int, looks: Looks, num_watched: int) -> tuple[Bools, bool]:
    """Return which questions are decided, and whether one that seeds are added for is neither that nor given up."""
    is_significant_KQ = np.array(holm(ps_KQ.ravel().tolist())).reshape(ps_KQ.shape) <= _LEVEL
    num_open = int((~is_significant_KQ).sum())
    farthest_KQ = (np.abs(ts_KQ) + t_quantile(num_seeds, 1.0 - _LEVEL)) / math.sqrt(num_seeds)
    is_hopeless_KQ = ~is_significant_KQ & (farthest_KQ < _least_effect(looks, max(1, num_open)))
    is_open_Q = ~is_significant_KQ[0] & ~is_hopeless_KQ.all(0)
    return is_significant_KQ[0], bool(is_open_Q[:num_watched].any())


def least_effect(tests: PlannedTests, seeds: AdaptiveSeeds) -> float:
    """Return the effect, in standard deviations between seeds, that all seeds would decide in four studies of five."""
    return _least_effect(Looks(seeds.min, seeds.max), max(1, tests.number))


@lru_cache(maxsize=256)
def _least_effect(looks: Looks, num_open: int) -> float:
    """Return the effect that all seeds would decide in a share of `POWER`, as one of so many tests."""
    level = looks.level(looks.last, _LEVEL / num_open)
    return float(brentq(lambda effect: power(effect, looks.last, level) - POWER, 0.0, 100.0))
