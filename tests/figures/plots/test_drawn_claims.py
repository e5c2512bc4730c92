"""Forests of effects and best strengths, and the dominated area, row by row against pandas, numpy and scipy."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from scipy import stats

from kd_sweep.handles.study_results import StudyResults
from tests.figures.plots.drawn_axes import drawn, frame
from tests.figures.plots.plotted_studies import write_study

DOWN = {
    "Attention overlap, teachers": "attention_overlap_teachers",
    "Generalization gap": "generalization_gap",
    "Generalization gap, augmented": "generalization_gap_augmented",
    "Training fidelity": "fidelity_train",
    "Validation fidelity": "fidelity_val",
    "Fidelity, augmented validation": "fidelity_val_augmented",
    "Mutual information, training": "mutual_information_train",
    "Mutual information, validation": "mutual_information_val",
    "Mutual information, augmented": "mutual_information_val_augmented",
}
"""Outcomes that the paper claims to fall with strength, gaps in size, by their labels; accuracy is to rise."""
CLAIMED = DOWN | {"Validation accuracy": "val_accuracy"}
OTHERS = {
    "Training accuracy": "train_accuracy",
    "Attention overlap, student": "attention_overlap_student",
    "Expected calibration error": "ece",
    "Accuracy of single teachers": "teacher_accuracy",
    "Accuracy of the ensemble": "ensemble_accuracy",
    "Disagreement of teachers": "diversity_teachers",
}
NO_SHARE = {name for name in DOWN if name.startswith("Mutual")} | {"Generalization gap, augmented"}
"""Not among the effects that are drawn unasked."""
POINT = ["seed", "ensemble_size", "augmentation_strength"]


def moved(number: int, setting: dict[str, Any]) -> dict[str, float]:
    """Outcomes that do depend on the strength, with seeds around them: a hump, a fall, a rise."""
    strength, noise = setting["augmentation_strength"], 0.01 * ((7 * number) % 11 - 5)
    return {
        "val_accuracy": 0.6 + 0.3 * strength - 0.25 * strength**2 + noise,
        "fidelity_val": 0.9 - 0.3 * strength + noise,
        "generalization_gap": 0.1 - 0.2 * strength + noise,
        "mutual_information_val": 1.0 + 0.5 * strength + noise,
    }


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study that is complete, with four seeds, in which strength moves some of the outcomes."""
    return write_study(tmp_path_factory.mktemp("clear"), "clear", seeds=(0, 1, 2, 3), change=moved)


def rows_of(axes: Axes, marker: str) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Return by its label what each row of a forest marks, and the ends of its bar."""
    labels = [text.get_text() for text in axes.get_yticklabels()]
    bars = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in axes.lines if line.get_gid() == "interval"}
    marks = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_gid() == marker}
    assert sorted(marks) == list(range(len(labels)))
    return {label: (marks[index], bars.get(index)) for index, label in enumerate(labels)}


def by_seed(trials: pd.DataFrame, outcome: str, varied: str) -> pd.DataFrame:
    """Return seeds × levels, each the mean over the other field of settings that have every level."""
    other = ({*POINT} - {"seed", varied}).pop()
    values = trials.set_index(["seed", other, varied])[outcome].unstack().dropna()
    return values.groupby("seed").mean()


@pytest.mark.parametrize("panel", [0, 1])
def test_every_effect_is_the_mean_of_paired_differences_with_its_t_interval(clear: StudyResults, panel: int) -> None:
    varied = ("augmentation_strength", "ensemble_size")[panel]
    trials = frame(clear, "trials")
    found = rows_of(drawn(clear, "effects")[panel], "estimate")
    outcomes = {label: name for label, name in (CLAIMED | OTHERS).items() if label not in NO_SHARE}
    if varied == "ensemble_size":
        del outcomes["Attention overlap, teachers"]  # single teachers have none
    assert set(found) == set(outcomes)
    for label, outcome in outcomes.items():
        values = by_seed(trials, outcome, varied)
        changes = values.iloc[:, -1] - values.iloc[:, 0]
        estimate, bar = found[label]
        assert estimate == pytest.approx(changes.mean(), abs=1e-12), label
        expected = stats.t.interval(0.95, len(changes) - 1, changes.mean(), stats.sem(changes))
        assert bar == pytest.approx(expected, abs=1e-9), label


def test_every_best_strength_is_the_farthest_mean_and_its_range_what_none_surpasses(clear: StudyResults) -> None:
    trials = frame(clear, "trials")
    for gap in ("generalization_gap", "generalization_gap_augmented"):
        trials[gap] = trials[gap].abs()
    (axes,) = drawn(clear, "best_strength")
    found = rows_of(axes, "best")
    assert set(found) == set(CLAIMED)
    widths = set()
    for label, outcome in CLAIMED.items():
        outward = by_seed(trials, outcome, "augmentation_strength") * (-1 if label in DOWN else 1)
        best, bar = found[label]
        assert best == outward.mean().idxmax(), label
        border = stats.t.ppf(1 - 0.05 / (len(outward.columns) - 1), len(outward) - 1)
        others = {level: [other for other in outward if other != level] for level in outward}
        inside = [
            level
            for level in outward
            if all(stats.ttest_rel(outward[one], outward[level]).statistic < border for one in others[level])
        ]
        expected = (min([best, *inside]), max([best, *inside]))
        assert bar == expected, label
        widths.add(expected[1] - expected[0])
    assert len(widths) > 1  # not all of them everything, and not all a point


@pytest.mark.parametrize(("first", "second"), [("max", "min"), ("max", "max"), ("min", "max"), ("min", "min")])
def test_the_shaded_area_is_what_the_front_dominates(first: str, second: str, tmp_path: Path) -> None:
    objectives = ({"metric": "val_accuracy", "mode": first}, {"metric": "ece", "mode": second})
    study = write_study(tmp_path, "edge", sizes=(1,), objectives=objectives)
    (axes,) = drawn(study, "pareto")
    (area,) = axes.patches
    x, y = area.get_xy().T
    shoelace = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    # The same by cells: between two neighbouring coordinates either all is dominated or nothing.
    trials = frame(study, "trials")
    xs = np.unique([*axes.get_xlim(), *trials["val_accuracy"]])
    ys = np.unique([*axes.get_ylim(), *trials["ece"]])
    middle_x, middle_y = np.meshgrid((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2, indexing="ij")
    dominated = np.zeros(middle_x.shape, bool)
    for accuracy, error in trials[["val_accuracy", "ece"]].to_numpy():
        better_x = accuracy > middle_x if first == "max" else accuracy < middle_x
        better_y = error > middle_y if second == "max" else error < middle_y
        dominated |= better_x & better_y
    expected = (np.outer(np.diff(xs), np.diff(ys)) * dominated).sum()
    assert shoelace == pytest.approx(expected, rel=1e-9)
    assert expected > 0
