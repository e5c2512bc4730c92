from pathlib import Path

import pytest

from kd_sweep.catalogue.entries import entry_names
from kd_sweep.catalogue.kinds import DATASET
from kd_sweep.errors import SpecError, alternatives
from kd_sweep.study.file.load import load_spec, parse_spec
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.spec import Grid, Uniform

SWEEPS = sorted((Path(__file__).resolve().parents[3] / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_every_shipped_study_loads(path):
    assert load_spec(path).name == path.stem


def test_digits_is_the_documented_study():
    spec = load_spec(next(path for path in SWEEPS if path.name == "digits.yaml"))
    assert (spec.teacher.width, spec.student.width, spec.student.epochs) == (16, 8, 8)
    assert (spec.distillation.loss, spec.distillation.temperature, spec.distillation.alpha) == ("kl", 4.0, 0.1)
    assert spec.search["augmentation_strength"] == Grid(grid=(0.0, 0.25, 0.5))
    assert list(spec.search) == ["augmentation_strength", "ensemble_size", "seed"]


def test_overrides_and_bare_scalars():
    spec = parse_spec(
        "name: d\nsampler: {name: random}\nsearch: {augmentation_strength: {grid: [0]}, seed: 3}",
        "f.yaml",
        ["search.augmentation_strength.uniform=[0, 1]", "teacher.epochs=4", "teacher.learning_rate=1e-3"],
    )
    assert spec.search == {"augmentation_strength": Uniform(uniform=(0.0, 1.0)), "seed": Grid(grid=(3,))}
    assert (spec.teacher.epochs, spec.teacher.learning_rate) == (4, 0.001)


def test_another_sampler_or_scheduler_drops_the_settings_it_does_not_have():
    text = (
        "name: d\nsampler: {name: random, num_trials: 7, seed: 3}\nscheduler: {name: asha, metric: val_loss, mode: min}"
    )
    spec = parse_spec(text, "f.yaml", ["sampler.name=grid", "scheduler.name=none"])
    assert (spec.sampler.name, spec.scheduler.name) == ("grid", "none")
    spec = parse_spec(text + "\nsearch: {seed: {grid: [1]}}", "f.yaml", ["sampler.name=tpe", "scheduler.name=median"])
    assert (spec.sampler.num_trials, spec.sampler.seed, spec.scheduler.metric) == (7, 3, "val_loss")


def _message(text, *overrides):
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "sweeps/x.yaml", overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Whole lines, so that what users read changes only on purpose.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sweeps/x.yaml: is empty; a study needs at least a name, such as `name: digits`"),
        ("# nothing", "sweeps/x.yaml: is empty; a study needs at least a name, such as `name: digits`"),
        ("- 1", "sweeps/x.yaml: is not a study: a list instead of keys such as name, data and search"),
        ("{}", "name: is missing (sweeps/x.yaml)"),
        ("name: 3", "name: 3 is not text; write '3' in quotes (sweeps/x.yaml, line 1)"),
        (
            "name: teachers",
            "name: 'teachers' is taken: the results root keeps teachers of all studies under that name "
            "(sweeps/x.yaml, line 1)",
        ),
        (
            "name: Study.YAML",
            "name: 'Study.YAML' is taken: a study's folder keeps its frozen study under that name "
            "(sweeps/x.yaml, line 1)",
        ),
        (
            "name: d\nteacher:\n  epochs: eight",
            "teacher.epochs: 'eight' is not a whole number (sweeps/x.yaml, line 3)",
        ),
        ("name: d\nteacher: {epochs: 0}", "teacher.epochs: 0 is not at least 1 (sweeps/x.yaml, line 2)"),
        (
            "name: d\nteacher: {momentum: .nan}",
            "teacher.momentum: nan is not a finite number (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nscheduler: {name: asha, mod: max}",
            "scheduler.mod: unknown key, did you mean 'mode'? possible: grace_period, metric, mode, name, "
            "reduction_factor (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nscheduler: {name: bohb}",
            "scheduler.name: unknown scheduler 'bohb', possible: asha, hyperband, median, none, pareto_asha, patience "
            "(sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nscheduler: {name: hyperband,\n  brackets: 0}",
            "scheduler.brackets: 0 is not at least 1 (sweeps/x.yaml, line 3)",
        ),
        (
            "name: d\nscheduler:\n  name: hyperband\n  brackets: 3",
            "scheduler.brackets: 3 is more than 2, the brackets that begin within student.epochs, 8 "
            "(sweeps/x.yaml, line 4)",
        ),
        (
            "name: d\nscheduler:\n  name: patience\n  min_delta: -0.1",
            "scheduler.min_delta: -0.1 is not at least 0 (sweeps/x.yaml, line 4)",
        ),
        (
            "name: d\nscheduler:\n  name: patience\n  patience: 7",
            "scheduler.patience: 7 is not below student.epochs - 1, 7: no trial could stop early "
            "(sweeps/x.yaml, line 4)",
        ),
        (
            "name: d\nscheduler:\n  name: pareto_asha",
            "scheduler.name: 'pareto_asha' ranks trials by several objectives, and the study has one; name another, or "
            "take asha (sweeps/x.yaml, line 3)",
        ),
        (
            "name: d\nscheduler: {name: pareto_asha, metric: val_accuracy}",
            "scheduler.metric: unknown key, possible: grace_period, name, reduction_factor (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nsampler: {num_trials: 3}",
            "sampler.name: is missing; possible: cmaes, gp, grid, nsga2, nsga3, qmc, random, tpe "
            "(sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\ndistillation: {loss: kll}",
            "distillation.loss: 'kll' is not an option, did you mean 'kl'? possible: dkd, kl, mse_logits, none "
            "(sweeps/x.yaml, line 2)",
        ),
        ("name: d\nseed: 3", "seed: unknown key, write it under search: search.seed (sweeps/x.yaml, line 2)"),
        ("name: d\ntemperature: 3", "temperature: unknown key, it belongs in distillation (sweeps/x.yaml, line 2)"),
        (
            "name: d\ndata: {name: image_folder, image_size: 32}",
            "data: path is needed for data.name 'image_folder' (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\ndata: {name: image_folder, path: images}",
            "data: image_size is needed for data.name 'image_folder': height and width that models see, 32 or 224 say "
            "(sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\ndata: {name: digit}",
            f"data.name: 'digit' is not an option, {alternatives('digit', entry_names(DATASET))} "
            "(sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nsearch:\n  ensemble_size:\n    grid: [0]",
            "search.ensemble_size.grid[0]: 0 is not at least 1 (sweeps/x.yaml, line 4)",
        ),
        ("name: d\nsearch:\n  ensemble_size: 0", "search.ensemble_size: 0 is not at least 1 (sweeps/x.yaml, line 3)"),
        (
            "name: d\nsearch: {augmentation_strength: {grid: [0, 1.5]}}",
            "search.augmentation_strength.grid[1]: 1.5 is not at most 1 (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nsearch: {seed: {grid: []}}",
            "search.seed.grid: the list is empty: at least 1 value is needed (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nsearch: {seed: [1, 2]}",
            "search.seed: one of grid, choice, uniform, int is needed, such as {grid: [1, 2]} (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nsearch: {seed: {grid: [1], int: [1, 2]}}",
            "search.seed: grid and int exclude each other; one of grid, choice, uniform, int is needed, such as "
            "{grid: [1, 2]} (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nsearch: {seed: {int: [1]}}",
            "search.seed.int: needs two numbers, [lowest, highest] (sweeps/x.yaml, line 2)",
        ),
        (
            "name: d\nobjectives:\n  - {metric: val_acc}",
            "objectives[0].metric: no trial reports 'val_acc', did you mean 'val_accuracy'? possible: affinity, "
            "attention_area_student, attention_area_teachers, attention_iou_student, attention_iou_student_at_25, "
            "attention_iou_student_at_25_chance, attention_iou_student_at_50, attention_iou_student_at_50_chance, "
            f"… ({len(REPORTED_METRICS)} in all) (sweeps/x.yaml, line 3)",
        ),
    ],
)
def test_mistakes_in_plain_words(text, message):
    assert _message(text) == message


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (
            "data: {path: images}",
            "data.path: 'images' has no effect with name 'digits'; possible: with 'cifar10' or 'cifar100' or "
            "'image_folder' or 'image_list' or 'tiny_imagenet'",
        ),
        ("teacher: {schedule: step}", "teacher: milestones are needed for schedule 'step'"),
        ("student: {epochs: 2, warmup_epochs: 2}", "student: warmup_epochs 2 is not less than epochs 2"),
        (
            "search: {distillation.alpha: {uniform: [0, 1], log: true}}",
            "search.distillation.alpha: log needs a lower bound above 0 and no step",
        ),
        ("search: {seed: {int: [3, 1]}}", "search.seed: the lower bound 3 is not below the upper bound 1"),
        ("search: {seed: {int: [1, 3], step: 3}}", "search.seed: step 3 is larger than the range from 1 to 3"),
        (
            "search: {student: {width: {grid: [8]}}}",
            "search.student: one of grid, choice, uniform, int is needed, such as {grid: [1, 2]}; name a field of it "
            "in one key, such as student.model: {grid: [...]}",
        ),
        (
            "resources: {custom: {GPU: 1}}",
            "resources.custom: 'GPU' is one of Ray's own resources, not a custom one; possible: cpus, gpus",
        ),
        ("resources: {gpus: 1.5}", "resources: gpus 1.5 is not a fraction of one GPU or a whole number of them"),
        (
            "resources: {gpus: 0.6, lock_step: true}",
            "resources: lock_step is for trials that share a GPU, and with gpus 0.6 none do; possible: gpus of at most "
            "0.5, lock_step: false",
        ),
        ("budget: {max_trials: 2000000}", "budget.max_trials: 2000000 is not at most 1000000"),
        (
            "augmentation: {transforms: [colour]}",
            "augmentation.transforms[0]: 'colour' is not an option, did you mean 'color'? possible: color, erasing, "
            "geometry",
        ),
    ],
)
def test_rules_between_fields(content, rule):
    assert _message(f"name: d\n{content}") == f"{rule} (sweeps/x.yaml, line 2)"


