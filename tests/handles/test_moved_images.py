"""A study whose images lie elsewhere than at its launch."""

from pathlib import Path

import pytest
import torch

import kd_sweep
from kd_sweep.distill.teachers import forget_teachers
from kd_sweep.errors import DataError
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import freeze
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.writer import StudyWriter
from tests.handles.image_files import write_odd_files
from tests.trained_studies import train_study

STUDY = """
name: s
data: {{name: image_folder, path: '{path}', image_size: 12}}
teacher: {{model: resnet8, width: 4, epochs: 1}}
student: {{model: resnet8, width: 4, epochs: 1}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    """Of a study in `root` with the images in `images`."""
    write_odd_files(tmp_path / "images", per_class=6)
    return train_study(tmp_path / "root", STUDY.format(path=tmp_path / "images"))


def test_images_are_read_where_they_are_said_to_be(tmp_path: Path, spec: StudySpec) -> None:
    assert spec.data.path == str(tmp_path / "images")
    study = kd_sweep.open_results(tmp_path / "root")["s"]
    trial = study.best_trial()
    image = next((tmp_path / "images" / "val").rglob("*.png"))
    expected = trial.preprocess(image), trial.student().state_dict()
    moved = (tmp_path / "images").rename(tmp_path / "elsewhere")
    image = moved / image.relative_to(tmp_path / "images")
    with pytest.raises(DataError, match=r"data\.path: .*gone does not exist") as missing:
        study.with_data(str(tmp_path / "gone")).best_trial().student()
    assert "\n" not in str(missing.value)
    there = study.with_data(str(moved))
    for found in (there.best_trial(), there.trials()[0], there.trial(trial.trial_id)):
        assert torch.equal(found.preprocess(image), expected[0])
        assert all(torch.equal(tensor, expected[1][name]) for name, tensor in found.student().state_dict().items())
        assert len(found.teachers()) == 1
        assert found.attention(2, device="cpu").maps_MIHW.shape == (2, 2, 12, 12)
        assert found.trial_id == found.config.trial_id == trial.trial_id


def test_other_images_are_refused(tmp_path: Path, spec: StudySpec) -> None:
    write_odd_files(tmp_path / "others", per_class=5)
    study = kd_sweep.open_results(tmp_path / "root")[spec.name].with_data(str(tmp_path / "others"))
    for call in (study.best_trial().student, study.best_trial().teachers):
        with pytest.raises(DataError, match="are not those that the study was launched with") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_study_that_was_launched_again_knows_where_they_are_now(tmp_path: Path, spec: StudySpec) -> None:
    moved = (tmp_path / "images").rename(tmp_path / "elsewhere")
    forget_teachers()
    relaunched = spec.model_copy(update={"data": spec.data.model_copy(update={"path": str(moved)})})
    with StudyWriter(Root.open(tmp_path / "root"), "s") as writer:
        writer.set_study(spec=freeze(relaunched, {}).text)
    trial = kd_sweep.open_results(tmp_path / "root")["s"].best_trial()
    assert trial.config.data.path == str(moved)
    assert trial.student() is not None
