"""What a launch checks of a study's networks."""

import hashlib
import json

import pytest
from safetensors.torch import save_file

from kd_sweep.driver.study_checks import check_models, checked
from kd_sweep.errors import SpecError
from kd_sweep.networks.classifiers import build_for
from kd_sweep.study.file.frozen import frozen_yaml, parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.recipe import Learner
from kd_sweep.study.space.points import planned_trials


def test_every_network_that_a_search_can_make_is_built():
    content = {"name": "d", "data": {"image_size": 32}, "student": {"model": "shufflenet_v2_x0_5", "stem": "small"}}
    check_models(parse_spec(json.dumps(content), "d.yaml"))
    content["search"] = {"student.stem": {"grid": ["small", "full"]}}
    with pytest.raises(SpecError, match="'shufflenet_v2_x0_5' leaves a feature map of 1 x 1"):
        check_models(parse_spec(json.dumps(content), "d.yaml"))
    content["search"] = {"student.model": {"grid": ["shufflenet_v2_x0_5", "resnet8"]}}
    check_models(parse_spec(json.dumps(content), "d.yaml"))


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"teachers": [{}, {"model": "shufflenet_v2_x0_5"}]}, "teachers[1]"),
        (
            {"teachers": [{}, {"model": "shufflenet_v2_x0_5", "stem": "small"}]}
            | {"search": {"teachers.1.stem": {"grid": ["small", "full"]}}},
            "teachers[1]",
        ),
        ({"search": {"teacher_models": {"grid": [["resnet8"], ["resnet8", "shufflenet_v2_x0_5"]]}}}, "teacher"),
        (
            {"teachers": [{"model": "shufflenet_v2_x0_5", "epochs": 4}]}
            | {"search": {"teacher_models": {"grid": [["resnet8", "shufflenet_v2_x0_5"]]}}},
            "teachers[0]",
        ),
    ],
)
def test_every_network_of_a_mixed_ensemble_is_built(content, field):
    spec = parse_spec(json.dumps({"name": "d", "data": {"image_size": 32}, **content}), "d.yaml")
    with pytest.raises(SpecError) as caught:
        check_models(spec)
    assert str(caught.value).startswith(f"{field}.model: 'shufflenet_v2_x0_5' leaves a feature map of 1 x 1")


def test_weights_of_one_teacher_are_known_by_their_digest_and_none_of_another_by_the_common_ones(tmp_path):
    for name, width in (("common", 4), ("own", 6)):
        learner = Learner(model="resnet8").changed({"width": width})
        save_file(build_for(learner, 10, 1, 16).state_dict(), tmp_path / f"{name}.safetensors")
    content = {
        "name": "d",
        "teacher": {"width": 4, "weights": str(tmp_path / "common.safetensors")},
        "teachers": [{}, {"width": 6, "weights": str(tmp_path / "own.safetensors")}, {"weights": None}],
    }
    spec = checked(parse_spec(json.dumps(content), "d.yaml"), say=print)
    frozen = parse_frozen(frozen_yaml(spec, {}), "d.yaml").spec
    digests = [
        hashlib.sha256((tmp_path / f"{name}.safetensors").read_bytes()).hexdigest() for name in ("common", "own")
    ]
    for launched in (spec, frozen):
        (trial,) = planned_trials(launched)
        assert [learner.weights_digest for learner in trial.config.learners] == [*(d[:16] for d in digests), None]
        assert [learner.weights is None for learner in trial.config.learners] == [False, False, True]
