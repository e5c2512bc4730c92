"""Settings in words: short enough for a legend, and never the same for two settings."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kd_sweep.figures.plots.axis_words import setting_label
from kd_sweep.figures.plots.lines import Fields, put_title

FIELDS = ("distillation_loss", "distillation_teacher_control", "student_strength", "distillation_alpha")
SETTINGS = {
    ("kl", "none", 0.0, None): "kl, student strength 0",
    ("kl", "none", 1.0, None): "kl, student strength 1",
    ("kl", "random_weights", None, None): "kl, random weights",
    ("mse_logits", None, None, 0.0): "mse logits, alpha 0",
    ("none", None, None, None): "labels alone",
}
"""Of a study with control arms, each with the fields that it has alone."""


@pytest.mark.parametrize(("values", "words"), SETTINGS.items())
def test_a_setting_is_said_by_what_it_has_and_is_not_usual(values: Sequence[Any], words: str) -> None:
    assert setting_label(FIELDS, values) == words


def test_of_fields_that_are_all_usual_or_absent_one_is_said() -> None:
    assert setting_label(["distillation_teacher_control"], ["none"]) == "trained teachers"
    assert setting_label(["student_strength"], [None]) == "no augmentation strength of the student"
    assert setting_label([], []) == ""


def test_settings_that_would_have_the_same_words_are_said_in_full() -> None:
    """One teacher has no epochs to share, so of a line over sizes it has a setting of its own."""
    fields = ("augmentation_strength", "distillation_ensemble_epochs")
    keys = ((0.5, None), (0.5, "each"), (0.5, "shared"))
    labels = [Fields("ensemble_size", fields, keys, ()).label_of(key) for key in keys]
    assert labels == [
        "strength 0.5, no distillation ensemble epochs",
        "strength 0.5, epochs each",
        "strength 0.5, shared epochs",
    ]


def test_a_long_title_has_lines_as_long_as_its_panel_is_wide() -> None:
    figure = Figure(figsize=(6.85, 2.0), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for axes in panels:
        axes.set_ylabel("Validation accuracy")
        put_title(axes, "kl, random weights, student strength 0.5, temperature 4, width 16, learning rate 0.05")
    canvas.draw()  # type: ignore[no-untyped-call]
    boxes = [axes.title.get_window_extent() for axes in panels]
    assert all(box.height > 2 * panels[0].title.get_fontsize() for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
