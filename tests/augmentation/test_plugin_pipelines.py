"""Pipelines of plug-ins: what they are given, that their stream depends on nothing else, and what is refused."""

import random
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import Field

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.catalogue.decorators import pipeline
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.errors import TrialError
from kd_sweep.study.recipe import Augmentation, Data
from kd_sweep.study.trial import StreamConfig, TrialConfig
from tests.catalogue_entries import own_entries


class FadeParameters(Parameters):
    """Of `fade`."""

    steps: int = Field(1, ge=1, le=5)
    """How often an image is faded."""
    towards: Literal["black", "white"] = "black"
    """The colour."""


def fade(inputs, parameters):
    images = inputs.images_BDHW
    for draw_B in inputs.draws_BP.unbind(1):
        color = 1.0 if parameters.towards == "white" else 0.0
        images = torch.lerp(images, torch.full_like(images, color), (draw_B * inputs.strength)[:, None, None, None])
    return images


@pytest.fixture(autouse=True)
def catalogue():
    with own_entries():
        pipeline("fade", num_draws=lambda parameters: parameters.steps, parameters=FadeParameters)(fade)
        yield


@pytest.fixture(scope="module")
def digits():
    return load_dataset(Data(image_size=8, max_train_images=40, max_val_images=20))


def stream_of(dataset, strength=0.5, seed=3, **augmentation):
    config = StreamConfig(
        data=Data(image_size=8),
        augmentation=Augmentation(**{"pipeline": "tests:fade"} | augmentation),
        augmentation_strength=strength,
        batch_size=16,
        seed=seed,
    )
    return AugmentationStream(config, dataset)


def levels(stream, epoch=1):
    """Images of an epoch by their index, as levels in [0, 1]."""
    shown = {}
    for batch in stream.batches(epoch):
        images = batch.images_BDHW * torch.tensor(stream.dataset.std) + torch.tensor(stream.dataset.mean)
        shown |= dict(zip(batch.indices_B.tolist(), images, strict=True))
    return shown


def factors(stream, epoch=1):
    """What every image was multiplied by on its way to black."""
    sums = {index: image.sum() for index, image in levels(stream, epoch).items()}
    clean = stream.dataset.train.images_NDHW.float() / 255
    return {index: (total / clean[index].sum()).item() for index, total in sums.items()}


def test_the_draws_are_those_of_the_seed_and_epoch_and_the_strength_scales_them(digits):
    weak, strong = factors(stream_of(digits, 0.25)), factors(stream_of(digits, 1.0))
    assert weak.keys() == strong.keys()
    for index in weak:
        assert (1 - weak[index]) * 4 == pytest.approx(1 - strong[index], abs=1e-4)
    assert len({round(factor, 3) for factor in strong.values()}) > 30
    assert factors(stream_of(digits, 1.0)) == strong
    assert factors(stream_of(digits, 1.0), epoch=2) != strong
    assert factors(stream_of(digits, 1.0, seed=4)) != strong


def test_parameters_decide_how_many_draws_there_are(digits):
    once, thrice = factors(stream_of(digits, 1.0)), factors(stream_of(digits, 1.0, steps=3))
    assert np.mean(list(once.values())) == pytest.approx(1 / 2, abs=0.15)
    assert np.mean(list(thrice.values())) == pytest.approx(1 / 8, abs=0.1)


def test_at_strength_0_images_are_clean_and_the_plugin_is_not_asked(digits):
    called = []
    pipeline("counted", num_draws=0)(lambda inputs, _: called.append(inputs.strength) or 1 - inputs.images_BDHW)
    clean = digits.train.images_NDHW.float() / 255
    shown = levels(stream_of(digits, 0.0, pipeline="tests:counted"))
    assert all(torch.allclose(image, clean[index], atol=1e-5) for index, image in shown.items())
    assert called == []
    pipeline("negative", num_draws=0, clean_at_zero=False)(lambda inputs, _: 1 - inputs.images_BDHW)
    shown = levels(stream_of(digits, 0.0, pipeline="tests:negative"))
    assert all(torch.allclose(image, 1 - clean[index], atol=1e-5) for index, image in shown.items())


def test_affinity_is_measured_on_clean_images():
    def reference(name):
        return TrialConfig(augmentation=Augmentation(pipeline=name)).reference_teacher.augmentation.pipeline

    pipeline("negative", num_draws=0, clean_at_zero=False)(lambda inputs, _: 1 - inputs.images_BDHW)
    assert reference("tests:fade") == "tests:fade"
    assert reference("tests:negative") == "strength"


def test_name_parameters_and_source_are_in_the_ids():
    ids = {
        TrialConfig(augmentation=Augmentation(**changes)).trial_id
        for changes in (
            {},
            {"pipeline": "tests:fade"},
            {"pipeline": "tests:fade", "steps": 2},
            {"pipeline": "tests:fade", "towards": "white"},
        )
    }
    assert len(ids) == 4
    assert Augmentation(pipeline="tests:fade").source.startswith("1+")


def failing(inputs, _):
    return inputs.images_BDHW + undefined  # noqa: F821


def drawing(draw):
    def draw_and_return(inputs, _):
        draw()
        return inputs.images_BDHW

    return draw_and_return


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (failing, "raised NameError: name 'undefined' is not defined (test_plugin_pipelines.py, line "),
        (lambda inputs, _: inputs.images_BDHW[:, :, :4], "returned the shape (16, 1, 4, 8), not (16, 1, 8, 8)"),
        (lambda inputs, _: inputs.images_BDHW / 0, "returned NaN or infinite values"),
        (lambda inputs, _: inputs.images_BDHW.double(), "returned float64, not float32"),
        (lambda inputs, _: inputs.images_BDHW.to("meta"), "returned images on meta, not on cpu"),
        (lambda inputs, _: None, "returned a NoneType, not a tensor"),
        (drawing(lambda: torch.rand(1)), "draws random numbers of its own; possible: those of draws_BP"),
        (drawing(lambda: np.random.rand()), "draws random numbers of its own"),
        (drawing(random.random), "draws random numbers of its own"),
    ],
)
def test_what_a_plugin_does_wrong_is_one_line(function, rule, digits):
    pipeline("wrong", num_draws=1)(function)
    with pytest.raises(TrialError) as refused:
        next(iter(stream_of(digits, pipeline="tests:wrong").batches(1)))
    assert str(refused.value).startswith(f"augmentation.pipeline: 'tests:wrong' {rule}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("count", "rule"),
    [
        (-1, "has num_draws -1, which is no count"),
        (lambda _: 1.5, "has num_draws 1.5, which is no count"),
        (lambda parameters: parameters.other, "raised AttributeError: "),
    ],
)
def test_the_number_of_draws_is_a_count(count, rule, digits):
    pipeline("wrong", num_draws=count)(fade)
    with pytest.raises(TrialError) as refused:
        stream_of(digits, pipeline="tests:wrong")
    assert str(refused.value).startswith(f"augmentation.pipeline: 'tests:wrong' {rule}")


def test_what_a_plugin_returns_may_share_memory_with_what_it_got(digits):
    pipeline("kept", num_draws=0)(lambda inputs, _: inputs.images_BDHW[:1].expand(inputs.images_BDHW.shape))
    batch = next(iter(stream_of(digits, pipeline="tests:kept").batches(1)))
    assert torch.equal(batch.images_BDHW, batch.images_BDHW[:1].expand(16, 1, 8, 8))
