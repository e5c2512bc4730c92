"""The metrics of where networks look, as records of the list in `study.metric_catalogue`."""

from collections.abc import Iterator
from dataclasses import replace

from kd_sweep.study.metric_record import (
    AT_MOST_1,
    CORRELATION,
    SHARE,
    About,
    Metric,
    Null,
    Split,
)

IOU_THRESHOLDS = {"at_25": 0.25, "at_50": 0.5, "at_75": 0.75}
"""Suffix of an attention metric -> threshold of its regions, beside `metrics.cam_threshold`, which has no suffix."""

TOP_SHARES = {"top_20": 0.2}
"""Suffix of an attention metric -> share of an image that its regions cover: its pixels of the highest attention."""

CHANCE = "_chance"
"""Suffix of the value that a metric has for maps of different images."""

CORRECT = "_correct"
"""Suffix of an attention metric of the images that student and ensemble classify right."""

_VAL: tuple[Split, ...] = ("val",)
_BOTH: About = "student and teachers"


def _attention_of(who: str, about: About, iou: str, others: str, overlap: str) -> Iterator[Metric]:
    """Yield the IoU of ``who`` for every kind of region, then its chance level, then how far it is above."""
    null = (Null.ONE_TEACHER,) if about == "teachers" else ()
    name = f"attention_iou_{who}"
    at = {"": iou, **_other_regions(name)}
    if about == _BOTH:
        at[CORRECT] = f"`{name}` among the images on which both the student and the ensemble are right."
    nulls = {suffix: (*null, *((Null.NO_SUCH_IMAGE,) if suffix == CORRECT else ())) for suffix in at}
    for suffix, meaning in at.items():
        yield Metric(f"{name}{suffix}", meaning, SHARE, "share", _VAL, about, null=nulls[suffix], of_attention=True)
    for suffix in at:
        meaning = f"The same of `{name}{suffix}`." if suffix else others
        yield Metric(
            f"{name}{suffix}{CHANCE}", meaning, SHARE, "share", _VAL, about,
            null=(*nulls[suffix], Null.NO_OTHER_IMAGE), of_attention=True, kind="chance",
        )  # fmt: skip
    for suffix in at:
        meaning = f"The same of `{name}{suffix}`." if suffix else overlap
        yield Metric(
            f"attention_overlap_{who}{suffix}", meaning, AT_MOST_1, "share", _VAL, about,
            None if about == "teachers" else "max",
            null=(*nulls[suffix], Null.NO_OTHER_IMAGE, Null.CHANCE_IS_1), of_attention=True,
        )  # fmt: skip


def _other_regions(name: str) -> dict[str, str]:
    """Return the meaning of an IoU by the suffix of its regions, but for those that `metrics.cam_threshold` gives."""
    above = {
        f"_{suffix}": f"`{name}` with regions above {threshold:g} instead of `metrics.cam_threshold`."
        for suffix, threshold in IOU_THRESHOLDS.items()
    }
    top = {
        f"_{suffix}": f"`{name}` of regions of one size: the {100 * share:.0f} % of an image's pixels where attention "
        "is highest."
        for suffix, share in TOP_SHARES.items()
    }
    return {**above, **top}


def _rank_correlations() -> Iterator[Metric]:
    shapes: tuple[tuple[str, About, str, tuple[Null, ...]], ...] = (
        (
            "attention_rank_correlation_teachers",
            "teachers",
            "Per image of `val` and unordered pair of teachers: Spearman's rank correlation of their whole attention "
            "maps, which no threshold cuts; mean over images and pairs. Maps are taken over 8 × 8 cells, of each the "
            "mean; a constant one has a correlation of 0 with any other.",
            (Null.ONE_TEACHER,),
        ),
        (
            "attention_rank_correlation_student",
            _BOTH,
            "The same of the student's map and each teacher's; mean over images and teachers.",
            (),
        ),
    )
    for name, about, meaning, null in shapes:
        metric = Metric(name, meaning, CORRELATION, "correlation", _VAL, about, null=null, of_attention=True)
        yield replace(metric, better="max" if about == _BOTH else None)
        yield replace(
            metric,
            name=f"{name}{CHANCE}",
            meaning="The same of maps that are paired with those of other images: above 0 where attention prefers "
            "places, such as the middle, whatever the image.",
            null=(*null, Null.NO_OTHER_IMAGE),
            kind="chance",
        )


