"""The metrics of attention of a teacher ensemble and a student, of maps that are all at hand.

Shapes: N images, M networks, T teachers, R ways to pair images, H x W pixels.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from kd_sweep.attention.compared_maps import ComparedMaps, Overlaps
from kd_sweep.attention.regions import other_images
from kd_sweep.distill.image_means import ImageMeans
from kd_sweep.metrics.split_metrics import chance_metrics, student_attention_metrics, teacher_attention_metrics


def attention_metrics(maps_MNHW: Tensor, cam_threshold: float) -> dict[str, float | None]:
    """Return areas of regions, overlaps, their chance levels and how far they are above, by the names of the tables.

    Args:
        maps_MNHW: in [0, 1], of the teachers, member 1 first, and, last, the student.
        cam_threshold: a pixel belongs to the region where its map is above it.
    """
    *teachers, student = (ComparedMaps.of(maps_NHW, cam_threshold) for maps_NHW in maps_MNHW)
    num_images, num_teachers = maps_MNHW.shape[1], len(teachers)
    same_RTN = torch.arange(num_images).expand(1, num_teachers, -1)
    others_RTN = other_images(num_images, num_teachers)
    not_the_students_RTN = other_images(num_images, 2)[:, 1:].expand(-1, num_teachers, -1)
    overlap = _of_teachers(teachers, same_RTN) | _with_student(student, teachers, same_RTN)
    apart = _of_teachers(teachers, others_RTN) | _with_student(student, teachers, not_the_students_RTN)
    return {**overlap, **chance_metrics(overlap, apart)}


def _of_teachers(teachers: Sequence[ComparedMaps], indices_RTN: Tensor) -> dict[str, float]:
    if not len(indices_RTN):
        return {}
    return _means(teacher_attention_metrics(_selected(teachers, indices_RTN)))


def _with_student(student: ComparedMaps, teachers: Sequence[ComparedMaps], indices_RTN: Tensor) -> dict[str, float]:
    if not len(indices_RTN):
        return {}
    overlaps = Overlaps.with_student(student, _selected(teachers, indices_RTN))
    return _means(student_attention_metrics(student, overlaps))


def _selected(teachers: Sequence[ComparedMaps], indices_RTN: Tensor) -> ComparedMaps:
    """Return the maps of each teacher that are its own in each way to pair images, (R, T, N)."""
    pairs = zip(teachers, indices_RTN.unbind(1), strict=True)
    return ComparedMaps.stacked([of_teacher.select(indices_RN) for of_teacher, indices_RN in pairs])


def _means(of_ways: Iterable[Mapping[str, float]]) -> dict[str, float]:
    means = ImageMeans()
    for values in of_ways:
        means.add(values, 1)
    return means.values()
