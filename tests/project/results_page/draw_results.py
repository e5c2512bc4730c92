"""The figures, tables of means and analyses of docs/results/, made anew from what is kept there: `make results`.

Of the study of claims its folder is kept. Of the study of strength there is the table of trials after their last epoch,
with the columns that its page speaks of: no figures of epochs or of slots over time, none of columns that came later.
"""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.figures.plots.drawn_figures import FigureOptions, read_figure, rendered
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.report.formats.light_svg import lighter
from kd_sweep.handles.root_results import open_results
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import freeze
from kd_sweep.study.file.load import load_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.writer import StudyWriter
from tests.project.pages import ROOT

RESULTS = ROOT / "docs/results"
TABLE = RESULTS / "cifar10-strength-trials.csv"
STUDY, GRAD_CAM = "cifar10-strength", "cifar10-strength-grad-cam"
CLAIMS = "cifar10-claims-small"
CAM_TABLE = RESULTS / f"{CLAIMS}-cam.csv"
"""Attention of some trials of it after their last epoch by the map `cam`, as the page says."""
SHOWN = {
    CLAIMS: ("arms", "effects", "teacher_errors", "curves"),
    STUDY: ("triptych", "fidelity_by_size", "train_against_val", "effects", "best_strength"),
    GRAD_CAM: ("triptych",),
}
"""The figures on the pages by study."""
CLAIMS_COLUMNS = (
    *("val_accuracy", "fidelity_val", "fidelity_train", "attention_overlap_teachers", "attention_overlap_student"),
    *("generalization_gap_augmented", "ensemble_accuracy"),
)

MOVED = {
    "augmentation_strength": "teachers' strength",
    "student_strength": "student's strength",
    "both_strengths": "both strengths",
    "distillation_loss": "kl to mse_logits",
}


def write_root(root: Path) -> None:
    """Write both studies as their tables were, as far as the table of trials has them."""
    table = pd.read_csv(TABLE)
    table["generalization_gap_augmented"] = table["train_accuracy"] - table["val_augmented_accuracy"]
    for study, attention in ((STUDY, "cam"), (GRAD_CAM, "grad_cam")):
        spec = load_spec(ROOT / f"sweeps/{STUDY}.yaml", [f"name={study}", f"metrics.attention={attention}"])
        configs = {point(trial.config): trial.config for trial in plan(spec).trials}
        own = table[table["study"] == study]
        with StudyWriter(Root.open(root), study) as writer:
            told = {"status": "completed", "num_planned": len(own), "spec": freeze(spec, {}).text}
            writer.set_study(objectives='[{"metric": "val_accuracy", "mode": "max"}]', **told)
            for row in own.to_dict("records"):
                known = {str(name): value for name, value in row.items() if not pd.isna(value)}
                config = configs[known["augmentation_strength"], known["ensemble_size"], known["seed"]]
                of_config = {"config": config.model_dump_json(), "student": config.student.model}
                models = {"teacher": spec.teacher.model, "num_epochs": config.student.epochs}
                writer.upsert_trial(
                    known | of_config | models | {"metrics_version": 1, "objective": known["val_accuracy"]}
                )


def point(config: TrialConfig) -> tuple[float, int, int]:
    return config.student_strength, config.ensemble_size, config.seed


def opened(root: Path, study: str) -> StudyResults:
    """Return a study, that of claims from its own folder."""
    return open_results(RESULTS)[study] if study == CLAIMS else open_results(root)[study]


def pictures(root: Path) -> dict[str, tuple[str, str]]:
    """Return picture and caption of each figure on the pages, by the name of its file."""
    found = {}
    for study, names in SHOWN.items():
        results = opened(root, study)
        for name in names:
            drawing = read_figure(results, FIGURES[name])
            options = FigureOptions(formats=["svg"], size="two-columns")
            svg = lighter(rendered(drawing, options)["svg"].decode())
            found[f"{study}-{name.replace('_', '-')}.svg"] = (svg, " ".join(drawing.caption))
    return found