def _randomised() -> Iterator[Metric]:
    of_classifier = Metric(
        "attention_randomised_classifier",
        "Sanity check of the map ([arXiv 1810.03292](https://arxiv.org/abs/1810.03292)): rank correlation of a "
        "teacher's map and the one that it has with the classifier from before its training; mean over images of `val` "
        "and teachers. Near 1: the map does not show what the classifier learned, as `cam` and rollout. See "
        "[below](#does-a-map-show-what-was-learned).",
        CORRELATION, "correlation", _VAL, "teachers", null=(Null.NO_MAP,), of_attention=True,
    )  # fmt: skip
    yield of_classifier
    of_network = replace(
        of_classifier,
        name="attention_randomised_network",
        meaning="The same with the map of a network of the same kind whose weights are all drawn anew.",
    )
    yield of_network
    for metric in (of_classifier, of_network):
        yield replace(
            metric,
            name=f"{metric.name}_student",
            meaning=f"The same as `{metric.name}` of the student, once, after its last epoch.",
            about="student",
            null=(Null.NOT_LAST, Null.NO_MAP),
        )


def attention_metrics() -> Iterator[Metric]:
    """Yield all of them, in the order of the columns."""
    yield from _attention_of(
        "teachers",
        "teachers",
        "Per image of `val` and unordered pair of teachers: intersection over union of their attention regions; mean "
        "over images and pairs. The same in every epoch, since teachers do not change.",
        "`attention_iou_teachers` of regions that are paired with those of other images: what it would be if the "
        "teachers attended to regions that have nothing to do with the image. See [below](#chance).",
        "(`attention_iou_teachers` − chance) / (1 − chance): 0 for what chance gives, 1 for equal regions. Compares "
        "between networks, strengths and maps, where the plain IoU moves with the size and position of regions alone.",
    )
    yield from _attention_of(
        "student",
        _BOTH,
        "Per image of `val` and teacher: intersection over union of the student's region and the teacher's; mean over "
        "both.",
        "`attention_iou_student` of the student's region on one image and the teachers' on another.",
        "(`attention_iou_student` − chance) / (1 − chance).",
    )
    yield Metric(
        "attention_area_teachers",
        "Share of the image that a teacher's region covers, mean over images and teachers. Two regions that have "
        "nothing to do with each other overlap more the larger they are.",
        SHARE, "share", _VAL, "teachers", of_attention=True,
    )  # fmt: skip
    yield Metric(
        "attention_area_student", "The same of the student's region.",
        SHARE, "share", _VAL, "student", of_attention=True,
    )  # fmt: skip
    yield from _rank_correlations()
    yield from _randomised()


def attention_lists() -> Iterator[Metric]:
    """Yield those that are a list by class."""
    of_teachers = Metric(
        "attention_overlap_teachers_per_class",
        "A list, in `epochs` alone: `attention_overlap_teachers` among the images of each class of `val`, in the order "
        "of the labels; its chance level is that of the class's regions, each paired with another image's of any "
        "class; null for a class without images.",
        AT_MOST_1, "share", _VAL, "teachers",
        null=(Null.ONE_TEACHER,), asked_by="per_class", of_attention=True, is_list=True,
    )  # fmt: skip
    yield of_teachers
    yield replace(
        of_teachers,
        name="attention_overlap_student_per_class",
        meaning="The same of `attention_overlap_student`.",
        about=_BOTH,
        null=(),
    )
