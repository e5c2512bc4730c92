"""Where the networks of trials look, over chosen validation images, as a picture.

Shapes: I images, M teachers, C classes, D channels, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from PIL import Image
from torch import Tensor, nn

from kd_sweep.attention.maps import attention_maps, map_name
from kd_sweep.attention.regions import attention_regions, intersection_over_union
from kd_sweep.data.dataset import Dataset
from kd_sweep.data.normalization import Normalization
from kd_sweep.data.splits import evenly_over_classes
from kd_sweep.distill.checkpoints import (
    CHECKPOINTS,
    LAST,
    CheckpointHeader,
    checkpoints_in,
    load_checkpoint,
    read_header,
)
from kd_sweep.distill.compute import place, reproducible, resolve_device
from kd_sweep.distill.teachers import load_teacher
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import DataError, StorageError
from kd_sweep.figures.image_sheet import Block, Cell, Row, overlay, picture, sheet
from kd_sweep.networks.classifiers import build_model
from kd_sweep.storage.root import StoredFile
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.trial_lookup import FoundTrial


@dataclass(frozen=True)
class TrialAttention:
    """What the networks of a trial make of some images, on the CPU."""

    config: TrialConfig
    epoch: int
    """Of the student."""
    pixels_IDHW: Tensor
    """uint8."""
    labels_I: Tensor
    class_names: tuple[str, ...]
    logits_MIC: Tensor
    """Of the teachers and, last, the student."""
    maps_MIHW: Tensor
    """In [0, 1]; likewise."""
    map_names_M: tuple[str, ...]
    """Which kind of map each is; likewise."""


def trial_attention(
    trial: FoundTrial, num_images: int = 8, indices: Sequence[int] = (), *, best: bool = False, device: str = "auto"
) -> TrialAttention:
    """Return the attention of a trial's teachers and of its student as its newest checkpoint has it.

    Args:
        trial: which.
        num_images: how many validation images, evenly over the classes; no meaning with ``indices``.
        indices: their places in the validation set, from 0.
        best: the student after its best epoch instead of its newest.
        device: where the networks run.

    Raises:
        DataError: the dataset cannot be read, or has no image at one of the places.
        StorageError: the trial has no checkpoint of that epoch.
        CorruptFileError: the checkpoint or a teacher is damaged or gone.
    """
    config = TrialConfig.model_validate_json(trial.row["config"])
    dataset = resident_dataset(config.data, trial.root)
    for index in indices:
        if not 0 <= index < len(dataset.val):
            raise DataError(
                f"image: {index} is not a validation image of {config.data.name}; 0 to {len(dataset.val) - 1}"
            )
    places_I = torch.tensor(list(indices) or evenly_over_classes(dataset.val.labels_N.numpy(), num_images).tolist())
    pixels_IDHW = dataset.val.pixels(places_I)
    on_device = resolve_device(device)
    images_IDHW = Normalization.of(dataset, on_device).of_pixels(pixels_IDHW.to(on_device))
    logits, maps = [], []
    with reproducible(None), torch.no_grad():
        networks, epoch = _networks(trial, config, dataset, device, best=best)
        for network in networks:
            logits_IC, maps_IHW = attention_maps(network, images_IDHW, config.metrics.attention)
            logits.append(logits_IC.cpu())
            maps.append(maps_IHW.cpu())
    return TrialAttention(
        config=config,
        epoch=epoch,
        pixels_IDHW=pixels_IDHW,
        labels_I=dataset.val.labels_N[places_I],
        class_names=dataset.class_names,
        logits_MIC=torch.stack(logits),
        maps_MIHW=torch.stack(maps),
        map_names_M=tuple(map_name(network, config.metrics.attention) for network in networks),
    )


def gallery(trials: Sequence[TrialAttention]) -> Image.Image:
    """Return a sheet: a column per image; a block per trial, with a row per teacher and one for the student.

    Below a teacher's map stands what it predicts, with its probability, and its IoU with the student's; below the
    student's, the mean of these; in the heading, the means over the images, and that of the teachers' pairs.
    """
    blocks = []
    for number, trial in enumerate(trials):
        if number == 0 or not torch.equal(trial.pixels_IDHW, trials[number - 1].pixels_IDHW):
            threshold = trial.config.metrics.cam_threshold
            legend = f"Attention from blue, 0, to red, 1. White: the border of the region above {threshold:g}."
            blocks.append(Block(legend, (_pictures(trial),)))
        blocks.append(_block(trial))
    return sheet(blocks)


def _networks(
    trial: FoundTrial, config: TrialConfig, dataset: Dataset, device: str, *, best: bool
) -> tuple[list[nn.Module], int]:
    """Return the teachers and, last, the student, and the student's epoch; all in evaluation mode."""
    teachers = [load_teacher(teacher, trial.root, device=device) for teacher in config.teachers]
    student = place(build_model(config.student, dataset, config.init_seed), resolve_device(device))
    drift = config.distillation.teacher_batchnorm == "train"
    named = {f"teacher-{t.teacher_id}": model for t, model in zip(config.teachers, teachers, strict=True)}
    file = _checkpoint(trial, best=best)
    header: CheckpointHeader | None = load_checkpoint(file, trial.trial_id, student, None, named if drift else None)
    if header is None:
        raise StorageError(
            f"trial: {trial.trial_id} is {trial.row['status']} and has no checkpoint ({file} is missing)"
        )
    return [*teachers, student.eval()], header.epoch


