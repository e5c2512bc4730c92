"""Kinds of attention map of plug-ins: what is made of them, and with which message one is refused."""

import pytest
import torch

from kd_sweep.attention.maps import attention_maps, map_name, maps_id, small_attention_maps
from kd_sweep.catalogue import entries
from kd_sweep.catalogue.kinds import ATTENTION_MAP
from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.errors import TrialError
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Learner, Metrics
from kd_sweep.study.trial import TrialConfig


class NormParameters(Parameters):
    order: float = 2.0


def feature_norm(model, images, parameters):
    """A map of the features' norm."""
    logits, features = model.forward_with_features(images)
    return logits, features.double().norm(parameters.order, dim=1)


MISTAKES = {
    "raising": (lambda *_: {}["maps"], "raised KeyError: 'maps' (test_plugin_maps.py, line "),
    "alone": (lambda model, images, _: model(images), "did not return two tensors, logits and maps"),
    "flat": (
        lambda m, i, _: (m(i), torch.ones(4, 9)),
        "returned maps of shape (4, 9), not (images, height, width) of 4",
    ),
    "fewer": (
        lambda m, i, _: (m(i)[:3], torch.ones(4, 2, 2)),
        "returned logits of shape (3, 5), not (images, classes) of",
    ),
    "nan": (
        lambda m, i, _: (m(i), torch.full((4, 2, 2), float("nan"))),
        "returned maps that are not finite real numbers",
    ),
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Register them as a package `tests` would, for this module alone."""
    monkeypatch.setattr(entries, "_entries", dict(entries._entries))
    functions = {"feature_norm": feature_norm} | {name: function for name, (function, _) in MISTAKES.items()}
    for name, function in functions.items():
        entries.register(ATTENTION_MAP, name, parameters=NormParameters)(function)


def test_maps_of_a_plug_in_lie_over_the_images(noise_dataset):
    model = build_model(Learner(width=4), noise_dataset(), 0).eval()
    images = torch.randn(4, 3, 12, 12)
    metrics = Metrics(attention="tests:feature_norm", order=1.0)
    logits, maps = small_attention_maps(model, images, metrics)
    expected = model.forward_with_features(images)[1].abs().sum(1)
    torch.testing.assert_close(maps, expected.detach())
    torch.testing.assert_close(logits, model(images).detach())
    assert attention_maps(model, images, metrics)[1].shape == (4, 12, 12)
    assert map_name(model, metrics) == "tests:feature_norm"


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_with_field_and_entry(noise_dataset, name):
    model = build_model(Learner(width=4), noise_dataset(), 0).eval()
    with pytest.raises(TrialError) as caught:
        attention_maps(model, torch.randn(4, 3, 12, 12), Metrics(attention=f"tests:{name}"))
    assert str(caught.value).startswith(f"metrics.attention: 'tests:{name}' {MISTAKES[name][1]}")


def test_maps_are_kept_apart_by_parameters_and_source():
    kinds = [{"attention": "cam"}, {"attention": "grad_cam"}]
    kinds += [{"attention": "tests:feature_norm", "order": order} for order in (1.0, 2.0)]
    all_metrics = [Metrics(**kind) for kind in kinds]
    kept = [maps_id(metrics) for metrics in all_metrics]
    assert kept[:2] == ["cam", "grad_cam"]
    assert len(set(kept)) == 4
    assert all(name.replace(".", "").replace("-", "").replace("_", "").isalnum() for name in kept), "names of files"
    assert len({TrialConfig(metrics=metrics).trial_id for metrics in all_metrics}) == 4
