"""How often verdicts are wrong, by simulation of studies whose truth is known.

python -m tests.analysis.error_rates --runs 2000     # the tables of docs/statistics.md
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import scipy.stats

from kd_sweep.analysis.claims.margins import MARGINS
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.sample import Outcomes, Sample
from kd_sweep.analysis.trial_settings import Recipe, Setting
from kd_sweep.statistics.intervals import Bootstrap
from kd_sweep.statistics.permutations import exact_p, smallest_p
from kd_sweep.statistics.shapes import curvature, trend
from kd_sweep.statistics.significance import PValue, normal_p, skewed_p

OUTCOMES = (
    *("attention_iou_teachers", "generalization_gap", "generalization_gap_augmented"),
    *("fidelity_train", "fidelity_val", "fidelity_val_augmented"),
    *("mutual_information_train", "mutual_information_val", "mutual_information_val_augmented"),
    "val_accuracy",
)
"""Ten outcomes, each judged once."""
CHAIN = (
    ("attention_iou_teachers", "fidelity_val"),
    ("fidelity_val", "val_accuracy"),
    ("fidelity_val", "generalization_gap_augmented"),
)
"""The links between them that are judged."""
QUICK = Bootstrap(resamples=100)
DECIDED = ("supported", "refuted", "mixed")

Generator = np.random.Generator
Noise = Callable[[Generator, tuple[int, ...]], np.ndarray]
"""Of shape (outcomes, seeds, strengths, sizes), added to a level of 0.5."""


def normal(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 0.01 * generator.normal(size=shape)


def exponential(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Every trial's outcome is skewed, at every strength alike."""
    return 0.01 * (generator.exponential(size=shape) - 1.0)


