"""Each example runs where a stranger copies it to: outside the checkout, by commands and in Python."""

import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import environment
from tests.project.pages import ROOT
from tests.trained_studies import train_study
from tests.warm_python import run_warm

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/study.yaml"))
NOTEBOOK = EXAMPLES / "results.ipynb"
RUN_LAST_TRIAL = """
import json
import kd_sweep

study = kd_sweep.Study.from_file("study.yaml")
study = study.set({"data.max_train_images": 300, "data.max_val_images": 90, "teacher.epochs": 1, "student.epochs": 2})
searched = {"student_strength": 0.5, "student.learning_rate": 0.1}
print(json.dumps(kd_sweep.run_trial(study, len(study.plan().trials) - 1 if study.plan().trials else searched)))
"""
STUDY = """
name: shown
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 1}
student: {model: resnet8, width: 4, epochs: 2}
search: {ensemble_size: 2}
"""


def run(program: str, folder: Path, stdin: str = "") -> str:
    """Return what a program in Python prints that somebody runs in this folder."""
    done = run_warm(program, folder, environment(), stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", FOLDERS, ids=lambda path: path.name)
def test_a_copied_example_is_planned_and_trains(example: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(example, tmp_path / example.name)
    plan = run("from kd_sweep.cli import main; main(['plan', 'study.yaml', '--no-probe'])", folder)
    assert plan.startswith(f"study {example.name.replace('_', '-')}: ")
    first, second = json.loads(run(RUN_LAST_TRIAL, folder))
    assert second["train_loss"] < first["train_loss"]
    assert not (folder / "results").exists()


RULE_DECIDES = """
import kd_sweep
from kd_sweep.driver.stopping.replay import Judge
from kd_sweep.driver.stopping.study_rule import rule_of
from kd_sweep.study.spec import judged_by

spec = kd_sweep.Study.from_file("study.yaml").spec
judge = Judge(rule_of(spec), judged_by(spec))
for epoch in (1, 2):
    for trial, accuracy in (("best", 0.9), ("near", 0.65), ("far", 0.5)):
        judge.add(trial, {"epoch": epoch, "val_accuracy": accuracy})
    print([trial for trial in ("best", "near", "far") if judge.stops(trial)])
"""


def test_the_stopping_rule_ends_a_trial_that_is_far_behind_after_its_grace_period(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "own_stopping_rule", tmp_path / "rule")
    assert run(RULE_DECIDES, folder).splitlines() == ["[]", "['far']"]


SAMPLER_SUGGESTS = """
import kd_sweep
from kd_sweep.driver.tune.optuna_source import OptunaSource

source = OptunaSource(kd_sweep.Study.from_file("study.yaml").spec, [], 10)
while (suggestion := source.next()) is not None:
    strength = suggestion.trial.student_strength
    print(strength)
    source.tell(suggestion.trial, (1 - abs(strength - 0.7),))
"""


def test_the_sampler_goes_nearer_and_nearer_to_the_best(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "own_sampler", tmp_path / "sampler")
    strengths = [float(line) for line in run(SAMPLER_SUGGESTS, folder).split()]
    assert len(strengths) == 10
    for number in range(4, 10):
        best = min(strengths[:number], key=lambda strength: abs(strength - 0.7))
        assert abs(strengths[number] - best) <= 0.5 / (number - 3)
    assert max(abs(strength - 0.7) for strength in strengths[:4]) > 0.1 > min(abs(one - 0.7) for one in strengths)


def test_the_metric_is_the_share_of_the_teachers_mistakes_that_the_student_makes(tmp_path: Path) -> None:
    """Counted by hand: the ensemble is wrong on the last three of four images, and the student copies one of them."""
    folder = shutil.copytree(EXAMPLES / "own_metric", tmp_path / "metric")
    program = (
        "import copied, torch; from types import SimpleNamespace; one_hot = torch.nn.functional.one_hot; "
        "answers = lambda *classes: one_hot(torch.tensor(classes), 3) * 5.0; "
        "outputs = lambda labels: SimpleNamespace(student_logits_VC=answers(0, 1, 2, 0), "
        "teacher_logits_MVC=answers(0, 1, 1, 2)[None], labels_V=torch.tensor(labels)); "
        "print(copied.errors(outputs([0, 2, 2, 0]), None), copied.errors(outputs([0, 1, 1, 2]), None))"
    )
    share, none = run(program, folder).split()
    assert (float(share), none) == (pytest.approx(1 / 3), "None")


def test_every_example_is_described() -> None:
    page = (EXAMPLES / "README.md").read_text()
    parts = [path for path in EXAMPLES.iterdir() if path.name != "README.md"]
    assert [path.name for path in parts if f"]({path.name}" not in page] == []


def code_cells() -> list[str]:
    """Return the code of the notebook, having checked the form of its cells (nbformat 4.5)."""
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == keys | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        assert not cell.get("outputs")
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


AS_A_NOTEBOOK = """
import ast, json, sys

names = {}
for cell in json.load(sys.stdin):
    *body, last = ast.parse(cell).body
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    show = getattr(value, "_repr_html_", None)
    print(show() if show else value)
"""
"""Runs cells as a notebook does, and shows the value of each one's last line."""


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    train_study(tmp_path / "results", STUDY)
    shows = run(AS_A_NOTEBOOK, tmp_path, stdin=json.dumps(code_cells()))
    for shown in ("shown", "val_accuracy", "class ", "overlap of student and teachers: 0.", "PIL.Image.Image"):
        assert shown in shows, (shown, shows)
