import numpy as np
import pytest

from kd_sweep.statistics.resolution import resolution, resolutions

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("num_images", [100, 360, 2000, 10_000])
def test_shares_of_images_move_in_steps_of_one(num_images):
    shares = GENERATOR.integers(num_images // 2, num_images, 30) / num_images
    assert resolution(shares) == pytest.approx(1 / num_images)


def test_a_mean_over_pairs_of_teachers_moves_in_thirds_of_an_image():
    shares = [(a + b + c) / 3 / 360 for a, b, c in GENERATOR.integers(0, 360, (30, 3))]
    assert resolution(shares) == pytest.approx(1 / 1080)


def test_continuous_values_and_constants_have_no_step():
    assert resolution(GENERATOR.normal(size=30)) == 0.0
    assert resolution([0.5] * 9) == resolution([]) == resolution([0.0, 0.0]) == 0.0


def test_a_gap_moves_in_the_steps_of_the_fewer_images():
    rows = [
        {"train_accuracy": a / 1437, "val_accuracy": b / 360, "generalization_gap": a / 1437 - b / 360, "ece": None}
        for a, b in GENERATOR.integers(100, 300, (20, 2))
    ]
    found = resolutions(rows, ["train_accuracy", "val_accuracy", "generalization_gap", "ece"])
    assert found == pytest.approx(
        {"train_accuracy": 1 / 1437, "val_accuracy": 1 / 360, "generalization_gap": 1 / 360, "ece": 0.0}
    )