def test_a_mistake_in_an_override_names_the_override():
    assert _message("name: d", "teacher.epoch=3").endswith("(--set teacher.epoch=3)")
    assert _message("name: d", "teacher.epochs=x") == (
        "teacher.epochs: 'x' is not a whole number (--set teacher.epochs=x)"
    )


def test_text_that_is_no_unicode_is_refused():
    assert "not Unicode" in _message('name: d\ndata: {path: "\\ud800"}')


def _refused(path):
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "digits.yaml").write_text("name: d")
    (tmp_path / "latin.yaml").write_bytes(b"name: d\n# caf\xe9\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * (2 << 20))
    (tmp_path / "with\nnewline.yaml").write_text("nam: d")
    assert _refused(tmp_path / "digit.yaml").startswith(
        f"{tmp_path}/digit.yaml: no such file; did you mean 'digits.yaml'?"
    )
    assert "there is no folder" in _refused(tmp_path / "nowhere" / "digits.yaml")
    assert "is a folder, not a study file; possible: digits.yaml" in _refused(tmp_path)
    assert _refused(tmp_path / "latin.yaml").endswith("latin.yaml, line 2: byte 0xe9 is not UTF-8 text")
    assert "is larger than" in _refused(tmp_path / "large.yaml")
    assert "unknown key" in _refused(tmp_path / "with\nnewline.yaml")
    assert "cannot be read" in _refused(tmp_path / ("x" * 5000))
    assert "no such file" in _refused(tmp_path / "a\0b.yaml")
    assert "not a regular file" in _refused(Path("/dev/null"))


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: d\r\n")
    assert load_spec(path).name == "d"
