"""The ranking of trials by several scores: fronts by dominance, and within a front an epsilon net.

N distinct vectors, K scores in each; greater is better.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kd_sweep.driver.stopping.history import Scores

Array = npt.NDArray[np.float64]


def num_ranked_before(scores: Scores, all_scores: Sequence[Scores]) -> int:
    """Return how many of ``all_scores``, which hold ``scores`` too, are ranked before it.

    One vector dominates another that it equals or exceeds in every score, and exceeds in one. The first front is those
    that none dominates, the next those that none of the remaining ones dominates, and so on (Deb et al. 2002). Equal
    vectors share a rank. The ranking is a function of the set of scores: the order in which they came is none of it.
    """
    counts = Counter(all_scores)
    points_NK = np.array(sorted(counts, reverse=True))
    before = 0
    while True:
        is_front_N = _non_dominated(points_NK)
        front_NK = points_NK[is_front_N]
        front = [tuple(point) for point in front_NK.tolist()]
        if scores in front:
            ordered = [front[index] for index in _epsilon_net(front_NK)]
            return before + sum(counts[point] for point in ordered[: ordered.index(scores)])
        before += sum(counts[point] for point in front)
        points_NK = points_NK[~is_front_N]


def _non_dominated(points_NK: Array) -> npt.NDArray[np.bool_]:
    """Return which points no other one dominates. They are distinct, and sorted from the greatest first score down."""
    is_left_N = np.ones(len(points_NK), bool)
    for index, point_K in enumerate(points_NK):
        if is_left_N[index]:  # what it dominates comes after it
            is_left_N[index + 1 :] &= (points_NK[index + 1 :] > point_K).any(axis=1)
    return is_left_N


def _epsilon_net(points_NK: Array) -> list[int]:
    """Return the order of a front: each time the point that is farthest from its nearest one among those before it.

    The first is that of the greatest first score. Scores are scaled by their range in the front, distances are
    Euclidean; of equally far points the one of the greater first score comes first, which is how they are sorted.
    """
    range_K = np.ptp(points_NK, axis=0)
    scaled_NK = points_NK / np.where(range_K > 0, range_K, 1.0)
    order = [0]
    distance_N = np.full(len(points_NK), np.inf)
    for _ in range(len(points_NK) - 1):
        distance_N = np.minimum(distance_N, np.linalg.norm(scaled_NK - scaled_NK[order[-1]], axis=1))
        distance_N[order] = -1.0
        order.append(int(np.argmax(distance_N)))
    return order
