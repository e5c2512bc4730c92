"""The attention of a trial: logits, attention maps and overlaps of its teachers and student on validation images.

Shapes: I images, M networks, T teachers, P pairs of teachers, C classes, D channels, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn

from kd_sweep.attention.maps import attention_maps, map_name
from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.attention.regions import attention_regions, intersection_over_union, pairs_of
from kd_sweep.catalogue.kinds import ATTENTION_MAP
from kd_sweep.catalogue.lookup import entry_of, unknown
from kd_sweep.data.dataset import Dataset
from kd_sweep.data.normalization import Normalization
from kd_sweep.data.splits import evenly_over_classes
from kd_sweep.distill.compute import reproducible, resolve_device
from kd_sweep.errors import DataError, QueryError
from kd_sweep.study.recipe import Metrics
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.trial_lookup import StoredTrial
from kd_sweep.trained.map_metrics import attention_metrics
from kd_sweep.trained.trained_networks import Epoch, TrainedNetworks

_IMAGES_AT_ONCE = 256
"""Of a network: what it keeps for gradients is some megabytes an image."""


@dataclass(frozen=True, eq=False)
class TrialAttention:
    """Logits, attention maps and their overlaps of the networks of a trial on some images, on the CPU."""

    config: TrialConfig
    epoch: int
    """Of the student's checkpoint."""
    indices_I: Tensor
    """Of the images in the validation set, from 0."""
    pixels_IDHW: Tensor
    """uint8."""
    labels_I: Tensor
    class_names: tuple[str, ...]
    logits_MIC: Tensor
    """Of the teachers, member 1 first, and, last, the student."""
    maps_MIHW: Tensor
    """In [0, 1], in the same order."""
    map_names_M: tuple[str, ...]
    """Kind of each map, `cam`, `grad_cam`, one of a plug-in, or `rollout`, in the same order."""

    iou_student_TI: Tensor
    """IoU of each teacher's region, where its map is above `metrics.cam_threshold`, with the student's; float64."""
    iou_teachers_PI: Tensor
    """IoU of the regions of each unordered pair of teachers, (1, 2), (1, 3), …; float64. No pair for one teacher."""

    @property
    def network_names(self) -> tuple[str, ...]:
        """`teacher 1`, …, `student`."""
        return (*(f"teacher {member}" for member in range(1, len(self.logits_MIC))), "student")

    def __repr__(self) -> str:
        between = f"between teachers {float(self.iou_teachers_PI.mean()):.2f}, " if len(self.iou_teachers_PI) else ""
        return (
            f"<attention of trial {self.config.trial_id}, epoch {self.epoch}, on {len(self.labels_I)} images: "
            f"IoU {between}student with teachers {float(self.iou_student_TI.mean()):.2f}>"
        )

    def metrics(self) -> dict[str, float | None]:
        """Return the metrics of attention that `epochs` has, of these images: areas, overlaps, their chance levels.

        Of all validation images in their order, and maps of the trial's own kind, they are those of the student's
        epoch; in another order, chance levels are of other pairs of images. They are None for one image, and noisy for
        few. Metrics of images that all classify right are left out, and those by class.
        """
        return attention_metrics(self.maps_MIHW, self.config.metrics.cam_threshold)

    def table(self) -> pa.Table:
        """Return a row per image and network: what it predicts, and how its region overlaps with the student's.

        Columns: `image` (index in the validation set), `label`, `network` (`teacher 1`, …, `student`), `predicted`,
        `probability` (of that class), `iou_student` (null for the student itself).
        """
        probability_MI, predicted_MI = (values.tolist() for values in self.logits_MIC.softmax(2).max(2))
        iou_MI = [*self.iou_student_TI.tolist(), [None] * len(self.labels_I)]
        images = list(enumerate(zip(self.indices_I.tolist(), self.labels_I.tolist(), strict=True)))
        rows = [
            {
                "image": image,
                "label": self.class_names[label],
                "network": name,
                "predicted": self.class_names[predicted_MI[number][position]],
                "probability": probability_MI[number][position],
                "iou_student": iou_MI[number][position],
            }
            for position, (image, label) in images
            for number, name in enumerate(self.network_names)
        ]
        return pa.Table.from_pylist(rows)


