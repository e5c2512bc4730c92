"""The model-randomisation check: by hand on a classifier, and on networks that learned photographs."""

from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr

from kd_sweep.attention.maps import attention_maps
from kd_sweep.attention.randomised import kept_correlations
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Data, Learner, Metrics
from kd_sweep.study.trial import TrialConfig
from tests.cifar_archive import extract_every_tenth, needs_archive


def networks(noise_dataset, seed=0):
    """A network, the same with another classifier behind the same features, and one of other weights."""
    dataset = noise_dataset(8)
    learner = Learner(width=8)
    trained, other_classifier, redrawn = (build_model(learner, dataset, seed).eval() for seed in (0, 0, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        weight = other_classifier.classifier_weight
        weight.copy_(torch.randn(weight.shape, generator=generator))
    return trained, other_classifier, redrawn


@pytest.mark.parametrize("kind", ["cam", "grad_cam"])
def test_is_the_correlation_with_the_maps_of_a_network_that_has_the_other_classifier(noise_dataset, kind):
    trained, other_classifier, redrawn = networks(noise_dataset)
    batches = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0)).split(5)
    metrics = Metrics(attention=kind)
    # The features of the initial network are another draw, which the check has to leave out.
    initial = build_model(Learner(width=8), noise_dataset(8), 2).eval()
    with torch.no_grad():
        initial.classifier_weight.copy_(other_classifier.classifier_weight)
    found = kept_correlations(trained, initial, redrawn, batches, metrics)

    def maps(model):
        return (
            torch.cat([attention_maps(model, images_BDHW, metrics)[1] for images_BDHW in batches]).flatten(1).double()
        )

    def expected(model):
        pairs = zip(maps(trained), maps(model), strict=True)
        return [spearmanr(one, other).statistic for one, other in pairs]

    assert found.classifier_N.tolist() == pytest.approx(expected(other_classifier), abs=1e-6)
    assert found.network_N.tolist() == pytest.approx(expected(redrawn), abs=1e-6)
    same = kept_correlations(trained, trained, trained, batches, metrics)
    assert same.classifier_N.tolist() == same.network_N.tolist() == pytest.approx([1.0] * 12, abs=1e-12)


@pytest.mark.long
@needs_archive
def test_cam_does_not_show_what_a_classifier_of_photographs_learned_and_grad_cam_does(tmp_path: Path) -> None:
    """As overlaps found: the summed rows of a classifier keep the direction that they began with."""
    extract_every_tenth(tmp_path / "cifar10")
    teacher = Learner(model="resnet8", width=8, epochs=4)
    kept = {}
    for kind in ("cam", "grad_cam"):
        config = TrialConfig(
            data=Data(name="image_folder", path=str(tmp_path / "cifar10"), image_size=32, max_train_images=2000),
            teacher=teacher,
            student=teacher.changed({"epochs": 1}),
            teacher_strengths=(0.0, 0.0),
            student_strength=0.0,
            metrics=Metrics(attention=kind),
        )
        (kept[kind],) = trial_epochs(config, root=tmp_path / "root", checkpoint_dir=None, device="cpu", num_threads=1)
    assert kept["cam"]["attention_randomised_classifier"] > 0.99
    assert kept["grad_cam"]["attention_randomised_classifier"] < 0.6
    for row in kept.values():
        assert abs(row["attention_randomised_network"]) < 0.6
