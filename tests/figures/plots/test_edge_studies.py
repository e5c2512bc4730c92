"""Figures of studies that lack something: a figure, or one line that says why there is none."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.drawn_figures import read_figure
from kd_sweep.figures.plots.figure_list import FIGURES
from tests.figures.plots.plotted_studies import EDGES, OF_ARMS, SIZES, write_study

USUAL = {*FIGURES} - OF_ARMS
DRAWN = {
    "no trial": set(),
    "one trial": {"agreement_matrix", "reliability", "curves", "pareto", "timeline"},
    "one size": USUAL - {"fidelity_by_size"},
    "one strength": {"fidelity_by_size", "agreement_matrix", "reliability", "curves", "pareto", "parallel", "timeline"},
    "all failed": {"curves", "parallel", "timeline"},
    "all stopped": {"curves", "pareto", "parallel", "timeline"},
    "running": {"curves", "parallel", "timeline"},
    "one seed, one objective": USUAL - {"pareto"},
    "text and random numbers": USUAL - {"effects", "best_strength"},
    "nulls": USUAL - {"triptych", "pareto"},
}
"""What can be drawn; of the other studies everything."""


IN_EVERY_CHECK = {"no trial", "one seed, one objective", "all stopped", "nulls"}


@pytest.mark.parametrize(
    "edge", [pytest.param(edge, marks=() if edge in IN_EVERY_CHECK else pytest.mark.long) for edge in EDGES]
)
def test_a_study_that_lacks_something_gives_figures_or_one_line_each(edge: str, tmp_path: Path) -> None:
    study = EDGES[edge](tmp_path)
    drawn, reasons = set(), []
    for kind in FIGURES.values():
        try:
            drawing = read_figure(study, kind)
        except QueryError as error:
            reasons.append(str(error))
            continue
        for panel in drawing.panels:
            panel(axes := Figure().subplots())
            assert axes.has_data()
        assert all(line.strip() for line in drawing.caption)
        assert drawing.tables[""].num_rows > 0
        drawn.add(kind.name)
    assert {reason.partition(": ")[0] for reason in reasons} == {*FIGURES} - drawn
    assert not any("\n" in reason for reason in reasons)
    assert drawn == DRAWN.get(edge, USUAL)


def test_settings_without_a_completed_trial_take_no_line(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        "half",
        change=lambda _, setting: (
            {"status": "failed", "last_epoch": 1} if setting["augmentation_strength"] == 0.5 else {}
        ),
    )
    rows = read_figure(study, FIGURES["reliability"]).tables[""].to_pylist()
    assert {(row["augmentation_strength"], row["ensemble_size"]) for row in rows} == {(0, 1), (0, 2), (1, 1), (1, 2)}
    panels = read_figure(study, FIGURES["curves"]).panels
    assert len(panels) == len(SIZES)  # what has begun has its curve
