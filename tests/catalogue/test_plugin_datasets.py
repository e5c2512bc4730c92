"""Studies whose dataset is a plug-in's: read without it, extended with its source edited, refused with other images."""

from pathlib import Path

import pytest

from tests.catalogue.modules import error_of, output_of, write_modules

DOTS = """
import kd_sweep
import numpy as np
from pydantic import Field


class Dots(kd_sweep.Parameters):
    level: float = Field(0.5, ge=0, le=1)


@kd_sweep.dataset("dots", parameters=Dots, image_size=8)
def dots(parameters):
    return kd_sweep.Arrays(np.random.default_rng(0).random((60, 8, 8)) * parameters.level, np.arange(60) % 2)
"""
STUDY = """
name: dotted
plugins: [mydata]
data: {name: "mydata:dots", level: 0.25}
teacher: {width: 4, epochs: 1}
student: {width: 4, epochs: 1}
search:
  seed: {grid: [0, 1]}
"""
FREEZE = """
from pathlib import Path
from kd_sweep import Study
from kd_sweep.driver.study_checks import checked
from kd_sweep.study.file.frozen import frozen_yaml
spec = checked(Study.from_file("s.yaml").spec, say=print)
Path("frozen").write_text(frozen_yaml(spec, {}))
"""
EXTEND = """
from pathlib import Path
from kd_sweep import Study
from kd_sweep.driver.study_checks import checked
from kd_sweep.study.file.frozen import check_extension, parse_frozen
old = parse_frozen(Path("frozen").read_text(), "frozen").spec
check_extension(old, checked(Study.from_file("s.yaml").spec, say=str))
print("goes on")
"""
READ = """
from pathlib import Path
from kd_sweep.study.file.frozen import frozen_yaml, parse_frozen
text = Path("frozen").read_text()
spec = parse_frozen(text, "frozen").spec
print(frozen_yaml(spec, {}) == text, spec.data.origin, spec.data.image_size)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(STUDY)
    write_modules(tmp_path, mydata=DOTS)
    assert output_of(FREEZE, tmp_path) == "data: 48 training and 12 validation images of 2 classes (0, 1)"
    return tmp_path


def test_a_frozen_study_is_read_without_the_plugin(folder: Path) -> None:
    (folder / "mydata.py").unlink()
    assert output_of(READ, folder) == "True {'level': 0.25} 8"


def test_an_edited_source_goes_on_where_its_images_are_the_same(folder: Path) -> None:
    write_modules(folder, mydata=DOTS.replace("(60, 8, 8)", "(30 + 30, 8, 8)"))
    assert output_of(EXTEND, folder) == "goes on"


@pytest.mark.parametrize(
    "edit",
    [
        ("default_rng(0)", "default_rng(1)"),
        ("% 2", "// 30"),
        ("image_size=8", "image_size=8, horizontal_flip=True"),
    ],
    ids=["pixels", "labels", "mirroring"],
)
def test_other_images_or_labels_are_refused(folder: Path, edit: tuple[str, str]) -> None:
    write_modules(folder, mydata=DOTS.replace(*edit))
    message = error_of(EXTEND, folder)
    assert "data.name: the images of 'mydata:dots' are not those that study 'dotted' was launched with" in message
