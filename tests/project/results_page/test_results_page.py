"""Numbers in docs/results/ are those of the tables kept there, computed again without kd_sweep."""

import json
import re
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from kd_sweep.analysis.added_seeds.decision import decide
from kd_sweep.handles.root_results import open_results
from kd_sweep.networks.architectures.resnet import CifarResNet
from kd_sweep.study.file.load import load_spec
from kd_sweep.study.space.plan import plan
from tests.command_line import Cli
from tests.project.pages import README, ROOT
from tests.project.results_page.draw_results import (
    CLAIMS,
    GRAD_CAM,
    RESULTS,
    STUDY,
    maps_of_claims,
    pictures,
    verdicts_of_claims,
    write_root,
)

PAGE = (RESULTS / "cifar10-strength.md").read_text()
CLAIMS_PAGE = (RESULTS / f"{CLAIMS}.md").read_text()
TRIALS = pd.read_csv(RESULTS / "cifar10-strength-trials.csv").assign(
    generalization_gap_augmented=lambda trials: trials.train_accuracy - trials.val_augmented_accuracy
)
DRAWN_WITH = "3.11.2"
"""The version of matplotlib that drew the figures on the page."""
EXACT_TO = 6e-5
"""Figures on the page have four decimals."""


def rows_below(heading: str) -> list[list[str]]:
    """Return the cells of the Markdown table below a heading, without its header."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^#", section, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def trials_of(study: str) -> pd.DataFrame:
    return TRIALS[TRIALS.study == study]


@pytest.mark.parametrize("study", [STUDY, GRAD_CAM])
def test_the_table_of_trials_is_the_study_s(study: str) -> None:
    settings = [f"name={study}"] + ["metrics.attention=grad_cam"] * (study == GRAD_CAM)
    planned = plan(load_spec(ROOT / f"sweeps/{STUDY}.yaml", settings))
    wanted = {
        (trial.config.student_strength, trial.config.ensemble_size, trial.config.seed, trial.config.student.epochs)
        for trial in planned.trials
    }
    trials = trials_of(study)
    found = zip(trials.augmentation_strength, trials.ensemble_size, trials.seed, trials.last_epoch, strict=True)
    assert sorted(found) == sorted(wanted)
    assert set(trials.status) == {"completed"}
    assert trials.trial_id.is_unique


def test_means_and_spreads() -> None:
    header, _, *rows = rows_below("Means")
    groups = trials_of(STUDY).groupby(["augmentation_strength", "ensemble_size"])
    assert [(float(row[0]), int(row[1])) for row in rows] == list(groups.groups)
    for (_, trials), row in zip(groups, rows, strict=True):
        for name, cell in zip(header[2:], row[2:], strict=True):
            if trials[name].isna().all():
                assert cell == "-"
                continue
            mean, spread = (float(part) for part in cell.split(" ± "))
            assert mean == pytest.approx(trials[name].mean(), abs=EXACT_TO)
            assert spread == pytest.approx(trials[name].std(), abs=EXACT_TO)


def differences(study: str, outcome: str) -> pd.Series:
    """Return, for each seed, the mean over sizes of the value at the highest strength minus that at the lowest; of
    gaps, of their size.
    """
    trials = trials_of(study).dropna(subset=outcome)
    values = trials.pivot_table(outcome, ["ensemble_size", "seed"], "augmentation_strength")
    values = values.abs() if outcome.startswith("generalization_gap") else values
    return (values[0.5] - values[0.0]).groupby("seed").mean()


def check_effects(rows: list[list[str]], study: str) -> None:
    for name, effect, interval, *_ in rows:
        outcome = name.split("`")[0]
        by_seed = differences(study, outcome)
        half = stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std() / len(by_seed) ** 0.5
        low, high = (float(bound) for bound in interval.strip("[]").split(", "))
        assert float(effect) == pytest.approx(by_seed.mean(), abs=EXACT_TO)
        assert (low, high) == pytest.approx((by_seed.mean() - half, by_seed.mean() + half), abs=2 * EXACT_TO)


def test_effects_and_verdicts() -> None:
    _, _, *rows = rows_below("Effects and verdicts")
    check_effects(rows, STUDY)
    printed = (RESULTS / "cifar10-strength-analysis.txt").read_text()
    given = re.findall(r"^- (\w+): stronger augmentation .*? \((\w+)[^)]*\)\. From", printed, re.MULTILINE)
    assert [(row[5], row[0].split("`")[0]) for row in rows] == [
        (verdict.lower(), outcome) for verdict, outcome in given
    ]


def slope_p(mediator: str, outcome: str) -> float:
    """Return the p value of the slope within settings and seeds, with an error that leaves out each seed."""
    trials = trials_of(STUDY).dropna(subset=[mediator, outcome])
    x, y = (
        trials.pivot_table(name, "seed", ["augmentation_strength", "ensemble_size"]).to_numpy()
        for name in (mediator, outcome)
    )
    x, y = (
        np.abs(values) if name.startswith("generalization_gap") else values
        for name, values in ((mediator, x), (outcome, y))
    )

    def slope(x: np.ndarray, y: np.ndarray) -> float:
        x, y = (v - v.mean(1, keepdims=True) - v.mean(0, keepdims=True) + v.mean() for v in (x, y))
        return float((x * y).sum() / (x * x).sum())

    seeds = len(x)
    without = np.array([slope(np.delete(x, seed, 0), np.delete(y, seed, 0)) for seed in range(seeds)])
    error = np.sqrt((seeds - 1) / seeds * ((without - without.mean()) ** 2).sum())
    return float(2 * stats.t.sf(abs(slope(x, y) / error), seeds - 1))


def test_p_values_of_normal_differences() -> None:
    """Straight line and curvature over three strengths, which verdicts go by, corrected (Holm) together with the three
    slopes between outcomes.
    """
    _, _, *rows = rows_below("Effects and verdicts")
    tests: dict[tuple[str, str], float] = {
        (mediator, outcome): slope_p(mediator, outcome)
        for mediator, outcome in (
            ("attention_iou_teachers", "fidelity_val"),
            ("fidelity_val", "val_accuracy"),
            ("fidelity_val", "generalization_gap_augmented"),
        )
    }
    for outcome in (row[0].split("`")[0] for row in rows):
        trials = trials_of(STUDY).dropna(subset=outcome)
        values = trials.pivot_table(outcome, ["ensemble_size", "seed"], "augmentation_strength")
        values = values.abs() if outcome.startswith("generalization_gap") else values
        for name, by_seed in {
            "trend": values[0.5] - values[0.0],
            "curvature": values[0.25] - (values[0.0] + values[0.5]) / 2,
        }.items():
            tests[outcome, name] = stats.ttest_1samp(by_seed.groupby("seed").mean(), 0).pvalue
    ordered = sorted(tests, key=tests.__getitem__)
    found: set[tuple[str, str]] = set()
    largest = 0.0
    for rank, test in enumerate(ordered):
        largest = max(largest, (len(ordered) - rank) * tests[test])
        if largest <= 0.05:
            found.add(test)
    needed = {"refuted": "trend", "supported": "trend", "mixed": "curvature"}
    given = {(row[0].split("`")[0], needed[row[6]]) for row in rows if row[6] in needed}
    assert given <= found
    assert {outcome for outcome, name in found if name == "trend"} <= {outcome for outcome, _ in given}
    assert all(float(row[3].split(", ")[0]) >= tests[row[0].split("`")[0], "trend"] for row in rows)


def test_the_analysis_is_that_of_the_table_of_trials() -> None:
    """The figures that it prints of the effects are those of the page."""
    printed = (RESULTS / "cifar10-strength-analysis.txt").read_text()
    for row in rows_below("Effects and verdicts")[2:]:
        assert f"changes by {row[1]} (mean of 3 seeds" in printed


def test_figures_and_analysis_are_those_that_the_table_gives_now(tmp_path: Path, cli: Cli) -> None:
    """In words in any case; picture by picture where matplotlib is the one that drew them."""
    write_root(tmp_path)
    found = pictures(tmp_path)
    shown = re.findall(r"^!\[[^]]+\]\((\S+\.svg)\)\n\n((?:.+\n)+)", f"{PAGE}\n{CLAIMS_PAGE}", re.MULTILINE)
    assert {name: " ".join(caption.split()) for name, caption in shown} == {
        name: caption for name, (_, caption) in found.items()
    }
    assert verdicts_of_claims() in CLAIMS_PAGE
    assert maps_of_claims() in CLAIMS_PAGE
    for study in (STUDY, CLAIMS):
        _, printed, _ = cli("analyse", RESULTS if study == CLAIMS else tmp_path, study)
        assert printed == (RESULTS / f"{study}-analysis.txt").read_text()
    if matplotlib.__version__ == DRAWN_WITH:
        assert {name: (RESULTS / name).read_text() == svg for name, (svg, _) in found.items()} == dict.fromkeys(
            found, True
        )


def completed_claims() -> pd.DataFrame:
    trials = pd.read_parquet(RESULTS / CLAIMS / "trials")
    trials = trials[trials["status"] == "completed"]
    control = trials["distillation_teacher_control"].where(trials["distillation_teacher_control"] != "none")
    return trials.assign(
        arm=trials["distillation_loss"].where(control.isna(), trials["distillation_loss"] + ", " + control.fillna("")),
        teachers=trials["augmentation_strength"],
        student=trials["student_strength"].fillna(trials["augmentation_strength"]),
    )


def table_of_claims(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading on the page of claims, those of its header first."""
    section = CLAIMS_PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [header, *rows]


