"""The figures and the analysis of docs/results/, drawn anew from the table of trials there: `make results`.

The Parquet files of that study are not kept. Of its tables there are the trials after their last epoch, with the
columns that the page speaks of: no figures of epochs, none of slots over time, none of columns that came later.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from kd_sweep.figures.plots.drawn_figures import FigureOptions, read_figure, rendered
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.figures.report.formats.light_svg import lighter
from kd_sweep.handles.root_results import open_results
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
SHOWN = {
    STUDY: ("triptych", "fidelity_by_size", "train_against_val", "effects", "best_strength"),
    GRAD_CAM: ("triptych",),
}
"""The figures on the page by study."""


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


def pictures(root: Path) -> dict[str, tuple[str, str]]:
    """Return picture and caption of each figure on the page, by the name of its file."""
    found = {}
    for study, names in SHOWN.items():
        results = open_results(root)[study]
        for name in names:
            drawing = read_figure(results, FIGURES[name])
            options = FigureOptions(formats=["svg"], size="two-columns")
            svg = lighter(rendered(drawing, options)["svg"].decode())
            found[f"{study}-{name.replace('_', '-')}.svg"] = (svg, " ".join(drawing.caption))
    return found


def analysis(root: Path) -> str:
    """Return what `kd-sweep analyse` says of the study."""
    command = [sys.executable, "-m", "kd_sweep", "analyse", str(root), STUDY]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def draw(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as root:
        write_root(Path(root))
        for name, (svg, _) in pictures(Path(root)).items():
            (folder / name).write_text(svg)
        (folder / f"{STUDY}-analysis.txt").write_text(analysis(Path(root)))


if __name__ == "__main__":
    draw(RESULTS)
