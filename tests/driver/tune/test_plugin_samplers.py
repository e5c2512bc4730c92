"""Samplers of plug-ins: selected by name with parameters of their own; where they fail, the study says so."""

import itertools
from pathlib import Path

import pytest

from kd_sweep.driver.study_checks import check_sampler
from kd_sweep.driver.tune.optuna_source import OptunaSource
from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.worker_messages import WorkerSettings
from kd_sweep.errors import PluginError, SamplerError, SpecError
from kd_sweep.study.file.frozen import check_extension, frozen_yaml, load_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.reader import open_results
from tests.command_line import Run

PLUGIN = """
import itertools
import numpy
import optuna
from pydantic import Field
from kd_sweep import Parameters, sampler

class Warmup(Parameters):
    warmup: int = Field(5, ge=1)

@sampler("model", parameters=Warmup, max_objectives=2)
def model(parameters, request):
    return optuna.samplers.TPESampler(seed=request.seed, n_startup_trials=parameters.warmup, constant_liar=True)

@sampler("sequence", learns=False, min_ranges=2)
def sequence(parameters, request):
    return optuna.samplers.RandomSampler(seed=request.seed)

NUMBERS = itertools.count()

class Own(optuna.samplers.BaseSampler):
    def infer_relative_search_space(self, study, trial):
        return {together}
    def sample_relative(self, study, trial, search_space):
        return {relative}
    def sample_independent(self, study, trial, name, distribution):
        {body}

@sampler("own")
def own(parameters, request):
    {making}
"""
RANGES = "search: {student_strength: {uniform: [0, 1]}, distillation.alpha: {uniform: [0, 0.9]}}\n"
NUMBERS = itertools.count()


def plugin(
    folder: Path, body: str = "", making: str = "return Own()", together: str = "{}", relative: str = "{}"
) -> str:
    """Write a plug-in and return its name."""
    name = f"samplers_of_test_{next(NUMBERS)}"
    text = PLUGIN.replace("{together}", together).replace("{relative}", relative)
    (folder / f"{name}.py").write_text(text.replace("{body}", body or "pass").replace("{making}", making))
    return name


def study(folder: Path, name: str, sampler: str, more: str = "", search: str = RANGES) -> StudySpec:
    text = f"name: s\nplugins: [{name}]\nsampler: {{name: '{name}:{sampler}}}\n{more}"
    return parse_spec(text + search, "s.yaml", folder=folder)


def loss(trial: TrialConfig) -> float:
    return (trial.student_strength - 0.8) ** 2 + (trial.distillation.alpha - 0.2) ** 2


def test_a_sampler_of_optuna_is_three_lines_and_learns(tmp_path: Path) -> None:
    """Against random points with the same number of trials, over seeds."""
    name, wins = plugin(tmp_path), 0
    for seed in range(5):
        best = {}
        for sampler in ("model', warmup: 8", "sequence'"):
            spec = study(tmp_path, name, f"{sampler}, seed: {seed}", "objectives: [{metric: val_loss}]\n")
            source, losses = OptunaSource(spec, [], 40), []
            while (suggestion := source.next()) is not None:
                losses.append(loss(suggestion.trial))
                source.tell(suggestion.trial, (losses[-1],))
            assert len(losses) == 40
            best[sampler] = min(losses)
        wins += best["model', warmup: 8"] < best["sequence'"]
    assert wins >= 4