def analysis(root: Path, study: str) -> str:
    """Return what `kd-sweep analyse` says of a study."""
    command = [sys.executable, "-m", "kd_sweep", "analyse", str(RESULTS if study == CLAIMS else root), study]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def means_of_claims() -> str:
    """Return the means of the study of claims as a table of Markdown: a row for each arm and pair of strengths."""
    table = open_results(RESULTS)[CLAIMS].sql(f"""
        SELECT concat_ws(', ', distillation_loss, nullif(distillation_teacher_control, 'none')) AS arm,
               augmentation_strength AS teachers, coalesce(student_strength, augmentation_strength) AS student,
               count(*) AS seeds, {", ".join(f"avg({name}), stddev({name})" for name in CLAIMS_COLUMNS)}
        FROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY ALL
    """)
    names = ["arm", "teachers", "student", "seeds", *CLAIMS_COLUMNS]
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        arm, teachers, student, seeds, *numbers = row
        cells = [mean_and_spread(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
        lines.append(f"| {' | '.join([arm, f'{teachers:g}', f'{student:g}', str(seeds), *cells])} |")
    return "\n".join(lines)


def verdicts_of_claims() -> str:
    """Return the verdicts on the study of claims as a table of Markdown; each claim is named in its first row."""
    names = ["claim", "outcome", "arm", "what moves", "change", "95 % interval (t)", "p, corrected", "verdict"]
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    named = ""
    for row in analyse(open_results(RESULTS), CLAIMS).verdicts.to_pylist():
        bounds = (row["t_low"], row["t_high"])
        interval = "–" if None in bounds else "[{:+.4f}, {:+.4f}]".format(*bounds)
        p = row["p_corrected"] if row["p_equivalence_corrected"] is None else row["p_equivalence_corrected"]
        cells = [
            *("" if row["claim"] == named else row["claim"], row["outcome"], row["distillation_loss"] or "–"),
            *(what_moves(row), f"{row['effect']:+.4f}", interval, "–" if p is None else f"{p:.3g}", row["verdict"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
        named = row["claim"]
    return "\n".join(lines)


def maps_of_claims() -> str:
    """Return the teachers' attention by the study's map and by `cam` as a table of Markdown, of the same trials."""
    by_cam = pd.read_csv(CAM_TABLE).set_index("trial_id")
    trials = open_results(RESULTS)[CLAIMS].table("trials").to_pandas().set_index("trial_id").loc[by_cam.index]
    columns = [f"attention_{name}_teachers" for name in ("iou", "overlap", "rank_correlation")]
    columns.insert(1, f"{columns[0]}_chance")
    lines = [f"| map | teachers | {' | '.join(columns)} |", "| --- " * (len(columns) + 2) + "|"]
    for name, values in (("grad_cam", trials), ("cam", by_cam)):
        means = values[columns].groupby(trials["augmentation_strength"]).mean()
        lines += [
            f"| {name} | {strength:g} | {' | '.join(f'{mean:.3f}' for mean in row)} |"
            for strength, *row in means.itertuples()
        ]
    return "\n".join(lines)


def what_moves(verdict: dict[str, Any]) -> str:
    """Return what a verdict is about in words: a strength, the loss, or the outcome that another goes with."""
    moved, mediator = MOVED.get(verdict["varied"]), verdict["mediator"]
    if mediator is None:
        return str(moved)
    return f"{moved}, through {mediator}" if moved else f"{mediator}, by 1"


def with_table(page: str, name: str, table: str) -> str:
    """Return a page with another table before the mark of its name."""
    return re.sub(rf"(?:^\|.*\n)*(?=\n<!-- {name} -->)", lambda _: f"{table}\n", page, count=1, flags=re.MULTILINE)


def mean_and_spread(mean: float, spread: float | None) -> str:
    """Return a mean with the standard deviation between seeds, which one seed has not."""
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def with_captions(page: str, found: dict[str, tuple[str, str]]) -> str:
    """Return a page with the captions of its figures as they are now."""
    for name, (_, caption) in found.items():
        text = textwrap.fill(caption, 120, break_long_words=False, break_on_hyphens=False)
        before, separator, after = page.partition(f"]({name})\n\n")
        _, blank, rest = after.partition("\n\n")  # the paragraph of the caption that was
        page = f"{before}{separator}{text}{blank}{rest}" if separator else page
    return page


def draw(folder: Path) -> None:
    """Write figures, analyses, and on the page of claims its tables and captions."""
    with tempfile.TemporaryDirectory() as root:
        write_root(Path(root))
        found = pictures(Path(root))
        for name, (svg, _) in found.items():
            (folder / name).write_text(svg)
        for study in (STUDY, CLAIMS):
            (folder / f"{study}-analysis.txt").write_text(analysis(Path(root), study))
    page = folder / f"{CLAIMS}.md"
    text = with_table(page.read_text(), "means", means_of_claims())
    text = with_table(text, "verdicts", verdicts_of_claims())
    text = with_table(text, "maps", maps_of_claims())
    page.write_text(with_captions(text, found))


if __name__ == "__main__":
    draw(RESULTS)
