"""The links of the paper's chain: strength, the teachers' overlap, fidelity, generalization; and what one carries.

Shape suffixes: S seeds, C settings, P pairs of settings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.analysis.claims.paper_claims import FIDELITIES, GAPS, IOU, OVERLAP
from kd_sweep.analysis.comparisons import extremes
from kd_sweep.analysis.effects import too_few_seeds
from kd_sweep.analysis.profiles import well_covered
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import BOTH, NO_TEACHING, STRENGTH, STUDENT, Arm, Setting, is_of_teachers
from kd_sweep.analysis.wording import counted
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Bootstrap, Estimate, Floats, Interval
from kd_sweep.statistics.mediation import Association, Carried, association, carried, correlation_to_reach
from kd_sweep.statistics.shapes import least_std

LINKS = (
    *((mediator, outcome) for mediator in (OVERLAP, IOU) for outcome in (*FIDELITIES, *GAPS, "val_accuracy")),
    *((mediator, outcome) for mediator in FIDELITIES for outcome in (*GAPS, "val_accuracy")),
)
"""(mediator, outcome)."""

CHAIN = pa.schema(
    [
        ("study", pa.string()),
        ("varied", pa.string()),
        ("mediator", pa.string()),
        ("outcome", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("on_mediator", pa.float64()),
        ("on_mediator_low", pa.float64()),
        ("on_mediator_high", pa.float64()),
        ("slope", pa.float64()),
        ("slope_low", pa.float64()),
        ("slope_high", pa.float64()),
        ("correlation", pa.float64()),
        ("effect", pa.float64()),
        ("effect_low", pa.float64()),
        ("effect_high", pa.float64()),
        ("carried", pa.float64()),
        ("carried_low", pa.float64()),
        ("carried_high", pa.float64()),
        ("not_carried", pa.float64()),
        ("share", pa.float64()),
        ("share_low", pa.float64()),
        ("share_high", pa.float64()),
        ("rho_to_nothing", pa.float64()),
        ("rho_to_undecided", pa.float64()),
        ("num_settings", pa.int32()),
        ("num_seeds", pa.int32()),
        ("note", pa.string()),
    ]
)
"""The columns are described in docs/statistics.md."""


@dataclass(frozen=True)
class Link:
    """How an outcome goes with a mediator, within settings and seeds."""

    mediator: str
    outcome: str
    settings: tuple[Setting, ...]
    """C: those that count."""
    mediator_SC: Floats
    outcome_SC: Floats
    found: Association
    missing: tuple[str, ...]
    """What was left out, in words."""

    @property
    def num_trials(self) -> int:
        """The trials that count."""
        return int(self.outcome_SC.size)


@dataclass(frozen=True)
class Path:
    """How much of a strength's effect on an outcome goes with its effect on a mediator."""

    from_level: float
    to_level: float
    on_mediator: Estimate
    effect: Estimate
    carried: Carried
    rho_to_nothing: float
    """How strongly a hidden cause would have to make what is left of both correlate for nothing to be carried."""
    rho_to_undecided: float | None
    """The same for the slope's interval to reach nothing; 0 where it does so already, None where there is none."""


def measure_of(outcome: str) -> Callable[[float], float]:
    """Return what is taken of an outcome's values: the size of a gap, as in the claims."""
    return abs if outcome in GAPS else float


def link_of(sample: Sample, settings: Sequence[Setting], mediator: str, outcome: str, confidence: float) -> Link | str:
    """Return how two outcomes go together within settings and seeds, or why that is not known.

    A setting counts if enough seeds have it, a seed if it has every setting that counts.
    """
    of_mediator, of_outcome = sample.trials.of(mediator), sample.trials.of(outcome)
    seeds_of = {setting: of_mediator[setting].keys() & of_outcome[setting].keys() for setting in settings}
    counts = {at: len(seeds_of[setting]) for at, setting in enumerate(settings)}
    kept = [settings[at] for at in well_covered(counts) if counts[at] > 1] if counts else []
    if len(kept) < 2:
        return "no two settings were run with the same two seeds; search `seed` as a grid"
    seeds = {seed for setting in kept for seed in sample.trials.keys[setting]}
    complete = sorted(set.intersection(*(seeds_of[setting] for setting in kept)))
    if len(complete) < 2:
        return f"{counted(len(complete), 'seed')} of {len(seeds)} has all of its {len(kept)} settings"
    mediator_SC, outcome_SC = (
        np.array([[measure_of(name)(values[setting][seed]) for setting in kept] for seed in complete])
        for name, values in ((mediator, of_mediator), (outcome, of_outcome))
    )
    found = association(mediator_SC, outcome_SC, confidence, sample.steps.get(outcome, 0.0))
    if found is None:
        return f"{mediator} does not vary within settings and seeds"
    few = len([at for at in counts if counts[at]]) - len(kept)
    missing = (
        *([f"{counted(few, 'setting')} of few seeds"] if few else []),
        *(
            [f"{counted(len(seeds) - len(complete), 'seed')} without all settings"]
            if len(seeds) > len(complete)
            else []
        ),
    )
    return Link(mediator, outcome, tuple(kept), mediator_SC, outcome_SC, found, missing)