def lognormal(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 0.01 * (generator.lognormal(size=shape) - np.exp(0.5))


def exponential_differences(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The lowest strength has no noise: differences from it have mean zero, and are skewed."""
    noise = exponential(generator, shape)
    noise[:, :, 0] *= 0.0
    return noise


def lognormal_differences(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    noise = lognormal(generator, shape)
    noise[:, :, 0] *= 0.0
    return noise


def images(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Shares of 360 images."""
    return generator.binomial(360, 0.5, size=shape) / 360 - 0.5


def few_errors(generator: Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Shares of 100 images of which a trial gets one or two wrong, if any."""
    return 0.5 - generator.binomial(100, 0.01, size=shape) / 100


NOISES: dict[str, Noise] = {
    "normal": normal,
    "exponential": exponential,
    "lognormal": lognormal,
    "exponential differences": exponential_differences,
    "lognormal differences": lognormal_differences,
    "shares of 360 images": images,
    "one error in 100": few_errors,
}


def simulated(values: np.ndarray, outcomes: tuple[str, ...] = OUTCOMES, **fields: object) -> Sample:
    """Return a study with these values, of shape (outcomes, seeds, strengths, sizes); NaN for a trial that failed."""
    _, _, num_strengths, num_sizes = values.shape
    strengths_K = np.linspace(0.0, 1.0, num_strengths)
    keys, columns = {}, []
    for k, strength in enumerate(strengths_K):
        for size in range(num_sizes):
            seeds = np.flatnonzero(~np.isnan(values[0, :, k, size]))
            if not len(seeds):
                continue  # a study has no setting of which no trial has anything
            keys[Setting(float(strength), None, 2 + size, (), ())] = seeds.tolist()
            columns.append(values[:, seeds, k, size])
    trials = Outcomes(keys, dict(zip(outcomes, np.concatenate(columns, axis=1), strict=True)))
    recipes = dict.fromkeys(keys, Recipe("kl", 0.1, None, None))
    counts = {"num_completed": 1, "num_untaught": 0, "num_stopped": 0, "num_failed": 0, "num_unfinished": 0}
    return Sample("simulated", outcomes, trials, recipes, **(counts | fields))  # type: ignore[arg-type]


def most_of(runs, rate):
    """Return the most false ones of so many runs that a true rate would give in all but one of 10,000 tests."""
    return float(scipy.stats.binom.ppf(0.9999, runs, rate)) / runs


def studies(noise: Noise, runs: int, seeds: int, strengths: int, sizes: int = 1) -> Iterator[list[Verdict]]:
    """Yield the verdicts on studies in which nothing has an effect."""
    for run in range(runs):
        generator = np.random.default_rng([run, seeds, strengths])
        values = 0.5 + noise(generator, (len(OUTCOMES), seeds, strengths, sizes))
        yield verdicts(simulated(values), QUICK, MARGINS)


def any_verdict(found: list[Verdict], name: str = "answer") -> bool:
    return any(getattr(verdict, name) in DECIDED for verdict in found)


def rates(noise: Noise, runs: int, seeds: int, strengths: int) -> tuple[float, float, float]:
    """Return in which share of studies any test of the family is called an effect: as verdicts go by, if differences
    were normal, and of t tests of each outcome on their own.

    A verdict needs such a test, and more. All studies are computed at once: `studies` takes ten thousand times as long.
    """
    values = 0.5 + noise(np.random.default_rng([seeds, strengths]), (runs * len(OUTCOMES), seeds, strengths, 1))
    values_ROSK = values[..., 0].reshape(runs, len(OUTCOMES), seeds, strengths)
    ts_RT = t_statistics(values_ROSK)
    level = 0.05 / ts_RT.shape[1]
    is_called_RT = np.abs(ts_RT) >= critical_t(skewed_p, seeds, level)
    if smallest_p(seeds, strengths) <= level:
        shapes = 2 if strengths > 2 else 1
        for run, test in np.argwhere(is_called_RT[:, : shapes * len(OUTCOMES)]):
            is_called_RT[run, test] = exact_p(values_ROSK[run, test // shapes]) <= level
    alone_RO = np.abs(ts_RT[:, : len(OUTCOMES) * (2 if strengths > 2 else 1) : 2 if strengths > 2 else 1])
    return (
        float(is_called_RT.any(1).mean()),
        float((np.abs(ts_RT) >= critical_t(normal_p, seeds, level)).any(1).mean()),
        float((alone_RO >= critical_t(normal_p, seeds, 0.05)).any(1).mean()),
    )


def t_statistics(values_ROSK: np.ndarray) -> np.ndarray:
    """Return the t statistic of every test of every study, RT: of each outcome the trend and, of three strengths or
    more, the curvature; then of the three links of the chain.
    """
    num_strengths = values_ROSK.shape[-1]
    levels_K = np.linspace(0.0, 1.0, num_strengths)
    shapes_KX = np.stack([trend(levels_K), *([curvature(levels_K)] if num_strengths > 2 else [])], axis=1)
    by_seed_ROSX = values_ROSK @ shapes_KX
    t_ROX = by_errors(by_seed_ROSX.mean(2), by_seed_ROSX.std(2, ddof=1) / np.sqrt(values_ROSK.shape[2]))
    if (values_ROSK.shape[2] - 1) * (num_strengths - 1) < 3:
        return t_ROX.reshape(len(t_ROX), -1)
    links = [slope_t(values_ROSK[:, OUTCOMES.index(x)], values_ROSK[:, OUTCOMES.index(y)]) for x, y in CHAIN]
    return np.concatenate([t_ROX.reshape(len(t_ROX), -1), np.stack(links, axis=1)], axis=1)


def slope_t(x_RSC: np.ndarray, y_RSC: np.ndarray) -> np.ndarray:
    """Return the slope of y on x within settings and seeds, over its jackknife error, of every study."""
    left_x_RSC, left_y_RSC = (
        v - v.mean(1, keepdims=True) - v.mean(2, keepdims=True) + v.mean((1, 2), keepdims=True) for v in (x_RSC, y_RSC)
    )
    xx_RS, xy_RS = (left_x_RSC**2).sum(2), (left_x_RSC * left_y_RSC).sum(2)
    seeds = xx_RS.shape[1]
    without_xx_RS, without_xy_RS = (v.sum(1, keepdims=True) - seeds / (seeds - 1) * v for v in (xx_RS, xy_RS))
    is_known_R = (without_xx_RS > 1e-12).all(1)
    slopes_RS = without_xy_RS / np.where(is_known_R[:, None], without_xx_RS, 1.0)
    slope_R = xy_RS.sum(1) / np.where(is_known_R, xx_RS.sum(1), 1.0)
    return by_errors(slope_R * is_known_R, np.sqrt((seeds - 1) * slopes_RS.var(1)))


def by_errors(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return values over their errors; 0 where there is no error, and so no test."""
    has_error = errors > 1e-12
    return np.where(has_error, values, 0.0) / np.where(has_error, errors, 1.0)


def critical_t(p: PValue, seeds: int, level: float) -> float:
    """Return the least t statistic whose p value is at most a level."""
    low, high = 0.0, 1e6
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if p(middle, seeds) <= level else (middle, high)
    return high


SHAPES = {
    "hump, unequal ends": (0.60, 0.66, 0.64, 0.60, 0.56),
    "hump, equal ends": (0.58, 0.64, 0.66, 0.64, 0.58),
    "levelling off": (0.50, 0.60, 0.64, 0.66, 0.67),
    "straight": (0.60, 0.62, 0.64, 0.66, 0.68),
    "level": (0.60, 0.60, 0.60, 0.60, 0.60),
}
"""Means of accuracy at five strengths; the other nine outcomes do not change."""


def answers(means: tuple[float, ...], runs: int, seeds: int) -> dict[str, float]:
    """Return how often each verdict on accuracy is given, with normal noise and two ensemble sizes."""
    counts: dict[str, int] = {}
    for run in range(runs):
        values = 0.5 + normal(np.random.default_rng([run, seeds]), (len(OUTCOMES), seeds, len(means), 2))
        values[-1] += np.array(means)[:, None]
        found = verdicts(simulated(values), QUICK, MARGINS)
        answer = next(v.answer for v in found if v.question.outcome == OUTCOMES[-1])
        counts[answer] = counts.get(answer, 0) + 1
    return {answer: count / runs for answer, count in counts.items()}


def uneven_failures(runs: int, seeds: int) -> float:
    """Return how often there is any verdict where one size gains 0.05, the other loses it, and a fifth of its trials at
    the highest strength failed.
    """
    found = []
    for run in range(runs):
        generator = np.random.default_rng([run, seeds])
        values = 0.5 + normal(generator, (len(OUTCOMES), seeds, 2, 2))
        values[:, :, 1] += [0.05, -0.05]
        values[:, generator.random(seeds) < 0.2, 1, 1] = np.nan
        found.append(any_verdict(verdicts(simulated(values), QUICK, MARGINS)))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--strengths", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 8])
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=list(NOISES))
    arguments = parser.parse_args()
    print("| noise | strengths | " + " | ".join(f"{seeds} seeds" for seeds in arguments.seeds) + " |")
    print("| --- | --- |" + " --- |" * len(arguments.seeds))
    for name in arguments.noises:
        for strengths in arguments.strengths:
            cells = [rates(NOISES[name], arguments.runs, seeds, strengths) for seeds in arguments.seeds]
            shown = " | ".join(f"{given:.3f} ({if_normal:.3f}; {alone:.2f})" for given, if_normal, alone in cells)
            print(f"| {name} | {strengths} | {shown} |", flush=True)
    for name, means in SHAPES.items():
        cells = [answers(means, arguments.runs, seeds) for seeds in arguments.seeds]
        shown = " | ".join(", ".join(f"{answer} {share:.2f}" for answer, share in sorted(c.items())) for c in cells)
        print(f"| {name} | {shown} |", flush=True)
    print(
        "| uneven failures | " + " | ".join(f"{uneven_failures(arguments.runs, s):.3f}" for s in arguments.seeds) + " |"
    )


if __name__ == "__main__":
    main()