def test_parameters_are_keys_of_the_section_beside_those_of_every_sampler(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    spec = study(tmp_path, name, "model', warmup: 3, num_trials: 7")
    content = spec.sampler.model_dump(mode="json")
    assert content.pop("name_source").startswith("1+")
    assert content == {"name": f"{name}:model", "warmup": 3, "num_trials": 7, "seed": 0}
    assert (plan(spec).num_trials, plan(spec).exact, planned_trials(spec)) == (7, False, [])


@pytest.mark.parametrize(
    ("sampler", "more", "message"),
    [
        ("model', warmup: 0", "", "sampler.warmup: 0 is not at least 1 (s.yaml, line 3)"),
        ("model', warm: 1", "", "sampler.warm: unknown key, did you mean 'warmup'? possible: name, num_trials, seed, "),
        ("sequence', warmup: 1", "", "sampler.warmup: unknown key, "),
        ("modle'", "", "sampler.name: '{name}:modle' is not an option, did you mean '{name}:model'? possible: "),
        ("sequence'", "warm_start: {study: other}\n", "warm_start: sampler '{name}:sequence' learns from no trials; "),
        (
            "model'",
            "objectives: [{metric: ece}, {metric: val_loss}, {metric: val_accuracy}]\n",
            "sampler.name: '{name}:model' optimises 2 objectives, and the study has 3; possible: gp, nsga2, ",
        ),
        ("model'", "seeds: 2\nsearch: {seed: {grid: [0, 1]}}\n", "search.seed: "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, sampler: str, more: str, message: str) -> None:
    name = plugin(tmp_path)
    with pytest.raises(SpecError) as caught:
        study(tmp_path, name, sampler, more, "" if "search" in more else RANGES)
    assert str(caught.value).startswith(message.replace("{name}", name))
    assert "\n" not in str(caught.value)


def test_what_a_sampler_needs_of_a_search_is_checked(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    with pytest.raises(SpecError, match="needs 2 dimensions that are uniform or int"):
        study(tmp_path, name, "sequence'", search="search: {student_strength: {uniform: [0, 1]}}\n")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"body": "return 1 / 0"},
            "raised ZeroDivisionError: division by zero ({name}.py, line 27) when it was asked ",
        ),
        ({"body": "return float('nan')"}, "raised ValueError: `nan` is invalid value."),
        ({"body": "return None"}, "raised ValueError: 'None' is not a valid type"),
        ({"body": "return distribution.high + 1"}, "suggested 1.9 for distillation.alpha, which is not in Float"),
        (
            {"body": "return next(NUMBERS) / 100"},
            "suggested {'distillation.alpha': 0.0, 'student_strength': 0.01}, then",
        ),
        ({"body": "return numpy.random.default_rng().random() / 2"}, "suggested {'distillation.alpha': 0."),
        ({"making": "return {}['x']"}, "raised KeyError: 'x' ({name}.py, line 31) when it was made"),
        ({"making": "return request"}, "made a SamplerRequest, which is no optuna.samplers.BaseSampler"),
        ({"making": "return Own"}, "made a "),
        (
            {"together": "{'student_strength': optuna.distributions.FloatDistribution(0, 1)}", "relative": "1 / 0"},
            "raised ZeroDivisionError: division by zero ({name}.py, line 25) when it was asked",
        ),
        (
            {
                "together": "{'student_strength': optuna.distributions.FloatDistribution(0, 1)}",
                "relative": "{'student_strength': -0.5}",
            },
            "suggested -0.5 for student_strength, which is not in FloatDistribution(high=1.0, log=False, low=0.0",
        ),
    ],
)
def test_a_sampler_that_fails_names_itself_before_anything_is_written(
    tmp_path: Path, written: dict[str, str], message: str
) -> None:
    name = plugin(tmp_path, **written)
    with pytest.raises(SamplerError) as caught:
        check_sampler(study(tmp_path, name, "own'"))
    assert str(caught.value).startswith(f"sampler.name: '{name}:own' " + message.replace("{name}", name))
    assert "\n" not in str(caught.value)


