"""Every figure, and the report, of a study that has really run: what is drawn against DuckDB on its Parquet files."""

import json
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from kd_sweep.figures.plots.drawn_figures import FigureOptions
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.plots.saved_figures import save_figures
from kd_sweep.handles.root_results import open_results
from tests.command_line import Cli

NEEDS_MORE = {
    "pareto": "2 or 3 can be drawn",
    "affinity_plane": "metrics.affinity asks for",
    "arms": "no two arms",
    "components": "searches no seed of its students",
}
"""Of a study with one objective and one arm that does not ask for affinity."""
KEYS = ["augmentation_strength", "ensemble_size"]


def rows(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def asked(query: str, **folders: Path) -> pd.DataFrame:
    named = {name: f"read_parquet('{folder}/**/*.parquet', union_by_name=true)" for name, folder in folders.items()}
    return duckdb.sql(query.format(**named)).df()


@pytest.fixture(scope="module")
def plotted(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all figures of the study."""
    out = tmp_path_factory.mktemp("real") / "figures"
    options = FigureOptions(formats=("svg",), size="two-columns")
    missing = save_figures(open_results(examples / "results")["digits"], (), out, options).missing
    told = dict(line.split(": ", 1) for line in missing)
    assert set(told) == set(NEEDS_MORE)
    assert all(reason in told[name] for name, reason in NEEDS_MORE.items())
    return out


@pytest.mark.slow
def test_every_figure_is_drawn_with_its_rows_and_a_caption_that_has_n(plotted: Path) -> None:
    drawn = set(FIGURES) - set(NEEDS_MORE)
    suffixes = ("svg", "csv", "txt")
    assert {path.name for path in plotted.iterdir()} == {f"{name}.{suffix}" for name in drawn for suffix in suffixes}
    captions = {name: (plotted / f"{name}.txt").read_text() for name in drawn}
    assert all("n = " in caption or "attempts at trials" in caption for caption in captions.values())
    assert "single seed (n = 1), so there is no interval" in captions["effects"]
    assert "9 attempts at trials and 9 teachers" in captions["timeline"]


@pytest.mark.slow
def test_means_are_those_of_the_trials(plotted: Path, examples: Path) -> None:
    trials = examples / "results/digits/trials"
    values = "SELECT augmentation_strength, ensemble_size, avg({}) AS mean FROM {{it}} GROUP BY ALL ORDER BY ALL"
    expected = asked(values.format("val_accuracy"), it=trials)
    pd.testing.assert_frame_equal(rows(plotted, "dose_response")[[*KEYS, "mean"]], expected, check_dtype=False)
    for name, outcomes in {
        "triptych": ("fidelity_val", "generalization_gap", "attention_iou_teachers_chance"),
        "fidelity_by_size": ("teacher_accuracy", "ensemble_accuracy"),
        "train_against_val": ("fidelity_train", "fidelity_val"),
    }.items():
        table = rows(plotted, name)
        for outcome in outcomes:
            expected = asked(values.format(outcome), it=trials).dropna().reset_index(drop=True)
            found = table[table["outcome"] == outcome].sort_values(KEYS)[[*KEYS, "mean"]].reset_index(drop=True)
            pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.slow
def test_epochs_spans_and_single_trials_are_those_of_the_tables(plotted: Path, examples: Path) -> None:
    study = examples / "results/digits"
    medians = """SELECT augmentation_strength, ensemble_size, epoch, median(val_accuracy) AS q0_5,
        count(*) AS num_trials FROM {it} GROUP BY ALL ORDER BY ALL"""
    expected = asked(medians, it=study / "epochs")
    found = rows(plotted, "curves").sort_values([*KEYS, "epoch"])[expected.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    ended = asked("SELECT max(finished_at) AS at FROM {it} GROUP BY trial_id", it=study / "epochs")
    ended = pd.concat([ended, asked("SELECT finished_at AS at FROM {it}", it=study / "teachers")])
    shown = pd.to_datetime(rows(plotted, "timeline")["ended_at"], utc=True, format="ISO8601")
    assert sorted(shown) == sorted(pd.to_datetime(ended["at"], utc=True))
    parallel = rows(plotted, "parallel").set_index("trial_id")
    trials = asked("SELECT trial_id, val_accuracy, fidelity_val FROM {it}", it=study / "trials").set_index("trial_id")
    pd.testing.assert_frame_equal(parallel[trials.columns].sort_index(), trials.sort_index())


@pytest.mark.slow
def test_effects_and_best_strengths_are_those_of_the_trials(plotted: Path, examples: Path) -> None:
    effects = rows(plotted, "effects").set_index(["outcome", "varied"])["estimate"]
    whole = asked("SELECT * FROM {it}", it=examples / "results/digits/trials")
    best = rows(plotted, "best_strength").set_index("outcome")["best_level"]
    assert best["val_accuracy"] == whole.groupby(KEYS[0])["val_accuracy"].mean().idxmax()
    for outcome in ("val_accuracy", "fidelity_val", "train_accuracy", "ensemble_accuracy"):
        table = whole.pivot(index=KEYS[1], columns=KEYS[0], values=outcome)
        assert effects[outcome, KEYS[0]] == pytest.approx((table.iloc[:, -1] - table.iloc[:, 0]).mean())
        assert effects[outcome, KEYS[1]] == pytest.approx((table.iloc[-1] - table.iloc[0]).mean())


@pytest.mark.slow
def test_the_report_of_a_real_study_names_its_best_trial_and_is_up_to_date(
    examples: Path, cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "digits.html"
    asking = ("report", examples / "results", "digits", "--out", out)
    assert cli(*asking)[0] == 0
    assert cli(*asking, "--check")[0] == 0
    query = "SELECT trial_id, val_accuracy FROM {it} ORDER BY val_accuracy DESC"
    best = asked(query, it=examples / "results/digits/trials").iloc[0]
    text = out.read_text()
    assert f"Best trial by validation accuracy {best['val_accuracy']:.4f}: " in text
    assert "_gallery" not in text  # its networks are there, and nobody asked for them
    assert "resnet50" in text  # the paper's teacher, where this study has another
    _, analysis, _ = cli("analyse", examples / "results", "digits", "--format", "json")
    assert len(json.loads(analysis)["verdicts"]) == text.count("<li class=")
