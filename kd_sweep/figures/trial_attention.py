"""The attention of a trial: logits and attention maps of its teachers and student on some validation images.

Shapes: I images, M networks, C classes, D channels, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_sweep.attention.maps import AttentionKind, attention_maps, map_name
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
from kd_sweep.distill.compute import reproducible, resolve_device, to_device
from kd_sweep.distill.teachers import load_teacher
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import DataError, StorageError
from kd_sweep.networks.classifiers import build_model
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.study.trial import TrialConfig, recorded_trial
from kd_sweep.tables.trial_lookup import StoredTrial


@dataclass(frozen=True)
class TrialAttention:
    """Logits and attention maps of the networks of a trial on some images, on the CPU."""

    config: TrialConfig
    epoch: int
    """Of the student's checkpoint."""
    pixels_IDHW: Tensor
    """uint8."""
    labels_I: Tensor
    class_names: tuple[str, ...]
    logits_MIC: Tensor
    """Of the teachers and, last, the student."""
    maps_MIHW: Tensor
    """In [0, 1], in the same order."""
    map_names_M: tuple[str, ...]
    """Kind of each map, in the same order."""


def trial_attention(
    trial: StoredTrial, num_images: int = 8, indices: Sequence[int] = (), *, best: bool = False, device: str = "auto"
) -> TrialAttention:
    """Return the attention of a trial's teachers and of its student as its newest checkpoint has it.

    Args:
        trial: which.
        num_images: number of validation images, evenly over the classes; ignored with ``indices``.
        indices: of the images in the validation set, from 0.
        best: the student after its best epoch instead of its newest.
        device: of the networks.

    Raises:
        DataError: the dataset cannot be read, or has no image at one of the indices.
        StorageError: the trial has no checkpoint of that epoch, or a version with other fields wrote it.
        CorruptFileError: the checkpoint or a teacher is damaged or gone.
    """
    config = recorded_trial(trial.row)
    dataset = resident_dataset(config.data, trial.root)
    _check_indices(indices, dataset, config.data.name)
    indices_I = torch.tensor(list(indices) or evenly_over_classes(dataset.val.labels_N.numpy(), num_images).tolist())
    pixels_IDHW = dataset.val.pixels(indices_I)
    with reproducible(None), torch.no_grad():
        networks, epoch = _networks(trial, config, dataset, device, best=best)
        logits_MIC, maps_MIHW = _outputs(networks, dataset, pixels_IDHW, config.metrics.attention, device)
    return TrialAttention(
        config=config,
        epoch=epoch,
        pixels_IDHW=pixels_IDHW,
        labels_I=dataset.val.labels_N[indices_I],
        class_names=dataset.class_names,
        logits_MIC=logits_MIC,
        maps_MIHW=maps_MIHW,
        map_names_M=tuple(map_name(network, config.metrics.attention) for network in networks),
    )


def _check_indices(indices: Sequence[int], dataset: Dataset, name: str) -> None:
    for index in indices:
        if not 0 <= index < len(dataset.val):
            raise DataError(f"image: {index} is not a validation image of {name}; 0 to {len(dataset.val) - 1}")


def _outputs(
    networks: Sequence[nn.Module], dataset: Dataset, pixels_IDHW: Tensor, kind: AttentionKind, device: str
) -> tuple[Tensor, Tensor]:
    """Return logits and attention maps of all networks, on the CPU."""
    on_device = resolve_device(device)
    images_IDHW = Normalization.of(dataset, on_device).of_pixels(pixels_IDHW.to(on_device))
    outputs = [attention_maps(network, images_IDHW, kind) for network in networks]
    logits, maps = ([tensor.cpu() for tensor in tensors] for tensors in zip(*outputs, strict=True))
    return torch.stack(logits), torch.stack(maps)


def _networks(
    trial: StoredTrial, config: TrialConfig, dataset: Dataset, device: str, *, best: bool
) -> tuple[list[nn.Module], int]:
    """Return the teachers and, last, the student, and the student's epoch; all in evaluation mode."""
    teachers = [load_teacher(teacher, trial.root, device=device) for teacher in config.teachers]
    student = to_device(build_model(config.student, dataset, config.init_seed), resolve_device(device))
    drift = config.distillation.teacher_batchnorm == "train"
    named = {f"teacher-{t.teacher_id}": model for t, model in zip(config.teachers, teachers, strict=True)}
    file = _checkpoint(trial, best=best)
    header: CheckpointHeader | None = load_checkpoint(file, trial.trial_id, student, None, named if drift else None)
    if header is None:
        raise StorageError(
            f"trial: {trial.trial_id} is {trial.row['status']} and has no checkpoint ({file} is missing)"
        )
    return [*teachers, student.eval()], header.epoch


def _checkpoint(trial: StoredTrial, *, best: bool) -> StoredFile:
    folder = trial.study.child(f"{CHECKPOINTS}/{trial.trial_id}")
    checkpoints = checkpoints_in(folder)
    if not best:
        return checkpoints.get(LAST) or StoredFile(folder, LAST)
    for file in checkpoints.values():
        header = read_header(file)
        if header is not None and header.epoch == trial.row["best_epoch"]:
            return file
    raise StorageError(
        f"trial: {trial.trial_id} has no checkpoint of its best epoch, {trial.row['best_epoch']}; those of a study are "
        "kept with checkpoints.best: true and as long as checkpoints.max_bytes allows"
    )
