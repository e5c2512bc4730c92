"""Seeds of a student's order, initial weights and augmentation, apart from the one from which the rest follows."""

from dataclasses import replace

import pytest
import torch

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.errors import SpecError
from kd_sweep.networks.classifiers import initial_model
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import points_of, trial_config
from kd_sweep.study.trial import SEED_LEVELS, TrialConfig
from tests.distill.trials import tiny_trial

ORDER, INITIALISATION, AUGMENTATION = SEED_LEVELS


def spec_of(search):
    return parse_spec(f"name: d\nsearch: {{{search}}}\n", "s.yaml")


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(tiny_trial().data)


def shown(config, dataset):
    batches = list(AugmentationStream(config.stream, dataset).batches(2))
    return torch.cat([b.indices_B for b in batches]), torch.cat([b.images_BDHW for b in batches])


@pytest.mark.parametrize("level", SEED_LEVELS)
def test_a_level_changes_its_own_and_nothing_else(dataset, level):
    plain, moved = tiny_trial(), tiny_trial(**{level: 5})
    (order, pixels), (other_order, other_pixels) = shown(plain, dataset), shown(moved, dataset)
    assert torch.equal(order, other_order) is (level != ORDER)
    assert torch.equal(pixels, other_pixels) is (level == INITIALISATION)
    weights = [
        torch.cat([p.flatten() for p in initial_model(each.student, dataset, each.init_seed).parameters()])
        for each in (plain, moved)
    ]
    assert torch.equal(*weights) is (level != INITIALISATION)
    assert moved.teachers == plain.teachers
    assert moved.trial_id != plain.trial_id


def test_augmentation_that_is_held_draws_the_same_for_each_place_in_the_stream(dataset):
    """The same distortions in the same batches, of other images: a blank image shows them."""
    blank = torch.full_like(dataset.train.images_NDHW, 128)
    blank[..., :4, :4] = 255
    alike = replace(dataset, train=replace(dataset.train, images_NDHW=blank))
    plain, moved = tiny_trial(), tiny_trial(**{ORDER: 5})
    assert torch.equal(shown(plain, alike)[1], shown(moved, alike)[1])
    assert not torch.equal(shown(plain, alike)[1], shown(tiny_trial(**{AUGMENTATION: 5}), alike)[1])


def test_all_levels_together_are_another_seed_but_for_the_teachers():
    moved = tiny_trial(**dict.fromkeys(SEED_LEVELS, 1))
    other = tiny_trial(seed=1)
    assert moved.stream == other.stream
    assert moved.init_seed == other.init_seed
    assert moved.teachers == tiny_trial().teachers != other.teachers


def test_a_level_that_is_the_seed_is_no_part_of_the_id():
    assert TrialConfig(**dict.fromkeys(SEED_LEVELS, 0)) == TrialConfig()
    assert TrialConfig().trial_id == "5c126bca2ff80ab7"
    assert TrialConfig(seed=3, **{ORDER: 3}) == TrialConfig(seed=3)
    again = TrialConfig.model_validate_json(TrialConfig(**{ORDER: 4}).model_dump_json())
    assert (again.trial_id, again.at(ORDER), again.at(AUGMENTATION)) == (TrialConfig(**{ORDER: 4}).trial_id, 4, 0)


def test_a_search_of_levels_shares_teachers_and_its_points_are_read_back():
    grid = "{grid: [0, 1, 2]}"
    spec = spec_of(f"{INITIALISATION}: {grid}, {ORDER}: {grid}, {AUGMENTATION}: 0, augmentation_strength: 0.5")
    found = plan(spec)
    assert (found.num_trials, found.num_teachers) == (9, 1)
    assert [trial.config.trial_id for trial in found.trials] == [trial.trial_id for trial in found.trials]
    points = points_of(spec, [trial.config for trial in found.trials])
    assert [points[trial.trial_id] for trial in found.trials] == [trial.point for trial in found.trials]
    assert trial_config(spec, {INITIALISATION: 2}).at(INITIALISATION) == 2


@pytest.mark.parametrize(
    ("search", "rule"),
    [
        (f"{ORDER}: -1", "-1 is not at least 0"),
        (f"{AUGMENTATION}: {{grid: [0, 1]}}", "has no effect at strength 0"),
        ("student_init_seed: 1", "cannot be searched, did you mean"),
    ],
)
def test_mistakes_are_one_line(search, rule):
    with pytest.raises(SpecError, match=rule):
        spec_of(search)


def test_an_adaptive_sampler_takes_one_value():
    with pytest.raises(SpecError, match=f"would judge a configuration by one {ORDER} of its choice"):
        parse_spec(
            f"name: d\nsampler: {{name: tpe}}\nsearch: {{{ORDER}: {{grid: [0, 1]}}, "
            "student.learning_rate: {uniform: [0.1, 0.2]}}\n",
            "s.yaml",
        )
