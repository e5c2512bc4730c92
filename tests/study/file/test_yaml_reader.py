import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.file.overrides import apply_overrides
from kd_sweep.study.file.yaml_reader import read_yaml

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8).filter(lambda k: k != "<<"), inner),
    max_leaves=20,
)


def _read(text):
    return read_yaml(text, "f.yaml").content


def _error(text):
    with pytest.raises(SpecError) as caught:
        read_yaml(text, "f.yaml")
    return str(caught.value)


@settings(max_examples=200)
@given(JSON_VALUES)
def test_json_is_read_as_json_does(value):
    # JSON is a subset of YAML 1.2; json.loads is the oracle. Escapes of pairs of surrogates are JSON's own.
    text = json.dumps(value)
    if "\\ud" not in text:
        assert _read(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0", 0),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("-.inf", float("-inf")),
        ("~", None),
        ("True", True),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'1'", "1"),
        ('"true"', "true"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    found = _read(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_lines_are_those_of_the_keys():
    document = read_yaml("name: d\n\nteacher:\n  epochs: 8\n  milestones:\n    - 1\n    - 2\n", "f.yaml")
    assert document.origin(("teacher", "epochs")) == "f.yaml, line 4"
    assert document.origin(("teacher", "milestones", 1)) == "f.yaml, line 7"
    assert document.origin(("teacher", "unheard", "of")) == "f.yaml, line 3"
    assert document.origin(("elsewhere",)) == "f.yaml"


def test_anchors_aliases_and_merge_keys_are_copied():
    content = _read("a: &x {b: 1, c: [1]}\nd: *x\ne: {<<: *x, b: 2}\n")
    assert content == {"a": {"b": 1, "c": [1]}, "d": {"b": 1, "c": [1]}, "e": {"b": 2, "c": [1]}}
    content["d"]["c"].append(2)
    assert content["a"]["c"] == [1]


def test_an_alias_bomb_is_refused_before_it_grows():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    assert "holds more than 100000 values" in _error("\n".join(lines))
    long_text = "a: &a " + "x" * 500_000 + "\nb: [" + "*a, " * 1000 + "]"
    assert "holds more than 100000 values" in _error(long_text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\na: 2", "f.yaml, line 2: a: written twice, in lines 1 and 2"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "a.b: written twice, in lines 2 and 4"),
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: !!str 5", "tag"),
        ("!x a: 1", "tag"),
        ("a: ! 1", "tag"),
        ("a: *b", "alias *b"),
        ("a: &b [*b]", "alias *b"),
        ("a: 1\n---\nb: 2", "f.yaml, line 2: a second document"),
        ("[1]: 2", "a key must be text"),
        ("a: [1\nb: 2", "f.yaml, line 2: is not valid YAML"),
        ("\ta: 1", "f.yaml, line 1: is not valid YAML"),
        ("a: \x07", "is not valid YAML"),
        ('a: "\\U99999999"', "is not valid YAML"),
        ("a: " + "[" * 5000, "nested deeper"),
        ("a: " + "9" * 5000, "too long"),
        ("<<: 3", "<<: needs an alias of a mapping"),
    ],
)
def test_what_yaml_allows_and_a_study_does_not(text, part):
    message = _error(text)
    assert part in message
    assert message.startswith("f.yaml")
    assert "\n" not in message


@settings(max_examples=200)
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=40) | st.text("ab:-[]{}&*!|>'\"%#\n\t ,?<~1.", max_size=40)
)
def test_any_text_is_read_or_refused_in_one_line(text):
    message = "f.yaml"
    try:
        json.dumps(_read(text))
    except SpecError as error:
        message = str(error)
    assert "\n" not in message
    assert message.startswith("f.yaml")


def _override(text, *overrides):
    document = read_yaml(text, "f.yaml")
    apply_overrides(document, overrides)
    return document


@pytest.mark.parametrize(
    ("override", "content"),
    [
        ("a.b=4", {"a": {"b": 4}, "l": [{"m": 1}]}),
        ("a.c.d=[1, 2]", {"a": {"b": 1, "c": {"d": [1, 2]}}, "l": [{"m": 1}]}),
        ("e={x: 1e-3}", {"a": {"b": 1}, "l": [{"m": 1}], "e": {"x": 0.001}}),
        ("l.0.m=x=y", {"a": {"b": 1}, "l": [{"m": "x=y"}]}),
        ("a=", {"a": None, "l": [{"m": 1}]}),
        ("search.student.width.grid=[1]", {"a": {"b": 1}, "l": [{"m": 1}], "search": {"student.width": {"grid": [1]}}}),
        ("search.student.width=8", {"a": {"b": 1}, "l": [{"m": 1}], "search": {"student.width": 8}}),
        ("search.seed.grid.0=8", None),
    ],
)
def test_an_override_sets_one_path(override, content):
    if content is None:
        document = _override("search: {seed: {grid: [1, 2]}}", override)
        assert document.content == {"search": {"seed": {"grid": [8, 2]}}}
    else:
        assert _override("a: {b: 1}\nl: [{m: 1}]", override).content == content


