import hashlib
import io
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kd_sweep.errors import SpecError, StorageError
from kd_sweep.study.file.frozen import check_extension, frozen_yaml, load_frozen
from kd_sweep.study.file.load import MAX_FILE_BYTES, load_spec, parse_spec
from kd_sweep.study.file.yaml_reader import read_yaml
from kd_sweep.study.file.yaml_writer import yaml_text

SWEEPS = sorted((Path(__file__).resolve().parents[3] / "sweeps").glob("*.yaml"))


def _spec(**content):
    return parse_spec(json.dumps({"name": "digits", **content}), "f.yaml")


def _freeze(folder, spec, **provenance):
    (folder / "study.yaml").write_text(frozen_yaml(spec, provenance), encoding="utf-8")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_a_frozen_study_is_the_same_study(tmp_path, path):
    spec = load_spec(path)
    _freeze(tmp_path, spec, torch="2.14.0", git_revision="1e5")
    assert load_frozen(tmp_path).spec == spec
    # Such a file can be launched as it is, too.
    assert load_spec(tmp_path / "study.yaml") == spec
    # Trials are the same, so the order of dimensions survived.
    assert list(load_frozen(tmp_path).spec.search) == list(spec.search)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30),
    number=st.floats(1e-300, 100),
    resource=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=10),
)
def test_any_text_and_number_survives_freezing(tmp_path, path, number, resource):
    resources = {"custom": {f"_{resource}": number}}
    spec = _spec(
        data={"name": "image_folder", "image_size": 32, "path": path},
        teacher={"learning_rate": number},
        resources=resources,
    )
    _freeze(tmp_path, spec, note=path)
    assert load_frozen(tmp_path).spec == spec


@pytest.mark.parametrize("text", ["1234567890123456", "123456789e012345", "0123", "null", "true", "1_000", "0x1f", "~"])
def test_text_that_looks_like_a_number_stays_text(tmp_path, text):
    spec = _spec(data={"name": "image_folder", "image_size": 32, "path": text, "fingerprint": text})
    _freeze(tmp_path, spec, version=text)
    assert load_frozen(tmp_path).spec == spec


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="utf-8"), max_size=12)
            | st.sampled_from(["yes", "No", "1e5", "0x1f", "1:30", "2024-01-01", "<<", "=", "~", "- a", "a: b", "#"]),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        ),
        max_size=4,
    )
)
def test_readers_of_both_yaml_versions_read_the_same_values(content):
    text = yaml_text(content)
    assert read_yaml(text or "{}", "f.yaml").content == content
    if content:
        assert yaml.safe_load(text) == content  # PyYAML: version 1.1
        assert YAML(typ="safe", pure=True).load(text) == content


def test_the_frozen_file_is_plain_yaml_with_every_default():
    text = frozen_yaml(_spec(), {"torch": "2.14.0"})
    content = YAML(typ="safe", pure=True).load(io.StringIO(text))
    assert text.startswith("# ")
    assert content["student"]["learning_rate"] == 0.1
    assert content["retries"] == 1
    assert content["provenance"]["torch"] == "2.14.0"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_study_is_damaged_never_another_study(tmp_path, share):
    _freeze(tmp_path, _spec(search={"seed": {"grid": [0, 1]}}), torch="2.14.0")
    path = tmp_path / "study.yaml"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    _damaged(tmp_path)


def test_every_truncation_at_a_line_is_noticed(tmp_path):
    lines = frozen_yaml(_spec(), {}).splitlines(keepends=True)
    for number in range(len(lines)):
        (tmp_path / "study.yaml").write_text("".join(lines[:number]))
        _damaged(tmp_path)


def test_every_flipped_bit_is_noticed_in_comments_and_provenance_too(tmp_path):
    _freeze(tmp_path, _spec(search={"seed": {"grid": [0, 1]}}), torch="2.14.0")
    path = tmp_path / "study.yaml"
    content = path.read_bytes()
    assert content.startswith(b"# ")
    for offset in (*range(0, content.index(b"\nname"), 5), *range(0, len(content), 41), len(content) - 1):
        for bit in (1, 32, 128):
            path.write_bytes(content[:offset] + bytes([content[offset] ^ bit]) + content[offset + 1 :])
            _damaged(tmp_path)


