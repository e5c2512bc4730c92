"""A warm start: what a search learns from another study, and that it is the same after the other has grown."""

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.driver.estimate import make_plan
from kd_sweep.driver.launch import _launch
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.driver.tune.sweep import source_of
from kd_sweep.driver.warm_start import with_warm_start
from kd_sweep.errors import SpecError
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import check_extension, freeze, parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from tests.driver.reports import report_of

RANGES = {"student_strength": {"uniform": [0, 1]}, "distillation.alpha": {"uniform": [0, 0.99]}}
ONE_EPOCH = {"epochs": 1}


def study(name: str = "s", sampler: Any = "tpe", search: Any = None, warm: Any = None, **others: Any) -> StudySpec:
    settings = {"name": sampler} if isinstance(sampler, str) else sampler
    content = {"name": name, "search": search or RANGES, "sampler": settings, "student": ONE_EPOCH}
    started = {} if warm is None else {"warm_start": {"study": warm}}
    return parse_spec(json.dumps(content | started | others), "s.yaml")


def error(trial: TrialConfig) -> float:
    """The known optimum is at strength 0.7 and alpha 0.2."""
    return (trial.student_strength - 0.7) ** 2 + (trial.distillation.alpha - 0.2) ** 2


def similar(trial: TrialConfig) -> float:
    """What another study measured of the same: its optimum is a little beside, its values are on another scale."""
    return 3 * ((trial.student_strength - 0.68) ** 2 + (trial.distillation.alpha - 0.22) ** 2) + 0.5


def run(root: Path, spec: StudySpec, value: Callable[[TrialConfig], float] = similar, most: int = 1000) -> list[str]:
    """Run up to ``most`` trials of a study without Ray, and return the ids of those that are new."""
    started = []
    with StudyState(spec, StudyFolder(root, spec.name)) as state:
        source = source_of(state)
        while len(started) < most and (suggestion := source.next()) is not None:
            trial = suggestion.trial
            started += [trial.trial_id] if trial.trial_id not in state.recorder.trials() else []
            state.recorder.started(trial, suggestion.number, suggestion.generation)
            if len(started) == most:
                break  # it is cut off
            report = report_of(1, val_accuracy=1 - value(trial), val_loss=value(trial), affinity=None)
            state.recorder.epoch(trial.trial_id, report)
            state.recorder.ended(trial.trial_id, "completed")
            source.tell(trial, tuple(report.metrics[one.metric] for one in spec.objectives))  # type: ignore[arg-type]
        state.finish()
    return started


def other(root: Path, **changes: Any) -> StudySpec:
    """Run a study of 30 random trials, whose student is another one."""
    content: dict[str, Any] = {
        "name": "other",
        "sampler": {"name": "random", "num_trials": 30},
        "student": {"epochs": 1},
    }
    spec = checked(study(**content | changes), say=str)
    run(root, spec)
    return spec


def trials_until_good(spec: StudySpec, most: int, good: float) -> int:
    source = OptunaSource(spec, [], most)
    for count in range(1, most + 1):
        suggestion = source.next()
        assert suggestion is not None
        if error(suggestion.trial) < good:
            return count
        source.tell(suggestion.trial, (1 - error(suggestion.trial),))
    return most


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a search of a similar objective that has come to its end. Read it only."""
    root = tmp_path_factory.mktemp("searched")
    other(root, sampler={"name": "tpe", "num_trials": 80})
    return root


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with some random trials of it. Read it only."""
    root = tmp_path_factory.mktemp("sampled")
    other(root)
    return root


