"""Each sampler is a file, and suggests what it says that it does."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from scipy.stats import qmc

from kd_sweep.catalogue.entries import entry_names
from kd_sweep.catalogue.kinds import SAMPLER
from kd_sweep.driver.study_checks import check_sampler
from kd_sweep.driver.tune.optuna_samplers import ToldTrial
from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig

RANGES = {
    "student_strength": {"uniform": [0, 1]},
    "distillation.alpha": {"uniform": [0, 0.99]},
    "student.learning_rate": {"uniform": [1e-3, 1], "log": True},
}
THREE = [{"metric": metric, "mode": "max"} for metric in ("val_accuracy", "fidelity_val", "train_accuracy")]


def study(sampler: dict[str, Any], search: dict[str, Any] | None = None, **others: Any) -> StudySpec:
    return parse_spec(json.dumps({"name": "s", "search": search or RANGES, "sampler": sampler} | others), "s.yaml")


def loss(trial: TrialConfig) -> float:
    rate = (trial.student.learning_rate - 0.05) ** 2
    return (trial.student_strength - 0.83) ** 2 + (trial.distillation.alpha - 0.21) ** 2 + rate


def best_loss(spec: StudySpec) -> float:
    source, losses = OptunaSource(spec, [], spec.sampler.num_trials), []  # type: ignore[union-attr]
    while (suggestion := source.next()) is not None:
        losses.append(loss(suggestion.trial))
        source.tell(suggestion.trial, (losses[-1],))
    return min(losses)


@pytest.mark.parametrize(("sampler", "num_trials", "seeds"), [("cmaes", 70, 5), ("gp", 20, 3)])
def test_a_sampler_that_models_is_better_than_a_sequence(sampler: str, num_trials: int, seeds: int) -> None:
    objectives = [{"metric": "val_loss", "mode": "min"}]
    best = {
        name: statistics.median(
            best_loss(study({"name": name, "num_trials": num_trials, "seed": seed}, objectives=objectives))
            for seed in range(seeds)
        )
        for name in (sampler, "qmc")
    }
    assert best[sampler] < best["qmc"] / 2


@pytest.mark.parametrize(("name", "sequence"), [("sobol", qmc.Sobol), ("halton", qmc.Halton)])
def test_qmc_is_the_sequence_and_learns_nothing(name: str, sequence: type[qmc.QMCEngine]) -> None:
    source = OptunaSource(study({"name": "qmc", "seed": 3, "sequence": name}), [], 8)
    expected = sequence(3, scramble=True, seed=3).random(8)
    for alpha, rate, strength in expected:  # by name, as Optuna is asked
        suggestion = source.next()
        assert suggestion is not None
        trial = suggestion.trial
        assert trial.distillation.alpha == pytest.approx(0.99 * alpha)
        assert trial.student.learning_rate == pytest.approx(10 ** (3 * rate - 3))
        assert trial.student_strength == pytest.approx(strength)
        source.tell(trial, (loss(trial),))


@pytest.mark.parametrize("sampler", sorted(set(entry_names(SAMPLER)) - {"cmaes", "grid", "random"}))
def test_three_objectives(sampler: str) -> None:
    settings = {"name": sampler, "num_trials": 12} | ({"population_size": 4} if "nsga" in sampler else {})
    source = OptunaSource(study(settings, objectives=THREE), [], 12)
    trials = []
    while (suggestion := source.next()) is not None:
        trials.append(suggestion.trial)
        source.tell(trials[-1], (trials[-1].student_strength, trials[-1].distillation.alpha, -loss(trials[-1])))
    assert len(trials) == 12


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"sampler": {"name": "cmaes"}, "objectives": THREE},
            r"sampler.name: 'cmaes' optimises one objective, and the study has 3; possible: gp, nsga2, nsga3, qmc, tpe",
        ),
        (
            {"sampler": {"name": "cmaes"}, "search": {"seed": 0, "student_strength": {"uniform": [0, 1]}}},
            r"sampler.name: 'cmaes' needs 2 dimensions that are uniform or int, without when; the search has 1",
        ),
        (
            {"sampler": {"name": "gpp"}},
            r"sampler.name: unknown sampler 'gpp', did you mean 'gp'\? possible: cmaes, gp, ",
        ),
        ({"sampler": {"name": "qmc", "sequence": "sobel"}}, r"'sobel' is not an option, did you mean 'sobol'\?"),
        ({"sampler": {"name": "cmaes", "population_size": 3}}, r"sampler.population_size: 3 is not at least 4"),
    ],
)
def test_what_a_sampler_cannot_do_is_one_line(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        study(spec["sampler"], spec.get("search"), objectives=spec.get("objectives", THREE[:1]))


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = study({"name": "cmaes"})
    check_sampler(spec)
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(
        SpecError, match=r"'cmaes' needs cmaes, which is not installed; pip install -e '\.\[samplers\]'"
    ):
        check_sampler(spec)


ONE_FILE = """
from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import SamplerParameters


class Inset(SamplerParameters):
    inset: float = 0.0


@sampler("corner", parameters=Inset)
def corner(parameters, request):
    from kd_sweep.driver.tune.unit_cube import UnitCubeSampler

    return UnitCubeSampler(request.space, lambda study: [1 - parameters.inset] * len(request.space), request.seed)
"""
USER = """
import sys
import kd_sweep.driver.tune.samplers as folder
folder.__path__.append(sys.argv[1])
from kd_sweep.study.file.load import parse_spec
from kd_sweep.driver.tune.optuna_samplers import ToldTrial
from kd_sweep.driver.tune.optuna_source import OptunaSource
text = "{name: s, sampler: {name: corner, inset: %s}, search: {student_strength: {uniform: [0, 1]}}}"
print(OptunaSource(parse_spec(text % 0.25, "s"), [], 1).next().trial.student_strength)
parse_spec(text % "deep", "s")
"""


def test_a_new_sampler_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "corner.py").write_text(ONE_FILE)
    done = subprocess.run([sys.executable, "-c", USER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "0.75\n"
    assert done.stderr.endswith("SpecError: sampler.inset: 'deep' is not a number (s, line 1)\n")


@pytest.mark.parametrize(
    ("state", "value"), [(TrialState.COMPLETE, 0.5), (TrialState.FAIL, None), (TrialState.RUNNING, None)], ids=str
)
def test_a_study_keeps_what_it_is_told_of_as_it_keeps_a_trial_that_optuna_has_made(
    state: TrialState, value: float | None
) -> None:
    space = {"x": FloatDistribution(0, 1), "of another branch": FloatDistribution(0, 1)}
    values = None if value is None else [value]
    told = ToldTrial(state, values, {"x": 0.25}, space, {"generation": 1}, {"warm": True})
    made = create_trial(
        state=state,
        values=values,
        params={"x": 0.25},
        distributions={"x": space["x"]},
        system_attrs={"generation": 1},
        user_attrs={"warm": True},
    )
    studies = [optuna.create_study() for _ in range(2)]
    for trial, asked in zip((told, made), studies, strict=True):
        asked.add_trials([trial, trial])
    kept = [
        [(one.number, one.state, one.values, one.params, one.distributions) for one in asked.trials]
        + [(one.system_attrs, one.user_attrs, one.intermediate_values) for one in asked.trials]
        + [(one.datetime_start is None, one.datetime_complete is None) for one in asked.trials]
        for asked in studies
    ]
    assert kept[0] == kept[1]
    studies[0].trials[0].params["x"] = 0.5
    assert told.params == studies[0].trials[0].params == {"x": 0.25}
