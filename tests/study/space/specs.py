"""Study files of a search space, and the rule that one of them breaks."""

import json

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec


def spec_of(search, sampler="grid", settings=None, **others):
    content = {"name": "d", "search": search} | others
    content["sampler"] = {"name": sampler} | (settings or {})
    return parse_spec(json.dumps(content), "f.yaml")


def broken_rule(search, sampler="grid", **others):
    with pytest.raises(SpecError) as caught:
        spec_of(search, sampler, **others)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("(f.yaml, line 1)")
    return message.removesuffix(" (f.yaml, line 1)")