def test_means_of_claims() -> None:
    header, *rows = table_of_claims("Means")
    groups = completed_claims().groupby(["arm", "teachers", "student"])
    assert [(row[0], float(row[1]), float(row[2])) for row in rows] == list(groups.groups)
    for (_, trials), row in zip(groups, rows, strict=True):
        assert int(row[3]) == trials["seed"].nunique() == len(trials)
        for name, cell in zip(header[4:], row[4:], strict=True):
            mean, *spread = (float(part) for part in cell.split(" ± "))
            assert mean == pytest.approx(trials[name].mean(), abs=EXACT_TO)
            assert spread == ([pytest.approx(trials[name].std(), abs=EXACT_TO)] if len(trials) > 1 else [])


MOVES = {
    "teachers' strength": (["seed", "student"], "teachers"),
    "student's strength": (["seed", "teachers"], "student"),
    "both strengths": (["seed"], "teachers"),
    "kl to mse_logits": (["seed", "teachers"], "arm"),
}
"""By what moves on the page: what stays equal, and the column that moves."""


def test_changes_and_intervals_of_verdicts() -> None:
    """Those of strengths and of the loss, paired by seed; intervals by Student's t over seeds."""
    _, *rows = table_of_claims("Verdicts")
    trials = completed_claims()
    compared = 0
    for _, outcome, arm, moves, change, interval, _, _ in rows:
        if moves not in MOVES:
            continue
        equal, moved = MOVES[moves]
        of_arm = trials[(trials.arm == ("kl" if arm == "–" else arm)) | (moved == "arm")]
        of_arm = of_arm[of_arm.arm.isin(["kl", "mse_logits"]) & (of_arm.teachers == of_arm.student) | (moved != "arm")]
        values = of_arm.assign(value=of_arm[outcome].abs() if outcome.startswith("gen") else of_arm[outcome])
        table = values.pivot(index=equal, columns=moved, values="value")
        by_seed = (table[table.columns[1]] - table[table.columns[0]]).groupby("seed").mean()
        half = stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std() / len(by_seed) ** 0.5
        wanted = (by_seed.mean(), by_seed.mean() - half, by_seed.mean() + half)
        assert (float(change), *map(float, interval.strip("[]").split(", "))) == pytest.approx(wanted, abs=EXACT_TO)
        compared += 1
    assert compared == 34


