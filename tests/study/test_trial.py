import json

import pytest

from kd_sweep.errors import StorageError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.identity import derived_seed, digest
from kd_sweep.study.recipe import Data
from kd_sweep.study.recorded_trials import recorded_trial, recorded_trials
from kd_sweep.study.space.points import trial_config
from kd_sweep.study.trial import TrialConfig


def _trial(**point):
    return trial_config(
        parse_spec(json.dumps({"name": "d"}), "f.yaml"), {k.replace("__", "."): v for k, v in point.items()}
    )


def test_identities_never_change_between_versions():
    # Written down once: with other digests every study would start anew and every teacher train again.
    assert TrialConfig().trial_id == "5c126bca2ff80ab7"
    assert TrialConfig().teachers[0].teacher_id == "636fe6c5fae2785a"
    assert TrialConfig().stream.stream_id == "9e10bd31df4fe972"
    strong = TrialConfig(teacher_strengths=(0.5, 0.5), student_strength=0.5)
    # `printf '{"data":{},"kind":"trial","student_strength":0.5,"teacher_strengths":[0.5,0.5]}' | sha256sum`
    assert strong.trial_id == "880e675095d391ca"
    assert [teacher.teacher_id for teacher in strong.teachers] == ["1da67adebacaa27d", "f90155ae1c7384fa"]
    assert strong.stream.stream_id == "ee2fcb9dda1529cd"


def test_defaults_never_change_between_versions():
    # Digests leave defaults out, so another default would give an old name to a new configuration.
    learner = {
        "model": "resnet8",
        "width": 16,
        "epochs": 8,
        "batch_size": 64,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "warmup_epochs": 1.0,
        "milestones": (),
        "gamma": 0.1,
        "label_smoothing": 0.0,
    }
    sections = {
        "data": {"name": "digits", "image_size": 16, "validation_fraction": 0.2, "split_seed": 0},
        "augmentation": {"transforms": ("geometry", "color", "erasing")},
        "teacher": learner,
        "student": learner,
        "distillation": {"loss": "kl", "temperature": 4.0, "alpha": 0.1},
        "metrics": {"cam_threshold": 0.4},
    }
    found = TrialConfig().model_dump()
    assert {name: {key: found[name][key] for key in fields} for name, fields in sections.items()} == sections
    assert (found["teacher_strengths"], found["student_strength"], found["seed"]) == ((0.0,), 0.0, 0)


def test_digest_is_the_sha256_of_canonical_json():
    # `printf '{"a":[1,0.3]}' | sha256sum`
    assert digest({"a": (1.0, 0.1 + 0.2)}) == "94907bb4e4c45ff0"
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="Out of range"):
        digest(float("nan"))


def test_seeds_are_distinct_and_fit_a_signed_integer():
    seeds = {derived_seed("teacher-init", seed, member) for seed in range(100) for member in range(1, 11)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_ensembles_are_nested():
    large = _trial(ensemble_size=3).teachers
    small = _trial(ensemble_size=2).teachers
    assert [teacher.teacher_id for teacher in large[:2]] == [teacher.teacher_id for teacher in small]
    assert len({teacher.teacher_id for teacher in large}) == 3
    assert len({teacher.init_seed for teacher in large} | {_trial().init_seed}) == 4
    assert len({teacher.stream.stream_id for teacher in large} | {_trial().stream.stream_id}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"student__learning_rate": 0.05},
        {"distillation__alpha": 0.5},
        {"metrics__cam_threshold": 0.5},
        {"student__width": 4},
    ],
)
def test_what_only_the_student_needs_leaves_its_teachers_alone(change):
    assert _trial(**change).trial_id != _trial().trial_id
    assert _trial(**change).teachers[0].teacher_id == _trial().teachers[0].teacher_id


@pytest.mark.parametrize(
    "change", [{"teacher__width": 4}, {"augmentation_strength": 0.5}, {"seed": 1}, {"data__image_size": 32}]
)
def test_what_a_teacher_depends_on_makes_another_teacher(change):
    assert _trial(**change).teachers[0].teacher_id != _trial().teachers[0].teacher_id


