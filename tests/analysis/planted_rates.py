"""How often planted effects, margins, interactions and chains are found, and how often intervals hold them.

python -m tests.analysis.planted_rates --runs 4000     # the tables of docs/statistics.md
"""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np

from kd_sweep.analysis.interactions import interactions_table
from kd_sweep.statistics.intervals import Bootstrap
from kd_sweep.statistics.mediation import association, carried
from kd_sweep.statistics.significance import detectable_effect, normal_p, skewed_p
from tests.analysis.error_rates import critical_t, simulated

TESTS = 13
"""Of a study of two strengths with ten outcomes."""
LEVEL = 0.05 / TESTS


def t_of(values_RS: np.ndarray, border: float = 0.0) -> np.ndarray:
    """The t statistic of every study's mean over seeds against a border."""
    return (values_RS.mean(1) - border) / (values_RS.std(1, ddof=1) / np.sqrt(values_RS.shape[1]))


def power(runs: int, seeds: int, effect: float) -> tuple[float, float]:
    """Return how often an effect, in standard deviations between seeds, is found: as verdicts go by, and if normal."""
    t_R = np.abs(t_of(np.random.default_rng(seeds).normal(effect, 1.0, (runs, seeds))))
    return tuple(float((t_R >= critical_t(p, seeds, LEVEL)).mean()) for p in (skewed_p, normal_p))  # type: ignore[return-value]


def equivalence(runs: int, seeds: int, change: float, spread: float, noise: str = "normal") -> dict[str, float]:
    """Return how often each answer is given on a change, in margins, with so much spread between seeds, in margins."""
    generator = np.random.default_rng(seeds)
    noise_RS = (
        generator.normal(size=(runs, seeds)) if noise == "normal" else 1.0 - generator.exponential(size=(runs, seeds))
    )
    values_RS = change + spread * noise_RS
    critical = critical_t(skewed_p, seeds, LEVEL)
    below_R, above_R = t_of(values_RS, 1.0), t_of(values_RS, -1.0)
    equivalent = float(((below_R <= -critical) & (above_R >= critical)).mean())
    beyond = float(((below_R >= critical) | (above_R <= -critical)).mean())
    return {"equivalent": equivalent, "not equivalent": beyond, "undecided": 1.0 - equivalent - beyond}


def chain_coverage(
    runs: int, seeds: int, strengths: int, moves: float, slope: float, direct: float = -0.05
) -> dict[str, float]:
    """Return how often the intervals of slope, carried amount and share hold the truth, how far what is carried is off
    on average, and how often both links are called effects, each at 5 %.
    """
    strengths_C = np.repeat(np.linspace(0.0, 1.0, strengths), 2)
    end_C = np.where(strengths_C == 1.0, 0.5, 0.0) - np.where(strengths_C == 0.0, 0.5, 0.0)
    found: dict[str, list[float]] = {name: [] for name in ("slope", "carried", "share", "bias", "both links")}
    critical = critical_t(skewed_p, seeds, 0.05)
    for run in range(runs):
        generator = np.random.default_rng([run, seeds, strengths])
        shape = (seeds, len(strengths_C))
        x_SC = moves * strengths_C + 0.03 * generator.normal(size=(seeds, 1)) + 0.01 * generator.normal(size=shape)
        y_SC = slope * x_SC + direct * strengths_C + 0.03 * generator.normal(size=(seeds, 1))
        y_SC = y_SC + 0.01 * generator.normal(size=shape)
        link = association(x_SC, y_SC, 0.95, 0.0)
        assert link is not None
        part = carried(x_SC @ end_C, y_SC @ end_C, link, 0.95)
        truth = moves * slope
        assert link.slope.t_interval is not None
        assert part.interval is not None
        assert link.t is not None
        found["slope"].append(link.slope.t_interval.low <= slope <= link.slope.t_interval.high)
        found["carried"].append(part.interval.low <= truth <= part.interval.high)
        if part.share_interval is not None and truth + direct:
            found["share"].append(part.share_interval.low <= truth / (truth + direct) <= part.share_interval.high)
        found["bias"].append(part.value - truth)
        found["both links"].append(min(abs(link.t), abs(float(t_of((x_SC @ end_C)[None])[0]))) >= critical)
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def interaction_coverage(runs: int, seeds: int, difference: float) -> float:
    """Return how often the t interval of an interaction holds the planted one, of three strengths and two sizes."""
    held = []
    for run in range(runs):
        values = 0.5 + 0.01 * np.random.default_rng([run, seeds]).normal(size=(1, seeds, 3, 2))
        values[..., 1] += difference * np.linspace(0.0, 1.0, 3)
        (row,) = interactions_table(
            simulated(values, ("val_accuracy",)), ["val_accuracy"], Bootstrap(resamples=100)
        ).to_pylist()
        held.append(row["t_low"] <= difference <= row["t_high"])
    return float(np.mean(held))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 8])
    arguments = parser.parse_args()
    runs, seeds = arguments.runs, arguments.seeds
    names = [f"{number} seeds" for number in seeds]

    def found(effect: float, number: int) -> str:
        given, if_normal = power(runs, number, effect)
        return f"{given:.2f} ({if_normal:.2f})"

    print_table(
        ["effect", *names], ([f"{effect:g}", *(found(effect, n) for n in seeds)] for effect in (0, 1, 2, 4, 8, 16, 32))
    )
    print_table(
        ["effect", *names], [["detectable", *(found(detectable_effect(1.0, n, LEVEL) or 0.0, n) for n in seeds)]]
    )
    rows = []
    for noise in ("normal", "exponential"):
        for change in (0.0, 0.5, 1.0, 2.0):
            answers = [equivalence(runs, n, change, 0.1, noise) for n in seeds]
            rows.append([noise, f"{change:g}", *("; ".join(f"{share:.3f}" for share in a.values()) for a in answers)])
    print_table(["noise", "change", *names], rows)
    rows = []
    for moves, slope in ((-0.1, 0.5), (-0.1, 0.0), (0.0, 0.5), (0.0, 0.0)):
        for strengths in (2, 5):
            cells = [chain_coverage(runs // 2, n, strengths, moves, slope) for n in seeds]
            texts = ["; ".join(f"{c[name]:.3f}" for name in ("slope", "carried", "share", "both links")) for c in cells]
            rows.append([f"{moves:g}, {slope:g}", str(strengths), *texts])
    print_table(["effect on mediator, slope", "strengths", *names], rows)
    print_table(
        ["interaction", *names],
        ([f"{size:g}", *(f"{interaction_coverage(runs // 4, n, size):.3f}" for n in seeds)] for size in (0.0, 0.1)),
    )


if __name__ == "__main__":
    main()
