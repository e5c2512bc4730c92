"""Fields that change nothing are refused, given or searched; equal networks and images have one name."""

import json
from typing import Any

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.recipe import Augmentation, Data, Distillation, Learner
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig

CIFAR = {"name": "cifar10", "path": "somewhere"}
STEP = {"epochs": 8, "schedule": "step", "milestones": [4]}


def spec(**content: Any) -> StudySpec:
    return parse_spec(json.dumps({"name": "d", **content}), "f.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"student": {"milestones": [3]}}, r"student.milestones: \[3\] has no effect except with schedule 'step'"),
        ({"teacher": {"gamma": 0.5}}, "teacher.gamma: 0.5 has no effect except with schedule 'step'"),
        (
            {"teacher": STEP | {"milestones": [4, 8]}},
            r"teacher.milestones: \[4, 8\] has no effect beyond the last epoch",
        ),
        ({"student": {"optimizer": "adamw", "momentum": 0.5}}, "student.momentum: 0.5 .* with optimizer 'adamw'"),
        ({"student": {"optimizer": "adamw", "nesterov": False}}, "student.nesterov: false .* with optimizer 'adamw'"),
        ({"student": {"momentum": 0.0, "nesterov": False}}, "student.nesterov: false has no effect with momentum 0"),
        ({"teacher": {"epochs": 1, "schedule": "constant"}}, "teacher.schedule: 'constant' .*warmup_epochs"),
        ({"distillation": {"loss": "mse_logits", "temperature": 2.0}}, "distillation.temperature: 2.0 has no effect"),
        (
            {"distillation": {"loss": "kl", "non_target_class_weight": 2.0}},
            "non_target_class_weight: 2.0 has no effect",
        ),
        ({"distillation": {"loss": "none", "alpha": 0.5}}, "distillation.alpha: 0.5 has no effect with loss 'none'"),
        ({"distillation": {"alpha": 1.0, "temperature": 2.0}}, "temperature: 2.0 has no effect with .*alpha 1"),
        ({"distillation": {"alpha": 1.0, "loss": "dkd"}}, "distillation.loss: 'dkd' has no effect"),
        (
            {"distillation": {"ensemble_reducer": "probabilities"}},
            "ensemble_reducer: .* has no effect with one teacher",
        ),
        ({"distillation": {"alpha": 0.0}, "student": {"label_smoothing": 0.1}}, "student.label_smoothing: 0.1 has no"),
        ({"augmentation": {"pipeline": "mixup"}}, "augmentation.pipeline: 'mixup' has no effect at strength 0"),
        ({"augmentation": {"transforms": ["color"]}}, "augmentation.transforms: .* has no effect at strength 0"),
        ({"data": {"horizontal_flip": True}}, "data.horizontal_flip: true has no effect where no image is mirrored"),
        ({"data": CIFAR | {"validation_fraction": 0.5}}, "data.validation_fraction: 0.5 has no effect on a dataset"),
        ({"data": CIFAR | {"split_seed": 1}}, "data.split_seed: 1 has no effect"),
    ],
)
def test_a_given_field_without_effect_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**content)


