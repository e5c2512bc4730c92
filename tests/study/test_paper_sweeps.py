"""The paper's studies in sweeps/: their counts and recipes; the small versions run to the end."""

import itertools
import json
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from kd_sweep.driver.study_checks import checked
from kd_sweep.study.file.load import load_spec
from kd_sweep.study.recipe import Learner
from kd_sweep.study.space.plan import plan
from kd_sweep.tables.reader import Results, open_results
from tests.command_line import Cli, Run
from tests.distill.trials import run

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"
PAPER = {"cifar100-paper": 28, "cifar100-imb100-paper": 28, "imagenet-paper": 8, "imagenet-lt-paper": 8}
TEACHERS = {28: 6, 8: 4}


def sweep_file(name: str) -> Path:
    return SWEEPS / f"{name}.yaml"


def mixes(sizes: tuple[int, ...], weak: float, strong: float) -> set[tuple[float, ...]]:
    return {mix for size in sizes for mix in itertools.product((weak, strong), repeat=size)}


@pytest.mark.parametrize("end", ["", "-small"])
@pytest.mark.parametrize("name", PAPER)
def test_every_mix_of_weak_and_strong_once(name: str, end: str) -> None:
    planned = plan(load_spec(sweep_file(name + end)))
    assert (planned.num_trials, planned.num_teachers, planned.exact) == (PAPER[name], TEACHERS[PAPER[name]], True)
    weak, strong = sorted({trial.config.student_strength for trial in planned.trials})
    wanted = itertools.product(mixes((1, 2, 3) if PAPER[name] == 28 else (2,), weak, strong), (weak, strong))
    found = [(trial.config.teacher_strengths, trial.config.student_strength) for trial in planned.trials]
    assert sorted(found) == sorted(wanted)


def schedule(learner: Learner) -> tuple[object, ...]:
    return (learner.epochs, learner.schedule, learner.milestones)


@pytest.mark.parametrize(
    ("name", "student", "teacher"),
    [  # the milestones of the code's scripts, each less one: it counts epochs from 1
        ("cifar100-paper", (200, "step", (189, 194)), (61, "step", (24, 39, 59))),
        ("cifar100-imb100-paper", (175, "step", (159, 164, 169)), (61, "step", (54,))),
        ("imagenet-lt-paper", (165, "step", (149, 154, 159)), (60, "step", (34, 49))),
        ("imagenet-paper", (60, "cosine", ()), (60, "cosine", ())),
    ],
)
def test_the_paper_s_recipe(name: str, student: tuple[object, ...], teacher: tuple[object, ...]) -> None:
    spec = load_spec(sweep_file(name))
    assert (schedule(spec.student), schedule(spec.teacher)) == (student, teacher)
    assert (spec.teacher.model, spec.student.model, spec.data.image_size) == ("resnet50", "resnet18", 224)
    for learner in (spec.teacher, spec.student):
        assert (learner.optimizer, learner.learning_rate, learner.momentum) == ("sgd", 0.1, 0.9)
        assert not learner.nesterov
        assert (learner.weight_decay, learner.batch_size, learner.warmup_epochs) == (0.0, 128, 8.0)
    assert (spec.teacher.weights, spec.student.weights) == ("pretrained", None)
    assert load_spec(sweep_file(name), ["teacher.weights=null"]).teacher.weights is None
    loss = spec.distillation
    assert spec.augmentation.pipeline == "weak_strong"
    assert {trial.config.student_strength for trial in plan(spec).trials} == {0.0, 1.0}
    assert (loss.loss, loss.alpha, loss.temperature, loss.ensemble_reducer) == ("kl", 0.6, 3.0, "teachers")


@pytest.mark.parametrize("name", [*PAPER, "cifar100-strength", "logits-matching"])
def test_the_small_version_says_what_it_is_small_of(name: str) -> None:
    large, small = load_spec(sweep_file(name)), load_spec(sweep_file(f"{name}-small"))
    assert f"{name}.yaml" in sweep_file(f"{name}-small").read_text()
    assert list(large.search) == list(small.search)
    assert (large.sampler.name, large.scheduler.name) == (small.sampler.name, small.scheduler.name)
    assert large.distillation == small.distillation
    assert small.data.name == "digits"
    assert (small.teacher.nesterov, small.student.nesterov) == (large.teacher.nesterov, large.student.nesterov)
    assert small.teacher.weights is None, "it needs no network"


