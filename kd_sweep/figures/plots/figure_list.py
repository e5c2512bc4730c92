"""All figures of a study, in the order in which a reader wants them."""

from collections.abc import Sequence

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.figures.plots.dose_response import DOSE_RESPONSE
from kd_sweep.figures.plots.fidelity_by_size import FIDELITY_BY_SIZE
from kd_sweep.figures.plots.figure_kind import FigureKind
from kd_sweep.figures.plots.forests.arm_forest import ARM_FOREST
from kd_sweep.figures.plots.forests.effect_forest import BEST_STRENGTH, EFFECTS
from kd_sweep.figures.plots.forests.variance_rows import VARIANCE_ROWS
from kd_sweep.figures.plots.learning_curves import CURVES
from kd_sweep.figures.plots.networks.affinity_plane import AFFINITY_PLANE
from kd_sweep.figures.plots.networks.agreement_matrix import AGREEMENT_MATRIX
from kd_sweep.figures.plots.networks.reliability_diagram import RELIABILITY
from kd_sweep.figures.plots.networks.teacher_errors import TEACHER_ERRORS
from kd_sweep.figures.plots.parallel_coordinates import PARALLEL
from kd_sweep.figures.plots.pareto_front import PARETO
from kd_sweep.figures.plots.slot_timeline import TIMELINE
from kd_sweep.figures.plots.train_against_val import TRAIN_AGAINST_VAL
from kd_sweep.figures.plots.triptych import TRIPTYCH

_ALL = (
    DOSE_RESPONSE,
    TRIPTYCH,
    FIDELITY_BY_SIZE,
    TRAIN_AGAINST_VAL,
    TEACHER_ERRORS,
    AGREEMENT_MATRIX,
    RELIABILITY,
    AFFINITY_PLANE,
    CURVES,
    PARETO,
    PARALLEL,
    EFFECTS,
    BEST_STRENGTH,
    ARM_FOREST,
    VARIANCE_ROWS,
    TIMELINE,
)
FIGURES: dict[str, FigureKind] = {kind.name: kind for kind in _ALL}
"""By name."""


def figure_kinds(names: Sequence[str]) -> list[FigureKind]:
    """Return the figures of these names, each once; all where there are none.

    Raises:
        QueryError: a name is of no figure. One line.
    """
    for name in names:
        if name not in FIGURES:
            raise QueryError(f"plot: {name!r} is no figure; {alternatives(name, FIGURES, len(FIGURES))}")
    return [FIGURES[name] for name in dict.fromkeys(names or FIGURES)]
