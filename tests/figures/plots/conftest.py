"""The study of which every figure can be drawn, written once."""

import pytest

from kd_sweep.handles.study_results import StudyResults
from tests.figures.plots.plotted_studies import whole_study


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return whole_study(tmp_path_factory.mktemp("plotted"))
