"""`seeds: {min: 3, max: 12, until: decided}` in a study file."""

import json
from typing import Any

import jsonschema
import pytest

from kd_sweep.errors import SpecError
from kd_sweep.study.file.frozen import check_extension, freeze, parse_frozen
from kd_sweep.study.file.json_schema import json_schema
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import StudySpec

SEARCH = {"augmentation_strength": {"grid": [0.0, 1.0]}, "student.width": {"grid": [4, 8]}}
GROWING = {"min": 3, "max": 5, "until": "decided"}


def study(seeds: Any, **others: Any) -> StudySpec:
    return parse_spec(json.dumps({"name": "s", "search": SEARCH, "seeds": seeds} | others), "s.yaml")


def test_trials_are_those_of_as_many_seeds_one_seed_after_another() -> None:
    growing = planned_trials(study(GROWING))
    assert [trial.config.seed for trial in growing] == [seed for seed in range(5) for _ in range(4)]
    assert {trial.trial_id for trial in growing} == {trial.trial_id for trial in planned_trials(study(5))}
    assert [t.config.seed for t in planned_trials(study(GROWING | {"first": 7}))][::4] == [7, 8, 9, 10, 11]
    assert (plan(study(GROWING)).num_trials, plan(study(GROWING)).exact) == (20, False)


def test_they_are_frozen_as_they_are_written() -> None:
    spec = study(GROWING | {"outcomes": ["val_accuracy"]})
    assert spec.seeds == AdaptiveSeeds(min=3, max=5, outcomes=("val_accuracy",))
    assert parse_frozen(freeze(spec, {}).text, "study.yaml").spec == spec
    jsonschema.validate({"name": "s", "seeds": {"min": 3, "max": 5, "outcomes": ["val_accuracy"]}}, json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "s", "seeds": {"min": 3}}, json_schema())


@pytest.mark.parametrize(
    ("seeds", "others", "message"),
    [
        ({"min": 2, "max": 5}, {}, "seeds.min: 2 is not at least 3"),
        ({"min": 3, "max": 51}, {}, "seeds.max: 51 is not at most 50"),
        ({"min": 5, "max": 5}, {}, "seeds: max 5 is not above min 5; seeds: 5 is a fixed number of them"),
        ({"min": 3}, {}, "seeds.max: is missing"),
        ({"min": 3, "max": 5, "until": "sure"}, {}, "seeds.until: 'sure' is not an option, possible: decided"),
        ({"min": 3, "max": 5, "most": 5}, {}, "seeds.most: unknown key"),
        ({"min": 3, "max": 5, "outcomes": "ece"}, {}, "seeds.outcomes: 'ece' is not a list"),
        (GROWING, {"search": SEARCH | {"seed": 0}}, "search.seed: stands beside seeds"),
        (
            GROWING,
            {"sampler": {"name": "tpe", "num_trials": 3}},
            "seeds: are added for verdicts, which sampler 'tpe' has none of; possible: sampler grid, or a fixed number",
        ),
        (
            GROWING,
            {"sampler": {"name": "random", "num_trials": 3}},
            "seeds: are added for verdicts, which sampler",
        ),
        (
            GROWING,
            {"scheduler": {"name": "asha"}, "student": {"epochs": 5}},
            "seeds: are added for verdicts, of which there are none where scheduler 'asha' stops trials",
        ),
    ],
)
def test_mistakes_are_one_line(seeds: Any, others: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message + r".*\(s.yaml, line 1\)$"):
        study(seeds, **others)


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ((GROWING, {}), (GROWING | {"max": 6}, {}), "seeds"),
        ((GROWING, {}), (5, {}), "seeds"),
        ((5, {}), (GROWING, {}), "seeds"),
        ((GROWING, {}), (GROWING, {"search": {"augmentation_strength": {"grid": [0.0, 0.5, 1.0]}}}), "search"),
    ],
)
def test_what_verdicts_are_corrected_for_cannot_change(before: Any, after: Any, field: str) -> None:
    with pytest.raises(SpecError, match=f"^{field}: cannot change in study 's', whose seeds are added while"):
        check_extension(study(before[0], **before[1]), study(after[0], **after[1]))


def test_a_budget_may_change() -> None:
    check_extension(study(GROWING), study(GROWING, budget={"max_trials": 12}))
