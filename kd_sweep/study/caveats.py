"""Caveats about a study's figures, for all that announces or shows them."""

from kd_sweep.study.space.dimensions import dimension_values, extremes
from kd_sweep.study.spec import StudySpec

CAM = (
    "attention maps are cam: where a classifier starts at random, they show features along a direction that chance "
    "chose, so read attention_overlap_…, or take metrics.attention grad_cam (docs/metrics.md#attention-regions)"
)
SIZES = (
    "teachers differ, and ensembles of fewer have fewer kinds of them: an effect of ensemble_size is one of network "
    "and recipe too (docs/study-files.md#teachers-that-differ-teachers)"
)


def caveats(spec: StudySpec) -> list[str]:
    """Return what to beware of in the figures of a study, a line each."""
    searched = spec.search.get("metrics.attention")
    maps = (dimension_values("metrics.attention", searched) if searched is not None else None) or []
    is_fixed = searched is None or bool(searched.when)
    cam = [CAM] if "cam" in maps or (is_fixed and spec.metrics.attention == "cam") else []
    smallest, largest = extremes(spec, "ensemble_size")
    return [*cam, SIZES] if smallest < min(largest, len(spec.teachers)) else cam
