"""What figures draw, read back from matplotlib's artists, against pandas on the study's Parquet files."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.path import Path as Outline
from scipy import stats

import kd_sweep
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.drawn_figures import read_figure
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import LIST_METRICS, REPORTED_METRICS
from kd_sweep.tables.writer import StudyWriter
from tests.figures.plots.drawn_axes import drawn, frame, lines
from tests.figures.plots.plotted_studies import EDGES, write_study
from tests.tables.rows import epoch_row, trial_row


def completed(study: StudyResults) -> pd.DataFrame:
    trials = frame(study, "trials")
    return trials[trials["status"] == "completed"]


def check_means(axes: Axes, trials: pd.DataFrame, outcome: str, x: str, by: str, label: Any) -> None:
    found = lines(axes)
    found.pop("chance level", None)
    groups = dict(tuple(trials.dropna(subset=[outcome]).groupby(by)))
    assert set(found) == {label(value) for value in groups}
    for value, group in groups.items():
        means = group.groupby(x)[outcome].mean()
        assert found[label(value)][0] == pytest.approx(means.index.to_list())
        assert found[label(value)][1] == pytest.approx(means.to_list(), rel=1e-12)


def single(path: Outline) -> list[Outline]:
    """Return the rectangles that one path is made of, five vertices each."""
    assert len(path.vertices) % 5 == 0
    return [Outline(path.vertices[start : start + 5]) for start in range(0, len(path.vertices), 5)]


def size_label(size: int) -> str:
    return f"{size} teacher{'s' * (size > 1)}"


def strength_label(strength: float) -> str:
    return f"strength {strength:g}"


@pytest.mark.parametrize("metric", [None, "val_loss"])
def test_dose_response_draws_means_seeds_and_student_t_intervals(whole: StudyResults, metric: str | None) -> None:
    (axes,) = drawn(whole, "dose_response", metric)
    outcome, trials = metric or "val_accuracy", completed(whole)
    check_means(axes, trials, outcome, "augmentation_strength", "ensemble_size", size_label)
    bands = iter(axes.collections)
    for _, group in trials.groupby("ensemble_size"):
        band, points = next(bands), next(bands)
        expected = group[["augmentation_strength", outcome]].sort_values(["augmentation_strength", outcome])
        shown = np.asarray(points.get_offsets())
        np.testing.assert_allclose(shown[np.lexsort((shown[:, 1], shown[:, 0]))], expected, rtol=1e-12)
        edges = {tuple(vertex) for path in band.get_paths() for vertex in path.vertices.round(9).tolist()}
        for strength, values in group.groupby("augmentation_strength")[outcome]:
            if len(values) < 3:
                continue
            half = values.std() / len(values) ** 0.5 * stats.t.ppf(0.975, len(values) - 1)
            ends = np.clip([values.mean() - half, values.mean() + half], 0, np.inf if metric else 1)
            assert {(strength, round(end, 9)) for end in ends} <= edges


def test_triptych_fidelity_by_size_and_train_against_val_draw_means_over_seeds(whole: StudyResults) -> None:
    trials = completed(whole)
    outcomes = ("attention_iou_teachers", "fidelity_val", "generalization_gap")
    panels = drawn(whole, "triptych")
    for axes, outcome in zip(panels, outcomes, strict=True):
        check_means(axes, trials, outcome, "augmentation_strength", "ensemble_size", size_label)
    (chance,) = [line for line in panels[0].lines if line.get_gid() == "chance"]
    of_two = trials[trials["ensemble_size"] == 2].groupby("augmentation_strength")
    assert list(chance.get_ydata()) == pytest.approx(of_two["attention_iou_teachers_chance"].mean().to_list())
    outcomes = ("fidelity_val", "teacher_accuracy", "ensemble_accuracy")
    for axes, outcome in zip(drawn(whole, "fidelity_by_size"), outcomes, strict=True):
        check_means(axes, trials, outcome, "ensemble_size", "augmentation_strength", strength_label)
    (axes,) = drawn(whole, "train_against_val")
    for points in axes.collections:
        size = int(str(points.get_label())[0])
        means = trials[trials["ensemble_size"] == size].groupby("augmentation_strength")
        expected = means[["fidelity_train", "fidelity_val"]].mean()
        np.testing.assert_allclose(np.asarray(points.get_offsets()), expected, rtol=1e-12)


def test_curves_draw_medians_and_where_trials_were_stopped(whole: StudyResults) -> None:
    epochs = frame(whole, "epochs").dropna(subset=["fidelity_val"])
    panels = drawn(whole, "curves", "fidelity_val")
    assert [axes.get_title() for axes in panels] == ["1 teacher", "2 teachers"]
    for size, axes in enumerate(panels, 1):
        found = lines(axes)
        assert found.pop("trials stopped")[0] == [2]
        groups = epochs[epochs["ensemble_size"] == size].groupby("augmentation_strength")
        assert set(found) == {strength_label(strength) for strength in groups.groups}
        for strength, group in groups:
            medians = group.groupby("epoch")["fidelity_val"].median()
            assert found[strength_label(strength)][0] == medians.index.to_list()
            assert found[strength_label(strength)][1] == pytest.approx(medians.to_list(), rel=1e-12)


def test_pareto_draws_every_finished_trial_and_marks_those_that_no_other_beats(whole: StudyResults) -> None:
    trials = frame(whole, "trials")
    points = trials[trials["status"].isin(["completed", "stopped"])][["val_accuracy", "ece"]].to_numpy()
    beaten = [
        any(x >= accuracy and y <= error and (x, y) != (accuracy, error) for x, y in points)
        for accuracy, error in points
    ]
    (axes,) = drawn(whole, "pareto")
    shown = {str(one.get_label()): np.asarray(one.get_offsets()) for one in axes.collections}
    for label, expected in (("dominated trials", points[beaten]), ("Pareto front", points[np.invert(beaten)])):
        np.testing.assert_allclose(sorted(shown[label].tolist()), sorted(expected.tolist()))
    assert 0 < sum(beaten) < len(beaten)


def test_parallel_draws_a_line_for_each_trial_at_its_values(whole: StudyResults) -> None:
    trials = frame(whole, "trials").dropna(subset=["val_accuracy"]).sort_values("val_accuracy")
    (axes,) = drawn(whole, "parallel")
    names = ["augmentation_strength", "ensemble_size", "seed", "ece", "fidelity_val", "val_accuracy"]
    (found,) = axes.collections
    heights = np.array([segment[:, 1] for segment in found.get_segments()])
    values = trials[names].to_numpy(float)
    expected = (values - values.min(0)) / (values.max(0) - values.min(0))
    np.testing.assert_allclose(heights, expected, atol=1e-12)


def test_timeline_draws_each_attempt_from_its_beginning_to_its_end(whole: StudyResults) -> None:
    epochs = frame(whole, "epochs").groupby("trial_id")
    ended = epochs["finished_at"].max()
    began = epochs["finished_at"].min() - pd.Timedelta(seconds=1.5)
    (axes,) = drawn(whole, "timeline")
    boxes = [path.get_extents() for bars in axes.patches for path in single(bars.get_path())]
    bars = sorted((box.x0, box.width) for box in boxes)
    second = pd.Timedelta(seconds=1)
    expected = sorted(zip((began - began.min()) / second, (ended - began) / second, strict=True))
    np.testing.assert_allclose(bars, expected, rtol=1e-9, atol=1e-9)
    assert axes.get_xlabel() == "Time (seconds)"


def test_long_pauses_are_cut_out_of_the_timeline_and_told(tmp_path: Path) -> None:
    hours = [0.0, 1.0, 2.25, 300.0, 301.0, 1000.0]  # each trial runs for an hour: a short pause, and two long ones
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number, hour in enumerate(hours):
            writer.upsert_trial(trial_row(number, last_epoch=2))
            for epoch in (1, 2):
                at = began + datetime.timedelta(hours=hour + (1.0 if epoch == 2 else 0.0))
                row = epoch_row(number, epoch) | {"finished_at": at, "epoch_s": 1e-3, "host": "one", "attempt": 1}
                writer.add_epoch(row)
    study = kd_sweep.open_results(tmp_path)["s"]
    (axes,) = drawn(study, "timeline")
    lefts = sorted(path.get_extents().x0 for bars in axes.patches for path in single(bars.get_path()))
    assert lefts == pytest.approx([0.0, 1.0, 2.25, 3.25, 4.25, 5.25], abs=1e-4)
    cuts = [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "pause"]
    assert cuts == pytest.approx([3.25, 5.25], abs=1e-4)
    assert axes.get_xlabel() == "Time (hours)"
    told = f"2 pauses, of {(300 - 3.25 + 1000 - 302) / 24:.3g} days together, are cut out, at the grey lines"
    assert told in study.plot.svg("timeline").caption


def last_epochs(study: StudyResults) -> pd.DataFrame:
    """The last epochs of completed trials."""
    last = completed(study)[["trial_id", "last_epoch"]].rename(columns={"last_epoch": "epoch"})
    return frame(study, "epochs").merge(last, on=["trial_id", "epoch"])


def test_the_agreement_matrix_draws_means_over_seeds_of_each_pair(whole: StudyResults) -> None:
    of_two = last_epochs(whole).query("ensemble_size == 2")
    panels = drawn(whole, "agreement_matrix")
    groups = dict(tuple(of_two.groupby("augmentation_strength")))
    assert [axes.get_title() for axes in panels] == [f"{strength_label(one)}, 2 teachers" for one in groups]
    for axes, group in zip(panels, groups.values(), strict=True):
        assert [label.get_text() for label in axes.get_yticklabels()] == ["teacher 1", "teacher 2", "student"]
        shown = axes.collections[0].get_array()
        pair = np.mean([values[0] for values in group["agreement_teachers"]])
        members = np.mean(np.stack(group["agreement_student"].to_list()), axis=0)
        assert shown.compressed() == pytest.approx([pair, *members], rel=1e-12)
        written = [float(text.get_text()) for text in axes.texts]
        assert written == pytest.approx([pair, *members], abs=0.005)


def test_reliability_draws_accuracy_and_confidence_of_all_images_of_a_bin(whole: StudyResults) -> None:
    epochs = last_epochs(whole)
    for axes, who in zip(drawn(whole, "reliability"), ("student", "teachers"), strict=True):
        shown = {str(one.get_label()): np.asarray(one.get_offsets()) for one in axes.collections}
        assert len(shown) == 4
        for label, points in shown.items():
            strength, size = float(label.split()[1].rstrip(",")), int(label.split()[2])
            group = epochs[(epochs["augmentation_strength"] == strength) & (epochs["ensemble_size"] == size)]
            columns = [
                np.stack(group[f"reliability_{what}_{who}"].to_list()) for what in ("count", "confidence", "accuracy")
            ]
            counts, confidence, accuracy = (column.astype(float) for column in columns)
            total = counts.sum(0)
            expected = [
                np.nansum(counts * values, axis=0)[total > 0] / total[total > 0] for values in (confidence, accuracy)
            ]
            np.testing.assert_allclose(points, np.stack(expected, axis=1), rtol=1e-12)
            of_many = np.where(total[total > 0] >= 10, points[:, 1], np.nan)
            assert any(np.array_equal(line.get_ydata(), of_many, equal_nan=True) for line in axes.lines)


def test_intervals_of_shares_end_where_shares_do(tmp_path: Path) -> None:
    # Student's t of three seeds, of which one copies no error: its interval reaches below 0 and beyond 1.
    outcome = "fidelity_ensemble_wrong_together_val"
    study = write_study(tmp_path, "wide", change=lambda _, setting: {outcome: float(setting["seed"] > 0)})
    drawing = read_figure(study, FIGURES["teacher_errors"])
    assert "Intervals that reach beyond 0 to 1, the values that there are, are cut." in drawing.caption
    for band in drawn(study, "teacher_errors")[1].collections[::2]:
        (path,) = band.get_paths()
        assert (path.vertices[:, 1].min(), path.vertices[:, 1].max()) == (0, 1)
    (row, *_) = [row for row in drawing.tables[""].to_pylist() if row["outcome"] == outcome]
    assert row["t_low"] < -0.5
    assert row["t_high"] > 1.5


def test_teacher_errors_draws_fidelity_where_they_are_right_err_together_and_err_apart(whole: StudyResults) -> None:
    outcomes = ("right", "wrong_together", "wrong_apart")
    for axes, which in zip(drawn(whole, "teacher_errors"), outcomes, strict=True):
        outcome = f"fidelity_ensemble_{which}_val"
        check_means(axes, completed(whole), outcome, "augmentation_strength", "ensemble_size", size_label)


@pytest.mark.parametrize("metric", [None, "fidelity_val"])
def test_the_affinity_plane_draws_what_differs_from_clean_trials_of_the_seed(
    whole: StudyResults, metric: str | None
) -> None:
    outcome, trials = metric or "val_accuracy", completed(whole)
    (axes,) = drawn(whole, "affinity_plane", metric)
    clean = trials.query("augmentation_strength == 0")[["ensemble_size", "seed", outcome]]
    both = trials.merge(clean, on=["ensemble_size", "seed"], how="left", suffixes=("", "_clean"))
    both["relative"] = both[outcome] - both[f"{outcome}_clean"]
    means = both.groupby(["ensemble_size", "augmentation_strength"])[["affinity", "diversity", "relative"]].mean()
    shown = [one for one in axes.collections if len(one.get_offsets())]
    for points, (_, expected) in zip(shown, means.groupby(level=0), strict=True):
        np.testing.assert_allclose(points.get_offsets(), expected[["affinity", "diversity"]], rtol=1e-12)
        np.testing.assert_allclose(points.get_array(), expected["relative"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["agreement_matrix", "reliability", "teacher_errors", "affinity_plane"])
def test_tables_of_metrics_of_before_say_so_in_one_line(name: str, tmp_path: Path) -> None:
    newer = [metric for metric in REPORTED_METRICS if metric.startswith("fidelity_ensemble") or metric == "affinity"]
    study = write_study(
        tmp_path,
        "old",
        change=lambda number, setting: {"metrics_version": 2, **dict.fromkeys([*LIST_METRICS, *newer])},
    )
    with pytest.raises(QueryError, match=r"no completed trial has .*; theirs are metrics of version 2, and today's"):
        read_figure(study, FIGURES[name])


def test_nulls_are_no_values_of_a_mean(tmp_path: Path) -> None:
    study = EDGES["nulls"](tmp_path)
    trials = completed(study)
    assert 0 < trials["val_accuracy"].isna().sum() < len(trials)
    (axes,) = drawn(study, "dose_response")
    check_means(axes, trials, "val_accuracy", "augmentation_strength", "ensemble_size", size_label)
    for axes, outcome in zip(drawn(study, "fidelity_by_size"), ("fidelity_val", "teacher_accuracy"), strict=False):
        check_means(axes, trials, outcome, "ensemble_size", "augmentation_strength", strength_label)


def test_one_size_is_a_line_alone(tmp_path: Path) -> None:
    study = EDGES["one size"](tmp_path)
    outcomes = ("attention_iou_student", "fidelity_val", "generalization_gap")
    for axes, outcome in zip(drawn(study, "triptych"), outcomes, strict=True):
        (line,) = [line for line in axes.lines if line.get_marker() == "o"]
        means = completed(study).groupby("augmentation_strength")[outcome].mean()
        assert list(line.get_xdata()) == means.index.to_list()
        assert list(line.get_ydata()) == pytest.approx(means.to_list(), rel=1e-12)


@pytest.mark.parametrize("edge", ["all stopped", "all failed"])
def test_curves_have_trials_that_did_not_complete_as_far_as_they_came(edge: str, tmp_path: Path) -> None:
    study = EDGES[edge](tmp_path)
    epochs = frame(study, "epochs")
    reached = set()
    for size, axes in enumerate(drawn(study, "curves"), 1):
        found = lines(axes)
        found.pop("trials stopped", None)
        own = epochs[epochs["ensemble_size"] == size]
        for strength, group in own.groupby("augmentation_strength"):
            medians = group.groupby("epoch")["val_accuracy"].median()
            assert found.pop(strength_label(strength)) == (medians.index.to_list(), pytest.approx(medians.to_list()))
            reached |= set(medians.index)
        assert found == {}
    assert reached == set(epochs["epoch"])


def test_panels_of_curves_have_one_scale(whole: StudyResults) -> None:
    quantiles = frame(whole, "epochs").groupby(["ensemble_size", "augmentation_strength", "epoch"])["val_accuracy"]
    lowest, highest = quantiles.quantile(0.1).min(), quantiles.quantile(0.9).max()
    room = 0.05 * (highest - lowest)
    for axes in drawn(whole, "curves"):
        assert axes.get_ylim() == pytest.approx((lowest - room, highest + room))
