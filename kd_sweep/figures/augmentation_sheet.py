"""A sheet of a study's augmentation: the same images at each of its strengths.

Shapes: N images, B batch, D channels, H x W pixels.
"""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.data.dataset import Dataset
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.data.splits import evenly_over_classes
from kd_sweep.figures.image_sheet import CELL, Block, Cell, Row, cell_pixels, sheet
from kd_sweep.figures.paper_sheet import PAPER_FORMATS, cell_pixels_at, paper_sheet
from kd_sweep.figures.plots.lines import evenly
from kd_sweep.study.recipe import Data
from kd_sweep.study.space.dimensions import extremes, listed_values, searched_ensembles
from kd_sweep.study.spec import Choice, Grid, StudySpec
from kd_sweep.study.trial import TrialConfig

MEASURED_IMAGES = 2000
"""Number of training images that are read for the statistics of the colours."""
STEPS_OF_A_RANGE = 5


def augmentation_sheet(spec: StudySpec, num_images: int) -> Image.Image:
    """Return validation images as the student's stream shows them in its first epoch: a row for each strength.

    Args:
        spec: the study; values of other searched fields are those outside `search`.
        num_images: number of columns, of every class in turn.

    Raises:
        DataError: the dataset cannot be read.
    """
    return sheet(augmentation_blocks(spec, num_images))


def write_augmentations(spec: StudySpec, num_images: int, out: Path, dpi: int) -> None:
    """Write the sheet of a study as a file, of the format that its ending names; as `write_attention`."""
    kind = out.suffix.lower().removeprefix(".")
    if kind in PAPER_FORMATS:
        out.write_bytes(paper_sheet(augmentation_blocks(spec, num_images, cell_pixels_at(dpi)), kind))
    else:
        augmentation_sheet(spec, num_images).save(out)


def augmentation_blocks(
    spec: StudySpec, num_images: int, size: int = CELL, most_strengths: int | None = None
) -> list[Block]:
    """Return what the sheet of a study shows, in cells of so many pixels.

    Args:
        spec: the study.
        num_images: number of columns.
        size: of a cell, in pixels.
        most_strengths: so many, evenly chosen; all when None.

    Raises:
        DataError: the dataset cannot be read.
    """
    fewer = {"max_train_images": _at_most(spec.data.max_train_images, MEASURED_IMAGES)}
    # Images are mixed with each other, so one alone would look clean.
    num_read = max(2, num_images)
    dataset = load_dataset(
        spec.data.model_copy(update=fewer), val_selection=lambda labels_N: evenly_over_classes(labels_N, num_read)
    )
    rows = [_row("clean", dataset.val.images_NDHW[:num_images], size)]
    strengths = shown_strengths(spec)
    for strength in strengths if most_strengths is None else evenly(strengths, most_strengths):
        images_NDHW = _augmented(spec, spec.data, dataset, strength)[:num_images]
        rows.append(_row(f"strength {strength:g}", images_NDHW, size))
    source = f"{spec.data.name}, {dataset.image_size} pixels, pipeline {spec.augmentation.pipeline}"
    return [Block(f"{spec.name}: {source}", tuple(rows))]


def _row(label: str, images_NDHW: Tensor, size: int) -> Row:
    return Row((label,), tuple(Cell(cell_pixels(image_DHW, size), ()) for image_DHW in images_NDHW))


def shown_strengths(spec: StudySpec) -> list[float]:
    """Return every strength that teachers or students of the study have, in order; of a range, evenly spaced ones."""
    strengths = {strength for ensemble in searched_ensembles(spec) for strength in ensemble}
    names = [name for name in ("augmentation_strength", "student_strength") if name in spec.search]
    for name in names:
        dimension = spec.search[name]
        if isinstance(dimension, Grid | Choice):
            strengths |= {float(value) for value in listed_values(dimension) if isinstance(value, int | float)}
        else:
            low, high = extremes(spec, name)
            strengths |= {low + (high - low) * step / (STEPS_OF_A_RANGE - 1) for step in range(STEPS_OF_A_RANGE)}
    return sorted(strengths) or [TrialConfig().student_strength]


def _at_most(limit: int | None, largest: int) -> int:
    return largest if limit is None else min(limit, largest)


def _augmented(spec: StudySpec, data: Data, dataset: Dataset, strength: float) -> Tensor:
    """Return the validation images at ``strength`` as uint8."""
    trial = TrialConfig(data=data, augmentation=spec.augmentation, student=spec.student, student_strength=strength)
    stream = AugmentationStream(trial.stream, dataset)
    images_NDHW = torch.cat([batch.images_BDHW for batch in stream.augmented_val(1)])
    mean_D11, std_D11 = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    return ((images_NDHW * std_D11 + mean_D11) * 255).round().clamp(0, 255).to(torch.uint8)
