"""Forests of arms and of variance by seeds, row by row against pandas, numpy and scipy, and where there are none."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from scipy import stats

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.drawn_figures import read_figure
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.report.report_content import read_content
from kd_sweep.handles.root_results import open_results
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.study.trial import SEED_LEVELS
from tests.analysis.tables import trial, write_study
from tests.figures.plots.drawn_axes import drawn, frame

ORDER, INITIALISATION, _ = SEED_LEVELS
LEVELS = {"kl": 0.8, "kl, shuffled_labels": 0.7, "kl, fixed": 0.78, "none": 0.72}
"""Accuracy of each arm."""
ARM = "arm"


def study_of(root: Path, rows: list[dict[str, Any]]) -> StudyResults:
    write_study(root, rows, "arms")
    return open_results(root)["arms"]


def arm_rows(seeds: int = 4) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(7)
    for seed, strength, (arm, level) in product(range(seeds), (0.0, 0.5), LEVELS.items()):
        loss, _, what = arm.partition(", ")
        accuracy, fidelity = level + 0.05 * strength + 0.01 * seed + generator.normal(0, 0.004, 2)
        yield trial(
            strength,
            2,
            seed,
            loss=loss,
            distillation_loss=loss,
            distillation_teacher_control="shuffled_labels" if what == "shuffled_labels" else "none",
            distillation_teacher_view="fixed" if what == "fixed" else "consistent",
            val_accuracy=accuracy,
            fidelity_val=fidelity,
        )


def seed_rows(strengths: tuple[float, ...], orders: int, weights: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(11)
    of_order, of_weights = generator.normal(0, 0.02, orders), generator.normal(0, 0.01, weights)
    rows = []
    for strength, order, initial in product(strengths, range(orders), range(weights)):
        levels = {ORDER: order, INITIALISATION: initial}
        accuracy, error = 0.7 + of_order[order] + of_weights[initial] + generator.normal(0, 0.003, 2)
        rows.append(trial(strength, 1, 0, val_accuracy=accuracy, ece=error / 10, **levels))
    return rows


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study of four arms at two strengths, with four seeds."""
    return study_of(tmp_path_factory.mktemp("arms"), list(arm_rows()))


def forest(axes: Axes) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Return by its label what each row marks, and the ends of its bar."""
    labels = [text.get_text() for text in axes.get_yticklabels()]
    bars = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in axes.lines if line.get_gid() == "interval"}
    marks = {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_gid() == "estimate"}
    assert sorted(marks) == list(range(len(labels)))
    return {label: (marks[index], bars.get(index)) for index, label in enumerate(labels)}


def arm_of(row: pd.Series) -> str:
    what = [row["distillation_teacher_control"], row["distillation_teacher_view"]]
    return ", ".join([row["distillation_loss"], *(one for one in what if one not in ("none", "consistent"))])


def test_every_arm_is_the_mean_difference_from_the_usual_one_with_its_t_interval(arms: StudyResults) -> None:
    trials = frame(arms, "trials")
    trials[ARM] = trials.apply(arm_of, axis=1)
    panels = {axes.get_title(): forest(axes) for axes in drawn(arms, "arms")}
    assert list(panels) == ["Validation accuracy", "Validation fidelity"]
    for outcome, found in zip(("val_accuracy", "fidelity_val"), panels.values(), strict=True):
        by_seed = trials.groupby([ARM, "seed"])[outcome].mean().unstack(ARM)
        pairs = [("kl", "kl, shuffled_labels"), ("kl", "kl, fixed"), ("none", "kl")]
        assert set(found) == {f"{first} to {second}".replace("_", " ") for first, second in pairs}
        for first, second in pairs:
            changes = by_seed[second] - by_seed[first]
            mark, bar = found[f"{first} to {second}".replace("_", " ")]
            assert mark == pytest.approx(changes.mean(), abs=1e-12)
            assert bar == pytest.approx(stats.t.interval(0.95, 3, changes.mean(), stats.sem(changes)), abs=1e-9)
    (alone,) = drawn(arms, "arms", "val_accuracy")
    assert forest(alone) == panels["Validation accuracy"]


def test_a_study_with_arms_has_them_in_its_report(arms: StudyResults) -> None:
    figures = {figure.name: figure for figure in read_content(arms, "digest").figures}
    assert "Markers are means over 4 seeds, bars 95 % intervals of the mean" in figures["arms"].caption
    assert "components" not in figures


def test_arms_of_one_seed_have_no_bars_and_no_arm_is_one_line(tmp_path: Path) -> None:
    study = study_of(tmp_path / "one", list(arm_rows(seeds=1)))
    assert all(bar is None for axes in drawn(study, "arms") for _, bar in forest(axes).values())
    assert "(n = 1), so there is no interval" in " ".join(read_figure(study, FIGURES["arms"]).caption)
    alone = study_of(tmp_path / "alone", [row for row in arm_rows() if row["distillation_loss"] == "none"])
    failed = study_of(tmp_path / "failed", [row | {"status": "failed"} for row in arm_rows()])
    for study, why in ((alone, "no two arms"), (failed, "no completed trial")):
        with pytest.raises(QueryError, match=rf"^arms: .*{why}[^\n]*$"):
            read_figure(study, FIGURES["arms"])


def marks_of(axes: Axes) -> dict[str, list[float]]:
    """Return the standard deviations that are marked, by level, from the top row to the last."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in axes.lines:
        if line.get_gid() not in (None, "interval"):
            found.setdefault(line.get_gid(), []).append((line.get_ydata()[0], line.get_xdata()[0]))
    return {level: [value for _, value in sorted(rows)] for level, rows in found.items()}