@pytest.mark.parametrize(
    ("sampler", "root"),
    [
        ("tpe", "searched"),
        pytest.param("cmaes", "searched", marks=pytest.mark.slow),
        pytest.param("nsga2", "searched", marks=pytest.mark.slow),
        pytest.param("gp", "sampled", marks=pytest.mark.slow),
        pytest.param("nsga3", "searched", marks=pytest.mark.long),  # learns as nsga2 does
    ],
)
def test_a_known_optimum_takes_fewer_trials(sampler: str, root: str, request: pytest.FixtureRequest) -> None:
    most, good = (25, 0.002) if sampler == "gp" else (60, 0.004)
    settings = {"name": sampler, "num_trials": most} | ({"population_size": 10} if sampler.startswith("nsga") else {})
    specs = (
        study(sampler=settings),
        with_warm_start(study(sampler=settings, warm="other"), Root.open(request.getfixturevalue(root)), None),
    )
    cold, warm = ([trials_until_good(with_seed(spec, seed), most, good) for seed in range(10)] for spec in specs)
    fewer, more = (sum(sign * (a - b) > 0 for a, b in zip(cold, warm, strict=True)) for sign in (1, -1))
    assert fewer > 2 * more, (cold, warm)
    assert statistics.mean(warm) < 0.75 * statistics.mean(cold), (cold, warm)


def with_seed(spec: StudySpec, seed: int) -> StudySpec:
    return spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"seed": seed})})


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga3"])
def test_a_resume_is_the_unbroken_search_although_the_other_study_has_grown(sampler: str, tmp_path: Path) -> None:
    grown = other(tmp_path)
    spec = checked(study(sampler={"name": sampler, "num_trials": 14}, warm="other"), say=str)
    started = with_warm_start(spec, Root.open(tmp_path), None)
    assert started.warm_start is not None
    assert len(started.warm_start.trials) == 30
    unbroken = run(tmp_path / "unbroken", started, error)
    broken = run(tmp_path, started, error, most=6)
    run(tmp_path, grown.model_copy(update={"sampler": grown.sampler.model_copy(update={"num_trials": 40})}))
    # By its own file, and by its folder alone.
    frozen = StudyFolder(tmp_path, "s").spec()
    again = with_warm_start(spec, Root.open(tmp_path), frozen)
    check_extension(frozen, again)
    assert again == with_warm_start(frozen, Root.open(tmp_path), frozen) == frozen
    broken += run(tmp_path, again, error, most=5)
    broken += run(tmp_path, StudyFolder(tmp_path, "s").spec(), error)
    assert broken == unbroken
    assert parse_frozen(freeze(started, {}).text, "study.yaml").spec == started


def test_what_is_taken_are_finished_trials_in_the_space_with_the_mean_of_their_seeds(tmp_path: Path) -> None:
    """The hand's account: of strengths 0, 0.5 and 1 two are in the space, each with three seeds."""
    search = {"student_strength": {"grid": [0.0, 0.5, 1.0]}, "seed": {"grid": [0, 1, 2]}}
    settings = {"sampler": "grid", "student": ONE_EPOCH | {"width": 4}, "distillation": {"temperature": 2}}
    spec = checked(study("other", search=search, **settings), say=str)
    run(tmp_path, spec, lambda trial: trial.student_strength + 0.1 * trial.seed**2)
    search = {"student_strength": {"uniform": [0.3, 1]}, "ensemble_size": {"int": [1, 3]}}
    mine = study(search=search, warm="other", objectives=[{"metric": "val_loss"}])
    warm = with_warm_start(mine, Root.open(tmp_path), None).warm_start
    assert warm is not None
    assert [trial.point for trial in warm.trials] == [
        {"student_strength": strength, "ensemble_size": 1} for strength in (0.5, 1.0)
    ]
    mean = 0.1 * (0 + 1 + 4) / 3
    assert [trial.objectives["val_loss"] for trial in warm.trials] == pytest.approx([0.5 + mean, 1.0 + mean])
    # Nothing of it is a trial of this study.
    source = OptunaSource(with_warm_start(mine, Root.open(tmp_path), None), [], 1)
    assert [trial.values[0] for trial in source.optuna_trials()] == pytest.approx([0.5 + mean, 1.0 + mean])
    suggestion = source.next()
    assert suggestion is not None
    assert suggestion.number == 0


def test_a_plan_says_what_a_launch_would_learn(tmp_path: Path) -> None:
    other(tmp_path)
    spec = study(warm="other")
    assert "warm start: 30 points of other" in make_plan(spec, tmp_path, 1, probe=False).notes
    run(tmp_path, with_warm_start(checked(spec, say=str), Root.open(tmp_path), None), most=1)
    shutil.rmtree(tmp_path / "other")
    assert "warm start: 30 points of other" in make_plan(spec, tmp_path, 1, probe=False).notes