def test_paired_trials_see_the_same_pixels():
    assert _trial(ensemble_size=3, distillation__alpha=0.9).stream.stream_id == _trial().stream.stream_id
    assert _trial(seed=1).stream.stream_id != _trial().stream.stream_id


def test_moved_images_are_the_same_images_where_their_fingerprint_says_so():
    def trial_id(path, fingerprint):
        data = Data(name="image_folder", path=path, image_size=32, fingerprint=fingerprint)
        return TrialConfig(data=data).trial_id

    assert trial_id("a", "x") == trial_id("b", "x")
    assert trial_id("a", "x") != trial_id("a", "y")
    assert trial_id("a", None) != trial_id("b", None)


SIXTEEN = {"image_size": 16}


@pytest.mark.parametrize(
    ("name", "image_size"), [("digits", 16), ("cifar10", 32), ("cifar100", 32), ("tiny_imagenet", 64)]
)
def test_a_size_that_is_left_out_is_the_datasets_own(name, image_size):
    location = {} if name == "digits" else {"path": "a", "fingerprint": "x"}
    left_out, written, small = (
        TrialConfig(data=Data(name=name, **location, **size)) for size in ({}, {"image_size": image_size}, SIXTEEN)
    )
    assert left_out.data.image_size == image_size
    assert left_out.trial_id == written.trial_id
    assert (left_out.trial_id == small.trial_id) == (image_size == 16)
    assert small.data.image_size == 16
    # What the tables hold is read back as the same trial.
    for trial in (left_out, small):
        assert TrialConfig.model_validate_json(trial.model_dump_json()).trial_id == trial.trial_id


@pytest.mark.parametrize(
    ("data", "trial_id", "teacher_id"),
    [
        ({}, "5c126bca2ff80ab7", "636fe6c5fae2785a"),
        ({"name": "cifar100", "path": "a", **SIXTEEN}, "f48635933fa23a66", "12ca397a8cbdf2f4"),
        ({"name": "cifar100", "path": "a", "image_size": 32}, "9459a1ee1113914e", "f8e3fe39d705d3c4"),
        ({"name": "image_folder", "path": "a", **SIXTEEN}, "55cd576ab92bb619", "11952696cc06a9aa"),
    ],
)
def test_ids_from_before_sizes_followed_the_dataset(data, trial_id, teacher_id):
    fingerprint = {"fingerprint": "f"} if data else {}
    trial = TrialConfig(data=Data(**data, **fingerprint))
    assert (trial.trial_id, trial.teachers[0].teacher_id) == (trial_id, teacher_id)


def _row(config):
    return {"trial_id": config.trial_id, "config": config.model_dump_json()}


def test_many_rows_are_read_as_each_alone():
    wide = {"student__width": 32}
    decoupled = {"distillation__loss": "dkd", "distillation__non_target_class_weight": 4.0}
    trials = [
        _trial(seed=seed, ensemble_size=size, augmentation_strength=strength, **more)
        for more in ({}, wide, decoupled, wide | decoupled)
        for strength in (0.0, 0.5, 1.0)
        for size in (1, 3)
        for seed in (0, 1)
    ]
    teachers = [trials[0].teacher.model_copy(update={"width": width}) for width in (16, 32, 16)]
    trials += [TrialConfig(teacher_strengths=(0.0, 0.5, 1.0), seed=seed, members=tuple(teachers)) for seed in (0, 1)]
    rows = [_row(trial) for trial in (*trials, *reversed(trials))]
    read = list(recorded_trials(rows))
    assert read == [recorded_trial(row) for row in rows] == [*trials, *reversed(trials)]
    assert [config.trial_id for config in read] == [row["trial_id"] for row in rows]


def test_a_row_of_another_version_is_refused_among_others():
    known = _row(TrialConfig())
    other = {"trial_id": "0", "config": json.dumps(json.loads(known["config"]) | {"colour": 3})}
    reading = recorded_trials([known, other])
    assert next(reading) == TrialConfig()
    with pytest.raises(StorageError, match="trial 0: was written by a version of kd_sweep whose trials have other"):
        next(reading)