def test_the_other_map_is_of_trials_of_the_study_and_its_overlap_above_its_chance() -> None:
    by_cam = pd.read_csv(RESULTS / f"{CLAIMS}-cam.csv").set_index("trial_id")
    trials = completed_claims().set_index("trial_id").loc[by_cam.index]
    assert trials.groupby(["seed", "arm"]).size().to_dict() == {
        (seed, arm): size for seed in (2, 3, 4) for arm, size in (("kl", 4), ("mse_logits", 2), ("none", 2))
    }
    for who in ("teachers", "student"):
        iou, chance = by_cam[f"attention_iou_{who}"], by_cam[f"attention_iou_{who}_chance"]
        assert by_cam[f"attention_overlap_{who}"].to_numpy() == pytest.approx(
            (iou - chance) / (1 - chance), abs=EXACT_TO
        )
    _, *rows = table_of_claims("The paper's map")
    for name, strength, *cells in rows:
        values = (by_cam if name == "cam" else trials)[trials.teachers == float(strength)]
        columns = ("iou_teachers", "iou_teachers_chance", "overlap_teachers", "rank_correlation_teachers")
        assert [float(cell) for cell in cells] == pytest.approx(
            [values[f"attention_{column}"].mean() for column in columns], abs=6e-4
        )


def test_the_look_at_the_seeds_counts_each_verdict_on_strength_and_loss_once() -> None:
    """Of an outcome whose verdicts are in several states it says how many are in each."""
    study = open_results(RESULTS)[CLAIMS]
    said = str(decide(study.table("trials"), CLAIMS, study.spec.seeds))
    assert said.startswith("5 seeds of at most 8; undecided: ")
    counts: dict[str, list[int]] = {}
    for outcome, count, total in re.findall(r"(\w+) \((\d) of (\d)\)", said):
        counts.setdefault(outcome, [int(total)]).append(int(count))
    assert all(len(parts) > 1 and sum(parts) == total for total, *parts in counts.values())
    _, *rows = table_of_claims("Verdicts")
    of_outcomes = Counter(outcome for _, outcome, _, moves, *_ in rows if moves in MOVES)
    assert {outcome: total for outcome, (total, *_) in counts.items()}.items() <= of_outcomes.items()