def test_a_sampler_that_fails_in_a_sweep_ends_it_and_not_a_trial(tmp_path: Path) -> None:
    name = plugin(tmp_path, body="return {}[0] if len(study.trials) > 2 else study.trials[-1].number / 10")
    spec = study(tmp_path, name, "own'")
    check_sampler(spec)
    searcher = TuneSearcher(
        OptunaSource(spec, [], 5), WorkerSettings(root="r", study="s", device="cpu", num_threads=1), (), lambda _: 0
    )
    assert isinstance(searcher.suggest("a"), dict)
    searcher.check()
    assert isinstance(searcher.suggest("b"), dict)
    assert searcher.suggest("c") == TuneSearcher.FINISHED
    with pytest.raises(SamplerError, match=r"raised KeyError: 0 \(.*, line 27\) when it was asked for"):
        searcher.check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "class P(Parameters):\n    seed: int = 1\n@sampler('x', parameters=P)",
            "its parameter 'seed' is a key of every",
        ),
        ("@sampler('x', learn=False)", "unexpected keyword argument 'learn'"),
        ("@sampler('x', parameters=dict)", "<class 'dict'> is not a subclass of kd_sweep's Parameters"),
    ],
)
def test_what_registers_no_sampler_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    name = f"samplers_of_test_{next(NUMBERS)}"
    code = f"from kd_sweep import Parameters, sampler\n{text}\ndef x(parameters, request):\n    pass\n"
    (tmp_path / f"{name}.py").write_text(code)
    with pytest.raises(SpecError) as caught:
        study(tmp_path, name, "x'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_may_go_on_with_another_sampler_or_an_edited_one(tmp_path: Path) -> None:
    """As with those that are built in: it is in no id."""
    name = plugin(tmp_path)
    new = study(tmp_path, name, "model'")
    older = new.model_copy(update={"sampler": new.sampler.model_copy(update={"name_source": "1+older"})})
    check_extension(older, new)
    check_extension(parse_spec(f"name: s\nsampler: {{name: tpe}}\n{RANGES}", "s"), new)


def test_a_stored_study_is_read_without_the_plugin_and_cannot_suggest(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    spec = study(tmp_path, name, "model', warmup: 3")
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    (frozen / "study.yaml").write_text(frozen_yaml(spec, {}).replace(spec.sampler.source or "-", "1+older"))
    (frozen / "study.yaml").write_text(resealed(frozen / "study.yaml"))
    stored = load_frozen(frozen).spec
    assert stored.sampler.parameters() == spec.sampler.parameters() | {"name_source": "1+older"}
    assert (stored.sampler.plans, stored.sampler.num_asked, plan(stored).num_trials) == (False, 20, 20)
    with pytest.raises(PluginError, match=r"is another version here than 1\+older"):
        OptunaSource(stored, [], 1).next()


def resealed(path: Path) -> str:
    from kd_sweep.study.file.frozen import _sealed

    return _sealed(path.read_text())


MENDED = """
import kd_sweep
import optuna

@kd_sweep.sampler("drawn")
def drawn(parameters, request):
    if request.number == {last}:
        raise RuntimeError("no more")
    return optuna.samplers.RandomSampler(seed=request.seed)
"""
SMALL_STUDY = """
name: drawn
plugins: [ownsampler]
data: {image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {width: 4, epochs: 1}
student: {width: 4, epochs: 1}
sampler: {name: "ownsampler:drawn", num_trials: 4}
max_concurrent_trials: 1
search: {distillation.alpha: {uniform: [0, 0.9]}}
"""


@pytest.mark.long  # that of a stopping rule goes the same way, in every run
def test_a_study_goes_on_with_the_mended_sampler_of_a_plugin(tmp_path: Path, kd_sweep: Run) -> None:
    file, root, module = tmp_path / "drawn.yaml", tmp_path / "results", tmp_path / "ownsampler.py"
    file.write_text(SMALL_STUDY)
    module.write_text(MENDED.replace("{last}", "0"))
    refused = kd_sweep("launch", file, "--root", root)
    assert (refused.returncode, root.exists()) == (2, False)
    line = "sampler.name: 'ownsampler:drawn' raised RuntimeError: no more (ownsampler.py, line 8) when it was made"
    assert refused.stderr.strip().splitlines()[-1] == f"kd-sweep: {line}"

    module.write_text(MENDED.replace("{last}", "2"))
    failed = kd_sweep("launch", file, "--root", root)
    assert (failed.returncode, failed.stderr.count("Traceback")) == (1, 0), failed.stderr
    last = failed.stderr.strip().splitlines()[-1]
    assert last == f"kd-sweep: {line}; the study has stopped: mend that, and launch its own file again"
    before = open_results(root).table("trials").sort_by("suggestion").to_pylist()
    assert [row["suggestion"] for row in before] == [0, 1]
    assert {row["status"] for row in before} <= {"completed", "interrupted"}
    assert kd_sweep("resume", root / "drawn").returncode == 1  # it has kept the source that fails

    module.write_text(MENDED.replace("{last}", "99"))
    mended = kd_sweep("launch", file, "--root", root)
    assert mended.returncode == 0, mended.stderr
    after = open_results(root).table("trials").sort_by("suggestion").to_pylist()
    assert [(row["suggestion"], row["status"]) for row in after] == [(number, "completed") for number in range(4)]
    assert [row["trial_id"] for row in after[:2]] == [row["trial_id"] for row in before]
