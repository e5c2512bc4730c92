"""The looks at a study with adaptive seeds: its sample after every seed that is complete."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.sample import Sample, sample_of
from kd_sweep.analysis.trial_settings import SIZE, STRENGTH, Setting, described, flat
from kd_sweep.statistics.spending import Looks
from kd_sweep.study.file.yaml_reader import read_yaml
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import ENDED, searched_columns, source_columns

_OF_ROWS = ("status", "seed", "config", STRENGTH, SIZE)


@dataclass(frozen=True)
class LookedAt:
    """A study with adaptive seeds as it was at its looks."""

    seeds: AdaptiveSeeds
    num_complete: int
    """Of the first seeds, how many have ended in every setting."""
    samples: tuple[Sample, ...]
    """At each look so far, in order; none before `seeds.min` seeds are complete."""

    @property
    def now(self) -> Sample | None:
        """The sample at the last look."""
        return self.samples[-1] if self.samples else None

    @property
    def looks(self) -> Looks:
        """All that there can be."""
        return Looks(self.seeds.min, self.seeds.max)

    @property
    def too_early(self) -> str:
        """Why there is no verdict before the first look."""
        return f"there is no look before {self.seeds.min} seeds are complete ({self.num_complete} so far)"


def adaptive_seeds(results: Results, study: str) -> AdaptiveSeeds | None:
    """Return the adaptive seeds that a study was launched with; None where it has a fixed number of them."""
    texts = [row["spec"] for row in results.table("studies").to_pylist() if row["study"] == study and row["spec"]]
    content = read_yaml(texts[0], f"the study {study!r}").content if texts else None
    seeds = content.get("seeds") if isinstance(content, dict) else None
    return AdaptiveSeeds.model_validate_json(json.dumps(seeds)) if isinstance(seeds, dict) else None


def looked_at(trials: pa.Table, study: str, seeds: AdaptiveSeeds) -> LookedAt:
    """Return a study as it was at its looks, of which each has the trials of the first seeds alone.

    What there is at a look depends on the trials of its seeds and on nothing else, in whatever order they ended.

    Args:
        trials: rows of the study.
        study: its name.
        seeds: as it was launched with.

    Raises:
        QueryError: no trial of a look was completed.
    """
    number = num_complete(trials, seeds)
    samples = []
    for num_seeds in range(seeds.min, number + 1):
        known = pc.is_in(trials["seed"], pa.array(seeds.all[:num_seeds], trials["seed"].type))
        samples.append(sample_of(trials.filter(known), study))
    return LookedAt(seeds, number, tuple(samples))


def num_complete(trials: pa.Table, seeds: AdaptiveSeeds) -> int:
    """Return how many of the first seeds are complete: each setting that any seed has has ended in them.

    Seeds are run one after another, so where a second one has begun, the first has shown all settings.
    """
    fields = [*searched_columns(trials.schema), *source_columns(trials.schema)]
    rows = [row for row in trials.select(list(dict.fromkeys([*_OF_ROWS, *fields]))).to_pylist() if _is_known(row)]
    settings = described(rows, (flat(json.loads(row["config"])) for row in rows), fields)
    ended: dict[int, set[Setting]] = {}
    for row, (setting, _) in zip(rows, settings, strict=True):
        if row["status"] in ENDED:
            ended.setdefault(row["seed"], set()).add(setting)
    everything = {setting for setting, _ in settings}
    complete = (ended.get(seed) == everything for seed in seeds.all)
    return next((number for number, is_complete in enumerate(complete) if not is_complete), seeds.max)


def _is_known(row: Mapping[str, Any]) -> bool:
    return None not in (row["config"], row[STRENGTH], row[SIZE], row["seed"])
