"""The fixtures that tests of this folder use: images, a fresh process for each test, a study with all that is drawn."""

import pytest

from kd_sweep.handles.study_results import StudyResults
from tests.distill.fresh_process import fresh_process
from tests.figures.plots.plotted_studies import whole_study
from tests.images import write_images

__all__ = ["fresh_process", "write_images"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """The study of which every figure can be drawn but those of arms and of seeds apart, written once."""
    return whole_study(tmp_path_factory.mktemp("plotted"))