def test_an_override_of_a_dimension_replaces_its_kind():
    text = "search: {s: {uniform: [0, 1], step: 0.5}, t: 3}"
    assert _override(text, "search.s.grid=[1]").content["search"]["s"] == {"grid": [1]}
    assert _override(text, "search.s.uniform=[0, 2]").content["search"]["s"] == {"uniform": [0, 2], "step": 0.5}
    assert _override(text, "search.t.grid=[1, 2]").content["search"] == {
        "s": {"uniform": [0, 1], "step": 0.5},
        "t": {"grid": [1, 2]},
    }
    both = _override(text, "search.t.uniform=[0, 1]", "search.t.step=0.1").content["search"]["t"]
    assert both == {"uniform": [0, 1], "step": 0.1}


def test_an_override_is_the_origin_of_what_it_set():
    document = _override("a: {b: 1}\nc: 2", "a.b=2", "a.d.e=3")
    assert document.origin(("a", "b")) == "--set a.b=2"
    assert document.origin(("a", "d", "e")) == "--set a.d.e=3"
    assert document.origin(("c",)) == "f.yaml, line 2"


@pytest.mark.parametrize(
    "override", ["a", "=1", "a..b=1", ".a=1", "a.b.c=1", "l.3=1", "a=[1", "a={b: 1, b: 2}", "a: 1"]
)
def test_a_bad_override_names_itself(override):
    with pytest.raises(SpecError) as caught:
        _override("a: {b: 1}\nl: [1]", override)
    assert f"--set {override}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("name: x\t\nretries: 1 \t \n", {"name": "x", "retries": 1}),
        ("name: x\t# why\n\t\n  \t# more\nretries:\t1\t\r\n", {"name": "x", "retries": 1}),
        ("data:\t\n  name: 'a'\t\nlist:\n-\ta\t\n", {"data": {"name": "a"}, "list": ["a"]}),
        ('a: {b: 1}\t\nc: "x\ty"\t\n', {"a": {"b": 1}, "c": "x\ty"}),
    ],
)
def test_tabs_are_spaces_where_yaml_says_so(text: str, content: object) -> None:
    assert _read(text) == content


@pytest.mark.parametrize("text", ["\tname: x\n", "data:\n\tname: x\n"])
def test_a_tab_that_indents_is_told(text: str) -> None:
    assert "a tab stands where only spaces may" in _error(text)


@pytest.mark.parametrize("number", ["010", "1.50", "0x1F", "1e3", "+7"])
def test_a_number_that_should_be_text_is_told_as_it_is_written(number: str) -> None:
    rule = f"name: {number} is not text; write '{number}' in quotes "
    with pytest.raises(SpecError, match=re.escape(rule)):
        parse_spec(f"name: {number}", "f.yaml")
    with pytest.raises(SpecError, match=re.escape(rule)):
        parse_spec("name: 12", "f.yaml", [f"name={number}"])


def test_an_override_makes_the_list_that_a_file_leaves_out() -> None:
    made = parse_spec("name: a", "f.yaml", ["objectives.0.metric=ece", "objectives.0.mode=min", "search.seed.grid.0=3"])
    assert [(objective.metric, objective.mode) for objective in made.objectives] == [("ece", "min")]
    assert made == parse_spec("name: a\nobjectives: [{metric: ece, mode: min}]\nsearch: {seed: {grid: [3]}}", "f.yaml")
    two = ["objectives.0.metric=ece", "objectives.0.mode=min", "objectives.1.metric=val_accuracy"]
    sampler = ["sampler={name: nsga2, num_trials: 4}", "search.ensemble_size={int: [1, 2]}"]
    assert len(parse_spec("name: a", "f.yaml", [*two, *sampler]).objectives) == 2
    with pytest.raises(SpecError, match=r"objectives.3: the list has indices 0 to 0; 1 adds one"):
        parse_spec("name: a\nobjectives: [{metric: ece, mode: min}]", "f.yaml", ["objectives.3.metric=ece"])