def test_every_component_is_that_of_the_analysis_of_variance(tmp_path: Path) -> None:
    study = study_of(tmp_path, seed_rows((0.0, 0.5), 3, 4))
    trials = frame(study, "trials")
    panels = drawn(study, "components")
    assert [axes.get_title() for axes in panels] == ["strength 0", "strength 0.5"]
    for axes, strength in zip(panels, (0.0, 0.5), strict=True):
        assert [text.get_text() for text in axes.get_yticklabels()] == [
            "Validation accuracy",
            "Expected calibration error",
        ]
        found = marks_of(axes)
        at = trials[trials["augmentation_strength"] == strength]
        for index, outcome in enumerate(("val_accuracy", "ece")):
            cells = at.pivot(index=ORDER, columns=INITIALISATION, values=outcome).to_numpy()
            of_order, of_weights = cells.mean(1), cells.mean(0)
            rest = ((cells - of_order[:, None] - of_weights + cells.mean()) ** 2).sum() / 6
            squares = {ORDER: (of_order.var(ddof=1), 4), INITIALISATION: (of_weights.var(ddof=1), 3)}
            expected = {level: max(square - rest / number, 0.0) for level, (square, number) in squares.items()}
            for level, variance in {**expected, "rest": rest}.items():
                assert found[level][index] == pytest.approx(variance**0.5, abs=1e-12), (outcome, level)
    caption = " ".join(read_figure(study, FIGURES["components"]).caption)
    assert "Each setting has n = 12 trials. There are no bars" in caption


def test_one_level_alone_has_the_interval_of_its_sample_variance(tmp_path: Path) -> None:
    study = study_of(tmp_path, seed_rows((0.5,), 1, 6))
    (axes,) = drawn(study, "components", "val_accuracy")
    values = frame(study, "trials")["val_accuracy"]
    (mark,) = marks_of(axes)[INITIALISATION]
    assert mark == pytest.approx(values.std(), abs=1e-12)
    (bar,) = [line.get_xdata() for line in axes.lines if line.get_gid() == "interval"]
    ends = 5 * values.var() / stats.chi2.ppf([0.975, 0.025], 5)
    assert list(bar) == pytest.approx(np.sqrt(ends), rel=1e-9)


def test_seeds_without_all_combinations_or_none_at_all_are_one_line(arms: StudyResults, tmp_path: Path) -> None:
    incomplete = study_of(tmp_path, seed_rows((0.5,), 3, 4)[1:])
    for study, why in ((incomplete, "every combination of the seeds"), (arms, "searches no seed of its students")):
        with pytest.raises(QueryError, match=rf"^components: .*{why}[^\n]*$"):
            read_figure(study, FIGURES["components"])