def trial_attention(
    trial: StoredTrial,
    images: int | Sequence[int] = 8,
    *,
    epoch: Epoch = "last",
    map_kind: str | None = None,
    device: str = "auto",
) -> TrialAttention:
    """Return the attention of a trial's teachers and of its student.

    Args:
        trial: which.
        images: number of validation images, evenly over the classes; or their indices in the validation set, from 0.
        epoch: of the student.
        map_kind: `grad_cam`, `cam`, or one of a plug-in that is loaded; the trial's own when None.
        device: of the networks.

    Raises:
        DataError: the dataset cannot be read, or has no image at one of the indices.
        QueryError: there is no such epoch or kind of map.
        StorageError: the trial has no checkpoint of that epoch, or a version with other fields wrote it.
        CorruptFileError: the checkpoint or a teacher is damaged or gone.
        SpecError: a network cannot be built, as where its library is missing.
    """
    trained = TrainedNetworks(trial, device)
    config, dataset = trained.config, trained.dataset
    metrics = _with_map(config.metrics, map_kind)
    indices_I = _selected(images, dataset, config.data.name)
    pixels_IDHW = dataset.val.pixels(indices_I)
    with reproducible(None), torch.no_grad():
        networks, number = trained.all(epoch)
        outputs = _outputs(networks, dataset, pixels_IDHW, metrics, device)
    labels_I = dataset.val.labels_N[indices_I]
    return TrialAttention(config, number, indices_I, pixels_IDHW, labels_I, dataset.class_names, **outputs)


def _with_map(metrics: Metrics, kind: str | None) -> Metrics:
    if kind is None:
        return metrics
    if entry_of(ATTENTION_MAP, kind) is None:
        raise QueryError(f"map: {unknown(ATTENTION_MAP, kind)}")
    return metrics.changed({"attention": kind})


def _overlaps(regions_MI: PackedRegions) -> tuple[Tensor, Tensor]:
    """Return the IoU of each teacher's region with the student's, which is the last, and of each pair of teachers."""
    teachers_TI = regions_MI[:-1]
    first_P, second_P = pairs_of(len(teachers_TI.words))
    between_PI = intersection_over_union(teachers_TI[first_P], teachers_TI[second_P])
    return intersection_over_union(teachers_TI, regions_MI[-1]), between_PI


def _selected(images: int | Sequence[int], dataset: Dataset, name: str) -> Tensor:
    """Return the indices of validation images."""
    possible = "possible: a number of images, or a list of indices"
    if isinstance(images, int | Integral):
        if images < 1:
            raise DataError(f"images: {images} is not at least 1; {possible}")
        return torch.from_numpy(evenly_over_classes(dataset.val.labels_N.numpy(), int(images)))
    indices = [int(index) for index in images]
    if not indices:
        raise DataError(f"images: there is none; {possible}")
    for index in indices:
        if not 0 <= index < len(dataset.val):
            raise DataError(f"image: {index} is not a validation image of {name}; 0 to {len(dataset.val) - 1}")
    return torch.tensor(indices)


def _outputs(
    networks: Sequence[nn.Module], dataset: Dataset, pixels_IDHW: Tensor, metrics: Metrics, device: str
) -> dict[str, Any]:
    """Return logits, maps, their names and overlaps, on the CPU, by the names that `TrialAttention` has for them."""
    on_device = resolve_device(device)
    images_IDHW = Normalization.of(dataset, on_device).of_pixels(pixels_IDHW.to(on_device))
    logits, maps = [], []
    for network in networks:
        parts = [attention_maps(network, part, metrics) for part in torch.split(images_IDHW, _IMAGES_AT_ONCE)]
        logits_IC, maps_IHW = (torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True))
        logits.append(logits_IC)
        maps.append(maps_IHW)
    maps_MIHW = torch.stack(maps)
    iou_student_TI, iou_teachers_PI = _overlaps(PackedRegions.of(attention_regions(maps_MIHW, metrics.cam_threshold)))
    return {
        "logits_MIC": torch.stack(logits),
        "maps_MIHW": maps_MIHW,
        "map_names_M": tuple(map_name(network, metrics) for network in networks),
        "iou_student_TI": iou_student_TI,
        "iou_teachers_PI": iou_teachers_PI,
    }