def _checkpoint(trial: FoundTrial, *, best: bool) -> StoredFile:
    folder = trial.study.child(f"{CHECKPOINTS}/{trial.trial_id}")
    found = checkpoints_in(folder)
    if not best:
        return found.get(LAST) or folder.file(LAST)
    for file in found.values():
        header = read_header(file)
        if header is not None and header.epoch == trial.row["best_epoch"]:
            return file
    raise StorageError(
        f"trial: {trial.trial_id} has no checkpoint of its best epoch, {trial.row['best_epoch']}; those of a study are "
        "kept with checkpoints.best: true and as long as checkpoints.max_bytes allows"
    )


def _pictures(trial: TrialAttention) -> Row:
    cells = [
        Cell(picture(pixels_DHW), (_shortened(trial.class_names[label]),))
        for pixels_DHW, label in zip(trial.pixels_IDHW, trial.labels_I.tolist(), strict=True)
    ]
    return Row(("validation images", "and their labels"), tuple(cells))


def _block(trial: TrialAttention) -> Block:
    threshold = trial.config.metrics.cam_threshold
    regions_MIHW = attention_regions(trial.maps_MIHW, threshold)
    with_student_MI = torch.stack(
        [intersection_over_union(regions_IHW, regions_MIHW[-1]) for regions_IHW in regions_MIHW[:-1]]
    )
    shown_MI = torch.cat([with_student_MI, with_student_MI.mean(0, keepdim=True)])
    rows = []
    for member in range(len(regions_MIHW)):
        is_student = member == len(regions_MIHW) - 1
        cells = [
            Cell(
                overlay(trial.pixels_IDHW[image], trial.maps_MIHW[member, image], threshold),
                (_prediction(trial, member, image), f"IoU {float(shown_MI[member, image]):.2f}"),
            )
            for image in range(len(trial.pixels_IDHW))
        ]
        rows.append(Row(_label(trial, member, is_student), tuple(cells)))
    return Block(_heading(trial, regions_MIHW[:-1], with_student_MI), tuple(rows))


def _label(trial: TrialAttention, member: int, is_student: bool) -> tuple[str, ...]:
    config, kind = trial.config, trial.map_names_M[member]
    if is_student:
        strength = config.student_strength
        return ("student", config.student.model, f"strength {strength:g}", kind, "mean IoU with", "teachers")
    strength = config.teacher_strengths[member]
    return (f"teacher {member + 1}", config.teacher.model, f"strength {strength:g}", kind, "IoU with student")


def _heading(trial: TrialAttention, teacher_regions_MIHW: Tensor, with_student_MI: Tensor) -> str:
    config = trial.config
    num_teachers = f"{config.ensemble_size} teacher{'s' * (config.ensemble_size > 1)}"
    with_student = f"{float(with_student_MI.mean()):.2f}"
    pairs = [intersection_over_union(*pair).mean() for pair in combinations(teacher_regions_MIHW, 2)]
    between = f"between teachers {float(torch.stack(pairs).mean()):.2f}, " if pairs else ""
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