@pytest.mark.parametrize("name", ["cifar100-imb100-paper", "imagenet-lt-paper"])  # the others name images alike
def test_a_plan_without_images_and_network(
    cli: Cli, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    settings = ["--set", f"data.path={tmp_path / 'nowhere'}"]
    code, out, err = cli("plan", sweep_file(name), "--root", tmp_path, "--no-probe", *settings)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == f"study {name}: {PAPER[name]} trials, {TEACHERS[PAPER[name]]} teachers"
    assert lines[1].startswith("dataset: not checked, counts need no images (data.")
    assert "nowhere" in lines[1]
    assert sum(line.startswith("  -  strength ") for line in lines) == PAPER[name]
    code, out, err = cli("plan", sweep_file(name), "--root", tmp_path, *settings)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "torch").exists()


# --- small versions, as they stand but on fewer images: one to the end, of the others two trials ----------------------

FEW_IMAGES = ("data.max_train_images=64", "data.max_val_images=32")
WHOLE = "cifar100-imb100-paper"
OTHERS = [*(name for name in PAPER if name != WHOLE), "cifar100-strength", "logits-matching"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_trials_of_a_small_study_train(name: str, tmp_path: Path) -> None:
    """The first and the last, which differ in all that is searched; a launch would do no other with the rest."""
    first, *_, last = plan(checked(load_spec(sweep_file(f"{name}-small"), FEW_IMAGES), say=print)).trials
    for config in (first.config, last.config):
        rows = run(config, tmp_path)
        assert [row["epoch"] for row in rows] == list(range(1, config.student.epochs + 1))
        for row in rows:
            assert 0 <= row["val_accuracy"] <= 1
            assert row["predictive_kl_val"] >= 0
            assert (row["attention_iou_teachers"] is None) == (config.ensemble_size == 1)
    ids = {teacher.teacher_id for config in (first.config, last.config) for teacher in config.teachers}
    assert {record.parent.name for record in tmp_path.glob("teachers/*/teacher-*.json")} == ids


def test_both_losses_have_the_same_trials() -> None:
    trials = [trial.config for trial in plan(load_spec(sweep_file("logits-matching-small"))).trials]
    arms: dict[tuple[float, int, int], list[str]] = defaultdict(list)
    for config in trials:
        arms[config.mean_teacher_strength, config.ensemble_size, config.seed].append(config.distillation.loss)
    assert [sorted(losses) for losses in arms.values()] == [["kl", "mse_logits"]] * 12


def assert_whole(results: Results, trials: pd.DataFrame) -> None:
    """Every trial has exactly the epochs 1 to its last."""
    epochs = results.pandas("epochs")
    expected = {(row.trial_id, epoch) for row in trials.itertuples() for epoch in range(1, int(row.last_epoch) + 1)}
    assert sorted(zip(epochs.trial_id, epochs.epoch, strict=True)) == sorted(expected)


@pytest.mark.slow
def test_a_small_paper_study(kd_sweep: Run, cli: Cli, tmp_path: Path) -> None:
    settings = [word for setting in FEW_IMAGES for word in ("--set", setting)]
    done = kd_sweep("launch", sweep_file(f"{WHOLE}-small"), "--root", tmp_path, *settings, cpus=2)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    results = open_results(tmp_path)
    trials, teachers = results.pandas("trials"), results.pandas("teachers")
    assert_whole(results, trials)
    assert list(trials.status) == ["completed"] * PAPER[WHOLE]
    planned = plan(load_spec(sweep_file(f"{WHOLE}-small"))).trials
    wanted = {(json.dumps(trial.point["teacher_strengths"]), trial.point["student_strength"]) for trial in planned}
    assert set(zip(trials.teacher_strengths, trials.student_strength, strict=True)) == wanted
    listed = trials.teacher_strengths.map(json.loads)
    assert list(trials.ensemble_size) == list(listed.map(len))
    assert trials.augmentation_strength.to_list() == pytest.approx([sum(mix) / len(mix) for mix in listed])
    assert trials.attention_iou_teachers.isna().to_list() == [len(mix) == 1 for mix in listed]
    strengths = {strength for mix in listed for strength in mix}
    members = range(1, trials.ensemble_size.max() + 1)
    assert sorted(zip(teachers.augmentation_strength, teachers.member, strict=True)) == sorted(
        itertools.product(strengths, members)
    )
    # Two strengths to analyse, of teachers and of the student, each with the other held equal.
    code, out, err = cli("analyse", tmp_path, "--outcome", "val_accuracy", "--format", "json", "--resamples", "200")
    assert code == 0, err
    effects = json.loads(out)["effects"]
    assert {"augmentation_strength", "student_strength"} <= {row["varied"] for row in effects}
    means = [row for row in effects if row["kind"] == "mean"]
    assert len(means) == len(trials)
    assert {row["teacher_strengths"] for row in means if row["teacher_strengths"]} == {
        json.dumps(mix) for mix in listed if len(set(mix)) > 1
    }