def _damaged(folder):
    with pytest.raises(StorageError) as caught:
        load_frozen(folder)
    message = str(caught.value)
    assert message.startswith("damaged study: ")
    assert "study.yaml" in message
    assert "\n" not in message


def test_a_study_that_grows_when_frozen_can_still_be_resumed(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text('name: digits\ndata: {name: image_folder, image_size: 32, path: "' + r"\a" * 200_000 + '"}\n')
    spec = load_spec(path)
    _freeze(tmp_path, spec)
    assert path.stat().st_size < MAX_FILE_BYTES < (tmp_path / "study.yaml").stat().st_size
    assert load_frozen(tmp_path).spec == spec


def test_a_study_changed_by_hand_is_damaged(tmp_path):
    _freeze(tmp_path, _spec())
    path = tmp_path / "study.yaml"
    path.write_text(path.read_text().replace("epochs: 8", "epochs: 9"))
    _damaged(tmp_path)
    for content in (b"\xff\xfe", b"", b"- 1", b"a: .nan\nprovenance: {file_sha256: x}\n"):
        path.write_bytes(content)
        _damaged(tmp_path)


def test_folders_that_are_no_study(tmp_path):
    (tmp_path / "digits").mkdir()
    _freeze(tmp_path / "digits", _spec())
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    for folder, message in [
        (tmp_path / "digit", f"{tmp_path}/digit: no such folder, not a study; did you mean 'digits'? possible: digits"),
        (tmp_path / "other", f"{tmp_path}/other: is not a study, it has no study.yaml"),
        (tmp_path, f"{tmp_path}: is not a study, it has no study.yaml; possible: digits"),
        (tmp_path / "file", f"{tmp_path}/file: is a file, not a study; possible: digits"),
    ]:
        with pytest.raises(StorageError) as caught:
            load_frozen(folder)
        assert str(caught.value) == message


def test_the_error_names_both_values():
    with pytest.raises(SpecError) as caught:
        check_extension(_spec(), _spec(student={"learning_rate": 0.05}))
    assert str(caught.value) == (
        "student.learning_rate: 0.05 differs from 0.1, with which study 'digits' was launched; results would mix "
        "(choose another name, or set it back)"
    )


TWO = [{"metric": "val_accuracy"}, {"metric": "val_loss", "mode": "min"}]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ({}, {"data": {"image_size": 32}}, "data.image_size"),
        ({}, {"data": {"max_train_images": 50}}, "data.max_train_images"),
        (
            {"search": {"augmentation_strength": 0.5}},
            {"search": {"augmentation_strength": 0.5}, "augmentation": {"transforms": ["color"]}},
            "augmentation.transforms",
        ),
        ({}, {"teacher": {"epochs": 9}}, "teacher.epochs"),
        ({}, {"distillation": {"temperature": 1.0}}, "distillation.temperature"),
        ({}, {"metrics": {"cam_threshold": 0.5}}, "metrics.cam_threshold"),
        ({}, {"scheduler": {"name": "asha"}}, "scheduler.name"),
        ({"scheduler": {"name": "asha"}}, {}, "scheduler.name"),
        ({"scheduler": {"name": "asha"}}, {"scheduler": {"name": "asha", "grace_period": 2}}, "scheduler.grace_period"),
        (
            {"scheduler": {"name": "asha", "metric": "ece", "mode": "max"}},
            {"scheduler": {"name": "asha", "metric": "ece", "mode": "min"}},
            "scheduler.mode",
        ),
        (
            {"scheduler": {"name": "asha"}},
            {"scheduler": {"name": "asha"}, "objectives": [{"metric": "val_loss", "mode": "min"}]},
            "scheduler.metric",
        ),
        ({"scheduler": {"name": "asha"}}, {"scheduler": {"name": "hyperband"}}, "scheduler.name"),
        (
            {"scheduler": {"name": "patience", "min_delta": 0.1}},
            {"scheduler": {"name": "patience", "min_delta": 0.2}},
            "scheduler.min_delta",
        ),
        (
            {"scheduler": {"name": "pareto_asha"}, "objectives": TWO},
            {"scheduler": {"name": "pareto_asha"}, "objectives": TWO[::-1]},
            "objectives",
        ),
        (
            {"search": {"student.epochs": {"grid": [4]}}, "student": {"epochs": 8}},
            {"student": {"epochs": 4}},
            "student.epochs",
        ),
        (
            {"data": {"name": "image_folder", "image_size": 32, "path": "a"}},
            {"data": {"name": "image_folder", "image_size": 32, "path": "b"}},
            "data.path",
        ),
    ],
)
def test_changes_that_mix_results(old, new, field):
    check_extension(_spec(**old), _spec(**old))
    with pytest.raises(SpecError, match=f"^{field}: .* differs from .*'digits'.*results would mix"):
        check_extension(_spec(**old), _spec(**new))


