"""Generated malformed study files: each ends in one line that names the file, never in another exception."""

import copy
import json

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kd_sweep.cli import main
from kd_sweep.errors import SpecError
from kd_sweep.study.file.json_schema import json_schema
from kd_sweep.study.file.load import load_spec, parse_spec

STEPS = {"schedule": "step", "milestones": [4, 6]}
VALID = {
    "name": "valid",
    "data": {"name": "digits", "image_size": 16, "max_train_images": 100},
    "augmentation": {"transforms": ["geometry", "color"]},
    "teacher": {"model": "resnet8", "width": 16, "epochs": 8, "learning_rate": 0.1, **STEPS},
    "student": {"model": "resnet8", "width": 8, "epochs": 8, "momentum": 0.9},
    "distillation": {"loss": "kl", "temperature": 4.0, "alpha": 0.1},
    "metrics": {"cam_threshold": 0.4},
    "search": {
        "augmentation_strength": {"grid": [0.0, 0.5]},
        "ensemble_size": {"int": [1, 3]},
        "student.learning_rate": {"uniform": [0.01, 0.1], "log": True},
        "distillation.loss": {"choice": ["kl", "mse_logits"]},
        "seed": {"grid": [0, 1]},
    },
    "objectives": [{"metric": "val_accuracy", "mode": "max"}],
    "sampler": {"name": "random", "num_trials": 5},
    "scheduler": {"name": "asha", "metric": "val_accuracy", "grace_period": 2},
    "resources": {"cpus": 1, "gpus": 0.5, "custom": {"disk": 1.0}},
    "budget": {"max_trials": 4, "max_hours": 1.5},
    "max_concurrent_trials": 2,
    "retries": 1,
}

# A value that no field, list item or section at all may have, whatever its type.
NEVER = st.sampled_from([{"unheard": {"of": 1}}, [[["x"]]], [{"a": 1}]])
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_-. é\n", min_size=1, max_size=20)


def _paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


PATHS = [path for path in _paths(VALID) if path]
MAPPINGS = [path for path in _paths(VALID) if path != ("resources", "custom")]


def _at(content, path):
    for key in path:
        content = content[key]
    return content


@st.composite
def malformed_specs(draw):
    """The valid study with one thing in it that cannot be right."""
    content = copy.deepcopy(VALID)
    kind = draw(st.sampled_from(["value", "key", "typo", "name"]))
    if kind == "value":
        path = draw(st.sampled_from(PATHS))
        _at(content, path[:-1])[path[-1]] = draw(NEVER)
    elif kind == "key":
        path = draw(st.sampled_from([path for path in MAPPINGS if isinstance(_at(VALID, path), dict)]))
        section = _at(content, path)
        name = draw(NAMES.filter(lambda name: name not in KNOWN_KEYS))
        section[name] = draw(st.none() | st.integers() | st.text(max_size=5) | NEVER)
    elif kind == "typo":
        path = draw(st.sampled_from([p for p in PATHS if isinstance(p[-1], str) and p[:2] != ("resources", "custom")]))
        holder = _at(content, path[:-1])
        holder[path[-1] + draw(st.sampled_from(["x", "_", "2"]))] = holder.pop(path[-1])
    else:
        content["name"] = draw(st.sampled_from(["", ".", "a b", "a/b", "../x", "-x", "x" * 101, "a\nb", None, 3, True]))
    return content


KNOWN_KEYS = {
    key for definition in [json_schema(), *json_schema()["$defs"].values()] for key in definition.get("properties", {})
}


def _yaml(content):
    return yaml.dump(content, Dumper=yaml.CSafeDumper, default_flow_style=None)


def _one_line_error(text, *overrides):
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "sweeps/some.yaml", overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 1000
    return message


def test_the_valid_study_is_valid():
    assert parse_spec(_yaml(VALID), "f.yaml").name == "valid"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(malformed_specs())
def test_one_thing_wrong_is_one_line(content):
    assert "sweeps/some.yaml" in _one_line_error(_yaml(content))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(PATHS), st.sampled_from([None, True, -1, 0, 1, 1.5, 2, 9e99, "", "kl", "8", [], [0], [1, 0], {}])
)
def test_what_the_json_schema_refuses_is_refused(path, value):
    # jsonschema is the oracle: another implementation, reading the published schema.
    content = copy.deepcopy(VALID)
    _at(content, path[:-1])[path[-1]] = value
    if not SCHEMA.is_valid(content):
        _one_line_error(json.dumps(content))


SCHEMA = Draft202012Validator(json_schema())


@settings(max_examples=150)
@given(st.data())
def test_damaged_text_is_a_study_or_one_line(data):
    text = _yaml(VALID)
    offset = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 20))
    inserted = data.draw(st.text("{}[]:,&*!\"'\t\n -#%@`1aé\x00\u2028", max_size=5))
    damaged = text[:offset] + inserted + text[offset + removed :]
    message = "sweeps/some.yaml"
    try:
        parse_spec(damaged, message)
    except SpecError as error:
        message = str(error)
    assert "\n" not in message
    assert "sweeps/some.yaml" in message


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_any_bytes_are_one_line(tmp_path, content):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert "\n" not in str(caught.value)
    assert "bytes.yaml" in str(caught.value)


@settings(max_examples=100)
@given(
    st.sampled_from(PATHS).map(lambda path: ".".join(map(str, path))) | NAMES,
    NEVER.map(json.dumps),
)
def test_a_wrong_override_is_one_line(key, value):
    message = _one_line_error(_yaml(VALID), f"{key}={value}")
    assert "--set " in message


@st.composite
def refused_by_the_json_schema(draw):
    content = copy.deepcopy(VALID)
    path = draw(st.sampled_from(PATHS))
    _at(content, path[:-1])[path[-1]] = draw(st.sampled_from([None, -1, 0, 1.5, 9e99, "", "8", [], [1, 0], {}]))
    assume(not SCHEMA.is_valid(content))
    return content


def test_launching_them_is_one_line_and_exit_code_2(tmp_path, capfdbinary):
    """The command itself: nothing on standard output, nothing written."""
    study, root = tmp_path / "some.yaml", tmp_path / "results"
    refused = set()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(malformed_specs().map(_yaml) | refused_by_the_json_schema().map(_yaml) | st.binary(max_size=60))
    def launch(content):
        study.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(SystemExit) as end:
            main(["launch", str(study), "--root", str(root)])
        out, err = capfdbinary.readouterr()
        message = err.decode()
        assert end.value.code == 2, message
        assert out == b""
        assert message.startswith("kd-sweep: ")
        assert "some.yaml" in message
        assert message.count("\n") == 1
        assert message.endswith("\n")
        assert list(tmp_path.iterdir()) == [study]
        refused.add(content)

    launch()
    assert len(refused) >= 60
