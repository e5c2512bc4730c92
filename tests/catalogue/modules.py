"""Modules of plug-ins, and programs that use them in a process of their own: a process imports a module once."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.warm_python import run_warm

MARGIN = '''
import kd_sweep
from pydantic import Field


class Margin(kd_sweep.Parameters):
    margin: float = Field(0.5, ge=0)
    """How far apart."""
    power: int = Field(2, ge=1)


@kd_sweep.loss("margin", parameters=Margin)
def margin(inputs, parameters):
    distance_MBC = (inputs.student_logits_BC - inputs.teacher_logits_MBC).abs() - parameters.margin
    loss_M = (distance_MBC.clamp(min=0) ** parameters.power).mean((1, 2))
    return (inputs.shares_M * loss_M).sum()
'''
"""A loss with two parameters."""

STUDY = """
name: margins
plugins: [mykd]
data: {image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {width: 4, epochs: 2}
student: {width: 4, epochs: 3}
distillation: {loss: "mykd:margin", margin: 0.2}
search:
  augmentation_strength: {grid: [0.0, 0.5]}
  distillation.power: {grid: [1, 2]}
"""


def write_modules(folder: Path, modules: dict[str, str] | None = None, **more: str) -> None:
    """Write modules by their paths, such as `mykd/losses`."""
    for name, text in {**(modules or {}), **more}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Python takes an edit of the same second and size for what it has compiled.
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        path.write_text(text)


def run_python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a new process, in a folder from which modules can be imported."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])
    return run_warm(program, folder, {**os.environ, "PYTHONPATH": path})


def output_of(program: str, folder: Path) -> str:
    """Return what a program prints, stripped; it must end well."""
    done = run_python(program, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def error_of(program: str, folder: Path) -> str:
    """Return the last line of what a program that fails writes to stderr."""
    done = run_python(program, folder)
    assert done.returncode != 0, done.stdout
    return done.stderr.strip().splitlines()[-1]
