"""How often verdicts are wrong, by simulation of studies whose truth is known.

python -m tests.analysis.error_rates --runs 2000     # the tables of docs/statistics.md
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import scipy.stats

from kd_sweep.analysis.claims.verdicts import Verdict, verdicts
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import Recipe, Setting
from kd_sweep.statistics.intervals import Bootstrap

OUTCOMES = (
    *("attention_iou_teachers", "generalization_gap", "generalization_gap_augmented"),
    *("fidelity_train", "fidelity_val", "fidelity_val_augmented"),
    *("mutual_information_train", "mutual_information_val", "mutual_information_val_augmented"),
    "val_accuracy",
)
"""Ten outcomes, each judged once."""
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
    _, num_seeds, num_strengths, num_sizes = values.shape
    strengths_K = np.linspace(0.0, 1.0, num_strengths)
    trials = {}
    for k, strength in enumerate(strengths_K):
        for size in range(num_sizes):
            seeds = {
                seed: dict(zip(outcomes, values[:, seed, k, size].tolist(), strict=True))
                for seed in range(num_seeds)
                if not np.isnan(values[0, seed, k, size])
            }
            trials[Setting(float(strength), None, 2 + size, (), ())] = seeds
    recipes = dict.fromkeys(trials, Recipe("kl", 0.1, None, None))
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
        yield verdicts(simulated(values), QUICK, 0.02)


def any_verdict(found: list[Verdict], name: str = "answer") -> bool:
    return any(getattr(verdict, name) in DECIDED for verdict in found)


def rates(noise: Noise, runs: int, seeds: int, strengths: int) -> tuple[float, float, float]:
    """Return the share of studies with a false verdict: as given, if normal, and without correction (a t test)."""
    found = list(studies(noise, runs, seeds, strengths))
    alone = [any(v.p_if_normal.trend is not None and v.p_if_normal.trend.raw <= 0.05 for v in study) for study in found]
    return (
        float(np.mean([any_verdict(study) for study in found])),
        float(np.mean([any_verdict(study, "answer_if_normal") for study in found])),
        float(np.mean(alone)),
    )


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
        answer = next(v.answer for v in verdicts(simulated(values), QUICK, 0.02) if v.question.outcome == OUTCOMES[-1])
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
        found.append(any_verdict(verdicts(simulated(values), QUICK, 0.02)))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--strengths", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10])
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
        cells = [answers(means, arguments.runs // 5, seeds) for seeds in arguments.seeds]
        shown = " | ".join(", ".join(f"{answer} {share:.2f}" for answer, share in sorted(c.items())) for c in cells)
        print(f"| {name} | {shown} |", flush=True)
    print(
        "| uneven failures | " + " | ".join(f"{uneven_failures(arguments.runs, s):.3f}" for s in arguments.seeds) + " |"
    )


if __name__ == "__main__":
    main()