def path_of(sample: Sample, link: Link, varied: str, bootstrap: Bootstrap) -> Path | None:
    """Return how much the mediator carries of a strength's effect; None where no two settings differ in it alone."""
    comparison = extremes(link.settings, varied)
    if comparison is None:
        return None
    assert comparison.from_level is not None
    assert comparison.to_level is not None
    places = {setting: at for at, setting in enumerate(link.settings)}
    low_P, high_P = zip(*((places[low], places[high]) for low, high in comparison.pairs), strict=True)
    on_mediator_S, effect_S = (
        (values_SC[:, high_P] - values_SC[:, low_P]).mean(1) for values_SC in (link.mediator_SC, link.outcome_SC)
    )
    on_mediator, effect = (
        bootstrap.estimate(values_S, least_std(np.array([-1.0, 1.0]), sample.steps.get(name, 0.0)))
        for name, values_S in ((link.mediator, on_mediator_S), (link.outcome, effect_S))
    )
    interval = link.found.slope.t_interval
    half = None if interval is None else (interval.high - interval.low) / 2
    return Path(
        comparison.from_level,
        comparison.to_level,
        on_mediator,
        effect,
        carried(on_mediator_S, effect_S, link.found, bootstrap.confidence),
        correlation_to_reach(link.found, 0.0),
        None if half is None else correlation_to_reach(link.found, half),
    )


def moved_by(sample: Sample, mediator: str, settings: Sequence[Setting]) -> list[str]:
    """Return the strengths that can move a mediator, and that vary among the settings."""
    names = (STRENGTH, BOTH) if is_of_teachers(mediator) else (STRENGTH, STUDENT, BOTH)
    known = sample.dimensions_of(settings)
    return [name for name in names if name in known and len(sample.levels(name, settings)) > 1]


def chain_table(sample: Sample, bootstrap: Bootstrap) -> pa.Table:
    """Return every link of the chain with what it carries of each strength's effect, as `CHAIN`."""
    rows = []
    for mediator, outcome in LINKS:
        if not {mediator, outcome} <= set(sample.outcomes):
            continue
        for arm, settings in taught_arms(sample, mediator, outcome):
            link = link_of(sample, settings, mediator, outcome, bootstrap.confidence)
            if isinstance(link, str):
                continue
            labels: dict[str, Any] = {"study": sample.study, "mediator": mediator, "outcome": outcome}
            labels |= {"distillation_loss": arm.label, "attention_maps": arm.maps}
            for varied in moved_by(sample, mediator, settings):
                rows += [labels | {"varied": varied} | row for row in _rows(sample, link, varied, bootstrap)]
    return pa.Table.from_pylist(rows, schema=CHAIN)


def taught_arms(sample: Sample, mediator: str, outcome: str) -> Iterator[tuple[Arm, list[Setting]]]:
    """Yield the arms of students that learned from teachers that know something."""
    for arm, settings in sample.arms(mediator, outcome).items():
        if arm.loss != NO_TEACHING and arm.control is None:
            yield arm, settings


def _rows(sample: Sample, link: Link, varied: str, bootstrap: Bootstrap) -> Iterator[dict[str, Any]]:
    path = path_of(sample, link, varied, bootstrap)
    if path is None:
        return
    seeds = len(link.outcome_SC)
    note = too_few_seeds(seeds) if seeds < MIN_CLUSTERS else None
    left_out = f"left out: {', '.join(link.missing)}" if link.missing else None
    yield {
        "from_level": path.from_level,
        "to_level": path.to_level,
        **_columns("on_mediator", path.on_mediator.value, path.on_mediator.t_interval),
        **_columns("slope", link.found.slope.value, link.found.slope.t_interval),
        "correlation": link.found.correlation,
        **_columns("effect", path.effect.value, path.effect.t_interval),
        **_columns("carried", path.carried.value, path.carried.interval),
        "not_carried": path.effect.value - path.carried.value,
        **_columns("share", path.carried.share, path.carried.share_interval),
        "rho_to_nothing": path.rho_to_nothing,
        "rho_to_undecided": path.rho_to_undecided,
        "num_settings": len(link.settings),
        "num_seeds": seeds,
        "note": "; ".join(filter(None, [note, left_out])) or None,
    }


def _columns(name: str, value: float | None, interval: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
