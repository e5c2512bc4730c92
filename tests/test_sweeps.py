"""Every file in sweeps/: it says what it plans, and a small version of it runs to the end."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kd_sweep.study.file.load import load_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.tables.reader import Results, open_results
from tests.command_line import Cli, Run

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))

SMALL_DATA = ["data.max_train_images=200", "data.max_val_images=100", "data.image_size=8"]
SMALL_MODELS = ["teacher.width=4", "student.width=4"]
SMALL = [*SMALL_DATA, *SMALL_MODELS, "teacher.epochs=2", "student.epochs=2"]


def sweep_file(name: str) -> Path:
    return ROOT / "sweeps" / f"{name}.yaml"


def overridden(*settings: str) -> list[str]:
    return [argument for setting in settings for argument in ("--set", setting)]


# --- what the files say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_named_as_its_file_and_explains_itself(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.stem
    text = path.read_text()
    assert text.startswith("# ")
    assert f"kd-sweep launch sweeps/{path.name}" in text


@pytest.mark.parametrize(
    ("name", "trials", "teachers", "exact"),
    [
        ("digits", 9, 9, True),  # "3 strengths x 3 sizes x 1 seed = 9 trials", "9 teachers"
        ("digits-asha", 24, 9, False),  # "24 random draws"; three strengths with up to three members
        ("digits-optuna", 16, 48, False),
        ("digits-pareto", 24, 33, False),  # 11 strengths with up to three members
        ("image-folder", 9, 9, True),
        ("cifar10-strength", 27, 27, True),  # "27 trials, which share 27 teachers"
        # "Ensemble sizes 1, 2, 3 with every weak/strong mix: 4 + 8 + 16 student runs", the 8 two-teacher runs.
        *((f"{name}-paper{end}", 28, 6, True) for name in ("cifar100", "cifar100-imb100") for end in ("", "-small")),
        *((f"{name}-paper{end}", 8, 4, True) for name in ("imagenet", "imagenet-lt") for end in ("", "-small")),
        ("cifar100-strength", 150, 215, False),
        ("cifar100-strength-small", 24, 33, False),
        ("cifar10-claims", 384, 108, False),  # of 12 seeds
        ("cifar10-claims-small", 80, 48, False),  # of 8 seeds
        ("logits-matching", 54, 27, True),
        ("logits-matching-small", 24, 12, True),
    ],
)
def test_a_sweep_plans_what_its_comments_promise(name: str, trials: int, teachers: int, exact: bool) -> None:
    planned = plan(load_spec(sweep_file(name)))
    assert (planned.num_trials, planned.num_teachers, planned.exact) == (trials, teachers, exact)


def test_every_sweep_is_planned_above() -> None:
    marks = test_a_sweep_plans_what_its_comments_promise.pytestmark  # type: ignore[attr-defined]
    planned = {case[0] for mark in marks for case in mark.args[1]}
    assert planned == {path.stem for path in SWEEPS}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_overrides_in_comments_are_accepted(path: Path) -> None:
    for line in re.findall(r"# +kd-sweep launch .*", path.read_text()):
        load_spec(path, [change.strip("'") for change in re.findall(r"--set (\S+)", line)])


def test_more_trials_keep_the_old_ones() -> None:
    few, many = (
        plan(load_spec(sweep_file("digits-asha"), [f"sampler.num_trials={count}"])).trials for count in (24, 40)
    )
    assert [trial.config.trial_id for trial in few] == [trial.config.trial_id for trial in many[:24]]


# --- small versions, run ----------------------------------------------------------------------------------------------


def launched(kd_sweep: Run, name: str, root: Path, *settings: str) -> Results:
    done = kd_sweep("launch", sweep_file(name), "--root", root, *overridden(*settings))
    assert done.returncode == 0, done.stderr
    assert all(re.match(r"\[\d+:\d\d\] |" + re.escape(str(root)), line) for line in done.stderr.splitlines()), (
        done.stderr
    )
    return open_results(root)


def assert_whole(results: Results, trials: pd.DataFrame) -> None:
    """Every trial has exactly the epochs 1 to its last."""
    epochs = results.pandas("epochs")
    assert not trials.last_epoch.isna().any()
    expected = {(row.trial_id, epoch) for row in trials.itertuples() for epoch in range(1, int(row.last_epoch) + 1)}
    assert sorted(zip(epochs.trial_id, epochs.epoch, strict=True)) == sorted(expected)


@pytest.mark.slow
def test_digits(examples: Path) -> None:
    results = open_results(examples / "results")
    trials = results.pandas("trials")
    assert_whole(results, trials)
    assert set(trials.status) == {"completed"}
    grid = {(strength, size, 0) for strength in (0.0, 0.25, 0.5) for size in (1, 2, 3)}
    assert set(zip(trials.augmentation_strength, trials.ensemble_size, trials.seed, strict=True)) == grid
    assert len(trials) == 9
    teachers = results.pandas("teachers")
    shared = {(strength, member) for strength in (0.0, 0.25, 0.5) for member in (1, 2, 3)}
    assert set(zip(teachers.augmentation_strength, teachers.member, strict=True)) == shared
    assert len(teachers) == teachers.teacher_id.nunique() == 9
    assert len(list((examples / "results" / "teachers").glob("*/teacher-*.json"))) == 9


@pytest.mark.slow
def test_digits_asha(kd_sweep: Run, tmp_path: Path) -> None:
    small = [*SMALL_DATA, *SMALL_MODELS, "teacher.epochs=2", "student.epochs=5", "sampler.num_trials=10"]
    results = launched(kd_sweep, "digits-asha", tmp_path, *small)
    trials = results.pandas("trials")
    assert_whole(results, trials)
    assert len(trials) == trials.trial_id.nunique() == 10
    assert set(trials.status) <= {"stopped", "completed"}
    stopped, completed = trials[trials.status == "stopped"], trials[trials.status == "completed"]
    assert len(stopped) >= 1
    assert set(stopped.rung) <= {2, 4}
    assert (stopped.rung == stopped.last_epoch).all()
    assert (completed.last_epoch == 5).all()
    assert completed.rung.isna().all()
    # A trial stops only below the median of what had reached its rung by then; the best at a rung never does.
    epochs = results.pandas("epochs").set_index(["trial_id", "epoch"]).val_accuracy
    for rung in sorted(set(stopped.rung.astype(int))):
        values = epochs.xs(rung, level="epoch")
        assert values[stopped.trial_id[stopped.rung == rung]].max() < values.max()


@pytest.mark.slow
def test_digits_optuna(kd_sweep: Run, tmp_path: Path) -> None:
    """One slot: a trial that waited for somebody else to train its teachers would wait for ever."""
    small = [*SMALL_DATA, *SMALL_MODELS, "teacher.epochs=1", "student.epochs=4"]
    small += ["sampler.num_startup_trials=3", "max_concurrent_trials=1"]
    results = launched(kd_sweep, "digits-optuna", tmp_path, *small, "sampler.num_trials=7")
    trials = results.pandas("trials")
    assert_whole(results, trials)
    assert len(trials) == 7
    points = trials[["augmentation_strength", "ensemble_size", "distillation_alpha"]]
    assert len(points.drop_duplicates()) == 7
    assert trials.augmentation_strength.between(0, 1).all()
    assert ((trials.augmentation_strength / 0.05).round(6) % 1 == 0).all()
    assert trials.distillation_alpha.between(0, 1).all()
    assert set(trials.status) <= {"stopped", "completed"}
    assert results.table("teachers").num_rows == trials.groupby("augmentation_strength").ensemble_size.max().sum()
    more = launched(kd_sweep, "digits-optuna", tmp_path, *small, "sampler.num_trials=9").pandas("trials")
    assert len(more) == 9
    assert set(trials.trial_id) <= set(more.trial_id)
    assert (more.set_index("trial_id").loc[trials.trial_id].attempts == 1).all()
    suggested = more.sort_values("started_at").suggestion.astype(int)
    assert suggested.is_monotonic_increasing
    assert suggested.is_unique
    assert suggested.iloc[0] == 0


@pytest.mark.slow
def test_digits_pareto(kd_sweep: Run, cli: Cli, tmp_path: Path) -> None:
    results = launched(kd_sweep, "digits-pareto", tmp_path, *SMALL, "sampler.num_trials=8", "sampler.population_size=4")
    trials = results.pandas("trials")
    assert_whole(results, trials)
    assert len(trials) == trials.trial_id.nunique() == 8
    assert set(trials.status) == {"completed"}
    generations = trials.sort_values("suggestion").generation.astype(int)
    assert generations.is_monotonic_increasing
    assert (generations.iloc[:4] == 0).all()
    code, out, err = cli("query", tmp_path, "pareto", "--format", "json")
    assert code == 0, err
    shown = {row["trial_id"] for row in json.loads(out)}
    values = list(zip(trials.trial_id, trials.val_accuracy, trials.fidelity_val, strict=True))
    unbeaten = {
        trial
        for trial, accuracy, fidelity in values
        if not any(
            other_accuracy >= accuracy
            and other_fidelity >= fidelity
            and (other_accuracy > accuracy or other_fidelity > fidelity)
            for _, other_accuracy, other_fidelity in values
        )
    }
    assert shown == unbeaten


def digits_as_images(folder: Path, classes: int = 3, per_class: int = 20) -> Path:
    """Write digits as PNG files, a folder per class."""
    digits = load_digits()
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:per_class]):
            Image.fromarray((image * 15).astype("uint8")).resize((24, 24)).save(folder / str(label) / f"{number}.png")
    return folder


@pytest.mark.slow
def test_image_folder(kd_sweep: Run, cli: Cli, tmp_path: Path) -> None:
    images = digits_as_images(tmp_path / "images")
    small = [*SMALL_MODELS, "teacher.model=resnet8", "teacher.epochs=2", "student.epochs=2", "data.image_size=16"]
    grid = ["search.augmentation_strength.grid=[0.0, 0.5]", "search.ensemble_size.grid=[1, 2]"]
    settings = [f"data.path={images}", "data.horizontal_flip=false", "student.batch_size=16", "teacher.batch_size=16"]
    results = launched(kd_sweep, "image-folder", tmp_path / "results", *small, *grid, *settings)
    trials = results.pandas("trials")
    assert_whole(results, trials)
    assert list(trials.status) == ["completed"] * 4
    # 20 % of the 20 images of each of the 3 classes are held out: accuracies are twelfths.
    assert ((trials.val_accuracy * 12).round(6) % 1 == 0).all()
    moved = images.rename(tmp_path / "elsewhere")
    code, _, err = cli(
        "launch", sweep_file("image-folder"), "--root", tmp_path / "results",
        *overridden(*small, *grid, *settings, f"data.path={moved}"),
    )  # fmt: skip
    assert code == 0, err
    assert "nothing left to run (4 completed)" in err
    changed = moved / "0" / "0.png"
    with Image.open(changed) as image:
        upright = image.convert("L")
    upright.rotate(180).save(changed)
    code, _, err = cli(
        "launch", sweep_file("image-folder"), "--root", tmp_path / "results",
        *overridden(*small, *grid, *settings, f"data.path={moved}"),
    )  # fmt: skip
    assert code == 2
    assert f"data.path: the images in {moved} are not those that study 'image-folder' was launched with" in err