def test_other_images_mix_results():
    old, new = (
        _spec(data={"name": "image_folder", "image_size": 32, "path": "a", "fingerprint": fingerprint})
        for fingerprint in ("x", "y")
    )
    with pytest.raises(SpecError) as caught:
        check_extension(old, new)
    assert str(caught.value) == (
        "data.path: the images in a are not those that study 'digits' was launched with (data.fingerprint y, at launch "
        "x); results would mix (choose another name, or bring the old images back)"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"search": {"seed": {"grid": [0]}}}, {"search": {"seed": {"grid": [0, 1]}, "ensemble_size": 2}}),
        ({}, {"sampler": {"name": "random", "num_trials": 7}, "retries": 3, "max_concurrent_trials": 2}),
        (
            {},
            {
                "budget": {"max_hours": 1.0},
                "resources": {"cpus": 2},
                "objectives": [{"metric": "val_loss", "mode": "min"}],
            },
        ),
        (
            {"search": {"student.epochs": {"grid": [4]}}, "student": {"epochs": 8}},
            {"search": {"student.epochs": {"grid": [4, 6]}}, "student": {"epochs": 4}},
        ),
        (
            {"data": {"name": "image_folder", "image_size": 32, "path": "a", "fingerprint": "x"}},
            {"data": {"name": "image_folder", "image_size": 32, "path": "b", "fingerprint": "x"}},
        ),
        (
            {"scheduler": {"name": "asha"}},
            {
                "scheduler": {"name": "asha", "metric": "val_accuracy"},
                "objectives": [{"metric": "val_loss", "mode": "min"}],
            },
        ),
    ],
)
def test_changes_that_extend_a_study(old, new):
    if "scheduler" in new:
        new["scheduler"]["mode"] = "max"
    check_extension(_spec(**old), _spec(**new))


def _as_of(text, **provenance):
    """A frozen study as another version wrote it, whose checksum fits."""
    head, _, _ = text.partition("provenance:")
    about = "".join(f'  {key}: "{value}"\n' for key, value in provenance.items())
    text = f'{head}provenance:\n{about}  file_sha256: "{"0" * 64}"\n'
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("made_by", ["unreleased", "1", "3"])
def test_a_study_whose_ids_other_rules_made_is_one_line_that_says_so(tmp_path, cli, made_by):
    text = frozen_yaml(_spec(), {})
    assert yaml.safe_load(text)["provenance"]["identity_version"] == "2"
    study = tmp_path / "digits"
    study.mkdir()
    if made_by == "unreleased":
        text = text[: text.index("provenance:")] + 'provenance: {content_digest: "2f9b386d9af225b3"}\n'
    else:
        text = _as_of(text, identity_version=made_by)
    (study / "study.yaml").write_text(text)
    file = tmp_path / "digits.yaml"
    file.write_text("name: digits\n")
    for arguments in (("resume", str(study)), ("launch", str(file), "--root", str(tmp_path))):
        code, _, errors = cli(*arguments)
        assert code == 2
        lines = [line for line in errors.splitlines() if "identity_version" in line]
        assert len(lines) == 1
        assert (
            f"(identity_version {made_by}, here 2); go on with that version, or launch the study in another root"
            in lines[0]
        )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["digits", "digits.yaml", "study.yaml"]
