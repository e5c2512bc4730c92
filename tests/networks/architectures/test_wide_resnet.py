"""Wide residual networks against their published sizes."""

import pytest
import torch
from torch import nn

from kd_sweep.errors import SpecError
from kd_sweep.networks.classifier_interface import Classifier
from kd_sweep.networks.classifiers import build_model
from kd_sweep.networks.network_checks import check_model
from kd_sweep.study.recipe import Learner


@pytest.mark.parametrize(
    ("name", "published"),
    [("wrn-40-1", 0.6e6), ("wrn-40-2", 2.2e6), ("wrn-16-8", 11.0e6), ("wrn-28-10", 36.5e6), ("wrn-40-4", 8.9e6)],
)
def test_sizes_are_those_of_the_paper(noise_dataset, name, published):
    """Zagoruyko and Komodakis 2016, table 4: parameters in millions, to one digit."""
    with torch.device("meta"):
        model = build_model(Learner(model=name), noise_dataset(size=32), 0)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(published, abs=0.06e6)


def test_depth_counts_the_convolutions_and_the_classifier(noise_dataset):
    """Of the paper's depth one layer each is a stage's 1 x 1 shortcut: 6n + 4."""
    model = build_model(Learner(model="wrn-16-2"), noise_dataset(), 0)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 17, "16 and the classifier"


def test_shapes_and_seed(noise_dataset):
    dataset = noise_dataset(channels=1, size=16)
    model = build_model(Learner(model="wrn-10-2"), dataset, 3).eval()
    assert isinstance(model, Classifier)
    images = torch.randn(3, 1, 16, 16)
    logits, features = model.forward_with_features(images)
    assert features.shape == (3, 128, 4, 4)
    torch.testing.assert_close(logits, features.mean((2, 3)) @ model.classifier_weight.T + model.classifier.bias)
    again = build_model(Learner(model="wrn-10-2"), dataset, 3).eval()
    assert torch.equal(again(images), logits)
    assert not torch.equal(build_model(Learner(model="wrn-10-2"), dataset, 4).eval()(images), logits)


def test_learns_a_little_in_a_few_steps(digits):
    model = build_model(Learner(model="wrn-10-1"), digits, 0)
    images, labels = digits.train.images_NDHW[:128].float() / 255, digits.train.labels_N[:128]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_other_depths_are_no_models():
    with pytest.raises(SpecError, match=r"^teacher.model: 'wrn-17-2' is not a model; did you mean 'wrn-1[06]-2'\?$"):
        check_model(Learner(model="wrn-17-2"), "teacher.model", 32, 3)