def test_what_came_out_is_what_the_tables_say() -> None:
    """Each interval in words is, but for its sign, one of the verdicts or of the arms, rounded."""
    printed = (RESULTS / f"{CLAIMS}-analysis.txt").read_text()
    number = r"([+-]?\d\.\d+(?:e-\d+)?)"
    known = [(float(low), float(high)) for low, high in re.findall(rf"\[{number}, {number}\]", printed)]
    section = CLAIMS_PAGE.split("## What came out")[1].split("\n## ")[0].replace("−", "-")
    found = re.findall(rf"\[{number}, {number}\]", section)
    assert len(found) > 10
    for texts in found:
        decimals = len(texts[0].partition(".")[2])
        wanted = tuple(float(text) for text in texts)
        rounded = {tuple(round(value, decimals) for value in pair) for pair in known if max(map(abs, pair)) > 0}
        of_falls = {(-high, -low) for low, high in rounded}
        assert wanted in rounded | of_falls, texts


def test_the_kept_study_is_that_of_the_sweep_and_whole() -> None:
    """Its trials are those that the sweep plans for its seeds, each with all its epochs."""
    kept, sweep = load_spec(RESULTS / CLAIMS / "study.yaml"), load_spec(ROOT / f"sweeps/{CLAIMS}.yaml")
    assert kept.model_copy(update={"data": sweep.data}) == sweep
    planned = {trial.trial_id for trial in plan(kept).trials}
    trials = completed_claims().set_index("trial_id")
    assert set(trials.index) <= planned
    epochs = pd.read_parquet(RESULTS / CLAIMS / "epochs").groupby("trial_id")["epoch"].agg(["count", "max"])
    assert (epochs.loc[trials.index] == 15).all(axis=None)


def test_the_figure_in_the_readme_is_of_the_same_study_as_its_table() -> None:
    """Its rows beside it have three seeds, of which the table has the first."""
    found = re.findall(r"^\| (0\.\d\d) \| (\d) \| [\d.]+ \| ([\d.]+) \|", README.read_text(), re.MULTILINE)
    shown = {(float(strength), int(size)): fidelity for strength, size, fidelity in found}
    drawn = pd.read_csv(ROOT / "docs/images/digits-triptych.csv").query("outcome == 'fidelity_val'")
    assert set(drawn["seeds"]) == {"[0, 1, 2]"}
    first = drawn.set_index(["augmentation_strength", "ensemble_size"])["values"].map(json.loads).str[0]
    assert {setting: f"{value:.4f}" for setting, value in first.items()} == shown
    assert len(shown) == 9


def test_effects_with_the_other_map() -> None:
    _, _, *rows = rows_below("The same with Grad-CAM")
    check_effects(rows, GRAD_CAM)


def test_the_other_map_changes_nothing_else() -> None:
    keys = ["augmentation_strength", "ensemble_size", "seed"]
    first, second = (trials_of(study).set_index(keys).sort_index() for study in (STUDY, GRAD_CAM))
    others = [name for name in TRIALS.columns if name not in (*keys, "study", "trial_id") and "attention" not in name]
    pd.testing.assert_frame_equal(first[others], second[others], check_exact=True)


def test_a_softmax_does_not_train_the_sum_of_the_classifier_s_rows() -> None:
    """Which the map `cam` projects features on: it shrinks by weight decay, and keeps its direction."""
    torch.manual_seed(0)
    model = CifarResNet(8, 10, 3, 4)
    weight = model.classifier_weight
    before = weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2, nesterov=True)
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(torch.randn(16, 3, 8, 8)), torch.randint(10, (16,)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = weight.detach()
    assert float(nn.functional.cosine_similarity(after, before).min()) < 0.9, "the rows themselves turn"
    total, total_before = after.sum(0), before.sum(0)
    assert float(nn.functional.cosine_similarity(total, total_before, dim=0)) == pytest.approx(1, abs=1e-5)
    assert total.norm() < 0.99 * total_before.norm()