@pytest.mark.parametrize(
    ("content", "searched", "message"),
    [
        (
            {"student": {"optimizer": "adamw"}},
            {"student.momentum": [0.5, 0.9]},
            "search.student.momentum: has no effect",
        ),
        ({}, {"student.gamma": [0.1, 0.5]}, "search.student.gamma: has no effect except with schedule 'step'"),
        (
            {},
            {"student.optimizer": ["sgd", "adamw"], "student.momentum": [0.5, 0.9]},
            "search.student.momentum: has no effect .*, so trials would differ in nothing but their name",
        ),
        ({}, {"distillation.ensemble_reducer": ["teachers", "probabilities"], "ensemble_size": [1, 2]}, "one teacher"),
        ({}, {"distillation.ensemble_epochs": ["each", "shared"], "ensemble_size": [1, 2]}, "one teacher"),
        (
            {},
            {"distillation.alpha": [0.0, 0.5], "student.label_smoothing": [0.0, 0.1]},
            "search.student.label_smoothing",
        ),
        ({"student": {"optimizer": "adamw"}}, {"student.momentum": [0.5]}, "search.student.momentum"),
    ],
)
def test_a_searched_field_without_effect_in_some_trial_is_refused(
    content: dict[str, Any], searched: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        spec(search={name: {"grid": values} for name, values in searched.items()}, **content)


@pytest.mark.parametrize(
    "content",
    [
        {"student": STEP | {"gamma": 0.5}},
        {"student": {"optimizer": "adamw", "momentum": 0.9, "nesterov": True}},  # at their defaults, as when frozen
        {"student": {"momentum": 0.5}, "search": {"student.optimizer": {"grid": ["sgd", "adamw"]}}},
        {"distillation": {"temperature": 2.0}, "search": {"distillation.loss": {"grid": ["kl", "mse_logits"]}}},
        {
            "search": {"distillation.alpha": {"uniform": [0, 1]}, "distillation.temperature": {"uniform": [1, 8]}},
            "sampler": {"name": "random"},
        },
        {"distillation": {"temperature": 2.0}, "search": {"distillation.alpha": {"grid": [0.0, 0.5, 1.0]}}},
        {"data": CIFAR | {"split_seed": 1, "max_train_images": 100}},
        {"augmentation": {"pipeline": "mixup"}, "search": {"student_strength": {"grid": [0.5]}}},
        {"search": {"teacher_strengths": {"grid": [[0.0], [0.0, 0.5]]}}, "augmentation": {"transforms": ["color"]}},
    ],
)
def test_a_field_with_an_effect_in_some_trial_is_taken(content: dict[str, Any]) -> None:
    assert spec(**content)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Learner(width=16), Learner(width=None)),
        (Learner(model="resnet18"), Learner(model="torchvision:resnet18")),
        (Data(imbalance_ratio=1.0), Data()),
        (Data(horizontal_flip=False), Data()),
        (Data(name="cifar10", path="a", horizontal_flip=True), Data(name="cifar10", path="a")),
        (Augmentation(transforms=("erasing", "geometry")), Augmentation(transforms=("geometry", "erasing"))),
        (Distillation(teacher_weights=(2.0, 2.0)), Distillation()),
        (Distillation(teacher_weights=(2.0, 4.0)), Distillation(teacher_weights=(1.0, 2.0))),
        (Distillation(alpha=-0.0), Distillation(alpha=0.0)),
        (Distillation(temperature=2), Distillation(temperature=2.0)),
    ],
)
def test_equal_sections_have_one_name(one: Any, other: Any) -> None:
    def ids(section: Any) -> set[str]:
        name = "student" if isinstance(section, Learner) else type(section).__name__.lower()
        trial = TrialConfig(teacher_strengths=(0.0, 0.0), **{name: section})
        return {trial.trial_id, trial.model_copy(update={"teacher": trial.student}).teachers[0].teacher_id}

    assert one == other
    assert ids(one) == ids(other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"distillation": {"temperature": 1e30}}, "distillation.temperature: 1e[+]30 is not at most 100"),
        ({"distillation": {"temperature": 1e-30}}, "distillation.temperature: 1e-30 is not at least 0.01"),
        ({"student": {"learning_rate": 1e30}}, "student.learning_rate: .* is not at most 100"),
        ({"student": {"weight_decay": 1e30}}, "student.weight_decay: .* is not at most 10"),
        ({"distillation": {"loss": "dkd", "target_class_weight": 1e30}}, "target_class_weight: .* is not at most"),
        ({"distillation": {"teacher_weights": [1.0, 1e30]}}, "teacher_weights.* is not at most 1000000"),
        ({"data": {"imbalance_ratio": 1e30}}, "data.imbalance_ratio: .* is not at most 1000000"),
        ({"student": {"warmup_epochs": 1e30}}, "student.warmup_epochs: .* is not at most 1000000"),
        ({"resources": {"gpus": 1e30}}, "resources.gpus: .* is not at most"),
        ({"resources": {"custom": {"a": 1e300}}}, "resources.custom.a: .* is not at most"),
        ({"search": {"distillation.temperature": {"uniform": [1, 1e30], "log": True}}}, "is not at most 100"),
    ],
)
def test_numbers_that_would_overflow_are_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**content)


def test_milestones_have_one_order() -> None:
    with pytest.raises(SpecError, match=r"milestones \[5, 4\] are not in rising order, each once"):
        spec(student={"epochs": 8, "schedule": "step", "milestones": [5, 4]})
