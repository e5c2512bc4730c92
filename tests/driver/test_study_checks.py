"""What a launch checks of a study's networks."""

import json

import pytest

from kd_sweep.driver.study_checks import check_models
from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec


def test_every_network_that_a_search_can_make_is_built():
    content = {"name": "d", "data": {"image_size": 32}, "student": {"model": "shufflenet_v2_x0_5", "stem": "small"}}
    check_models(parse_spec(json.dumps(content), "d.yaml"))
    content["search"] = {"student.stem": {"grid": ["small", "full"]}}
    with pytest.raises(SpecError, match="'shufflenet_v2_x0_5' leaves a feature map of 1 x 1"):
        check_models(parse_spec(json.dumps(content), "d.yaml"))
    content["search"] = {"student.model": {"grid": ["shufflenet_v2_x0_5", "resnet8"]}}
    check_models(parse_spec(json.dumps(content), "d.yaml"))