def test_a_path_is_as_good_as_a_name(tmp_path: Path) -> None:
    other(tmp_path / "elsewhere")
    started = with_warm_start(study(warm=str(tmp_path / "elsewhere/other")), Root.open(tmp_path / "here"), None)
    assert started.warm_start is not None
    assert len(started.warm_start.trials) == 30


def test_trials_outside_a_space_that_has_changed_are_left_out(tmp_path: Path) -> None:
    other(tmp_path)
    started = with_warm_start(study(warm="other"), Root.open(tmp_path), None)
    assert started.warm_start is not None
    inside = [trial for trial in started.warm_start.trials if float(str(trial.point["student_strength"])) <= 0.4]
    narrower = study(search=RANGES | {"student_strength": {"uniform": [0, 0.4]}}, warm="other")
    now = with_warm_start(narrower, Root.open(tmp_path), started)
    check_extension(started, now)
    assert 0 < len(inside) < 30
    assert len(OptunaSource(now, [], 1).optuna_trials()) == len(inside)
    another = with_warm_start(study(warm="other", objectives=[{"metric": "val_loss"}]), Root.open(tmp_path), started)
    assert OptunaSource(another, [], 1).optuna_trials() == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"warm": "othr"},
            r"'othr' is not in .*; did you mean 'other'\? possible: empty, other, or the path of its folder",
        ),
        ({"warm": "./no/such"}, r"warm_start.study: results: .*/no/such does not exist"),
        (
            {"warm": "other", "search": {"student.width": {"int": [4, 32]}}},
            r"has searched none of student.width; it has searched student_strength, distillation_alpha, augmentation_",
        ),
        (
            {"warm": "other", "search": RANGES | {"student.width": {"int": [4, 8]}}},
            "warm_start.study: none of the 30 finished trials of .*/other is in the search space",
        ),
        (
            {"warm": "other", "objectives": [{"metric": "affinity", "mode": "max"}], "metrics": {"affinity": True}},
            "warm_start.study: no trial of .*/other reports 'affinity', an objective",
        ),
        ({"warm": "empty"}, "warm_start.study: .*/empty has no finished trial yet"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(spec: dict[str, Any], message: str, tmp_path: Path) -> None:
    other(tmp_path)
    run(tmp_path, checked(study("empty"), say=str), most=1)
    with pytest.raises(SpecError, match=message) as caught:
        with_warm_start(study(**spec), Root.open(tmp_path), None)
    assert str(caught.value).startswith("warm_start.study: ")
    assert "\n" not in str(caught.value)


def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
    other(tmp_path)
    for file in [*tmp_path.glob("other/trials/*.parquet"), *tmp_path.glob("other/copies/*.parquet")]:
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(SpecError, match=r"^warm_start\.study: .*trials") as caught:
        with_warm_start(study(warm="other"), Root.open(tmp_path), None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sampler", "study_name", "message"),
    [
        ("grid", "other", "warm_start: sampler 'grid' learns from no trials; possible: cmaes, gp, nsga2, nsga3, tpe"),
        ("random", "other", "warm_start: sampler 'random' learns from no trials"),
        ("qmc", "other", "warm_start: sampler 'qmc' learns from no trials"),
        ("tpe", "s", "warm_start.study: 's' is the study itself; name another"),
        ("tpe", "", "warm_start.study: "),
    ],
)
def test_mistakes_of_the_file_are_one_line(sampler: str, study_name: str, message: str) -> None:
    search = {"student_strength": {"grid": [0.0, 1.0]}} if sampler == "grid" else None
    with pytest.raises(SpecError, match=message):
        study(sampler=sampler, search=search, warm=study_name)


def test_it_is_of_the_launch_and_cannot_change(tmp_path: Path) -> None:
    other(tmp_path)
    run(tmp_path, checked(study(), say=str), most=1)
    with pytest.raises(SpecError, match=r"warm_start.study: 'other' differs from null .* read once, at the launch"):
        _launch(study(warm="other"), StudyFolder(tmp_path, "s"), None, None, None)
