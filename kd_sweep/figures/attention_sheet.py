"""A sheet of the attention maps of trials, drawn over validation images.

Shapes: I images, M networks, C classes, D channels, H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from kd_sweep.figures.image_sheet import CELL, Block, Cell, Row, cell_pixels, overlay, sheet
from kd_sweep.figures.paper_sheet import PAPER_FORMATS, cell_pixels_at, paper_sheet
from kd_sweep.trained.trial_attention import TrialAttention


def attention_sheet(trials: Sequence[TrialAttention]) -> Image.Image:
    """Return a sheet: a column per image; a block per trial, with a row per teacher and one for the student.

    Below a teacher's map stand the class that it predicts, the probability of that, and its IoU with the student's map;
    below the student's, the mean of these; in the heading, the means over the images, and that of the teachers' pairs.
    """
    return sheet(attention_blocks(trials))


def write_attention(trials: Sequence[TrialAttention], out: Path, dpi: int) -> None:
    """Write the sheet of trials as a file, of the format that its ending names.

    Args:
        trials: what is shown.
        out: PDF and SVG have vector text and the scale of maps; other images have the pixels of a screen.
        dpi: dots per inch of the images in PDF and SVG.

    Raises:
        UserError: matplotlib, which PDF and SVG need, is not installed. One line.
    """
    kind = out.suffix.lower().removeprefix(".")
    if kind not in PAPER_FORMATS:
        attention_sheet(trials).save(out)
        return
    threshold = trials[0].config.metrics.cam_threshold
    out.write_bytes(paper_sheet(attention_blocks(trials, cell_pixels_at(dpi)), kind, threshold))


def attention_blocks(trials: Sequence[TrialAttention], size: int = CELL) -> list[Block]:
    """Return what the sheet of trials shows, in cells of so many pixels."""
    blocks = []
    for number, trial in enumerate(trials):
        if number == 0 or not torch.equal(trial.pixels_IDHW, trials[number - 1].pixels_IDHW):
            threshold = trial.config.metrics.cam_threshold
            legend = f"Attention from violet, 0, to yellow, 1. White: the border of the region above {threshold:g}."
            blocks.append(Block(legend, (_images(trial, size),)))
        blocks.append(_block(trial, size))
    return blocks


def _images(trial: TrialAttention, size: int) -> Row:
    cells = [
        Cell(cell_pixels(pixels_DHW, size), (_shortened(trial.class_names[label]),))
        for pixels_DHW, label in zip(trial.pixels_IDHW, trial.labels_I.tolist(), strict=True)
    ]
    return Row(("validation images", "and their labels"), tuple(cells))


def _block(trial: TrialAttention, size: int) -> Block:
    threshold = trial.config.metrics.cam_threshold
    shown_MI = torch.cat([trial.iou_student_TI, trial.iou_student_TI.mean(0, keepdim=True)])
    rows = []
    for member in range(len(shown_MI)):
        is_student = member == len(shown_MI) - 1
        cells = [
            Cell(
                overlay(trial.pixels_IDHW[image], trial.maps_MIHW[member, image], threshold, size),
                (_prediction(trial, member, image), f"IoU {float(shown_MI[member, image]):.2f}"),
            )
            for image in range(len(trial.pixels_IDHW))
        ]
        rows.append(Row(_label(trial, member, is_student), tuple(cells)))
    return Block(_heading(trial), tuple(rows))


def _label(trial: TrialAttention, member: int, is_student: bool) -> tuple[str, ...]:
    config, kind = trial.config, trial.map_names_M[member]
    if is_student:
        strength = config.student_strength
        return ("student", config.student.model, f"strength {strength:g}", kind, "mean IoU with", "teachers")
    strength = config.teacher_strengths[member]
    return (f"teacher {member + 1}", config.teacher_models[member], f"strength {strength:g}", kind, "IoU with student")


def _heading(trial: TrialAttention) -> str:
    config = trial.config
    num_teachers = f"{config.ensemble_size} teacher{'s' * (config.ensemble_size > 1)}"
    with_student = f"{float(trial.iou_student_TI.mean()):.2f}"
    between_PI = trial.iou_teachers_PI
    between = f"between teachers {float(between_PI.mean()):.2f}, " if len(between_PI) else ""
    return (
        f"strength {config.mean_teacher_strength:g}, {num_teachers}, seed {config.seed}, epoch {trial.epoch}. "
        f"IoU {between}student with teachers {with_student}. Trial {config.trial_id}"
    )


def _prediction(trial: TrialAttention, member: int, image: int) -> str:
    probability, predicted = trial.logits_MIC[member, image].softmax(0).max(0)
    name = _shortened(trial.class_names[int(predicted)])
    wrong = "" if int(predicted) == int(trial.labels_I[image]) else "wrong: "
    return f"{wrong}{name} ({float(probability):.2f})"


def _shortened(name: str, limit: int = 12) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
