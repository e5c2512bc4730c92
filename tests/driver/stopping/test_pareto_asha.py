"""Ranking by dominance against Optuna's Pareto fronts and brute force, and by hand."""

import itertools
import math
import random

import optuna
import pytest

from kd_sweep.driver.stopping.history import History, Scores
from kd_sweep.driver.stopping.pareto_ranking import num_ranked_before
from kd_sweep.driver.stopping.rules.pareto_asha import ParetoAsha
from kd_sweep.driver.stopping.rungs import rung_epochs
from tests.driver.stopping.simulated import curves, num_stopped_alike


def fronts(points: list[Scores]) -> list[set[Scores]]:
    """Peel fronts by what Optuna says are the best trials of a study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    left, found = set(points), []
    while left:
        study = optuna.create_study(directions=["maximize"] * len(points[0]))
        study.add_trials([optuna.trial.create_trial(values=list(point)) for point in left])
        found.append({tuple(trial.values) for trial in study.best_trials})
        left -= found[-1]
    return found


def net(front: set[Scores]) -> list[Scores]:
    """Order a front by the farthest point each time, slowly."""
    spans = [max(values) - min(values) for values in zip(*front, strict=True)]

    def distance(a: Scores, b: Scores) -> float:
        return math.dist(*([v / (span or 1) for v, span in zip(point, spans, strict=True)] for point in (a, b)))

    order = [max(front)]
    while len(order) < len(front):
        rest = sorted(front - set(order), reverse=True)
        order.append(max(rest, key=lambda point: min(distance(point, other) for other in order)))
    return order


def expected_before(scores: Scores, points: list[Scores]) -> int:
    order = [point for front in fronts(points) for point in net(front)]
    return sum(points.count(point) for point in order[: order.index(scores)])


@pytest.mark.parametrize("num_scores", [2, 3])
@pytest.mark.parametrize("ties", [False, True])
def test_ranks_are_those_of_fronts_and_farthest_points(num_scores: int, ties: bool) -> None:
    rng = random.Random(num_scores)
    for _ in range(8):
        points = [tuple(rng.random() for _ in range(num_scores)) for _ in range(rng.randint(1, 14))]
        if ties:
            points = [tuple(round(value * 4) / 4 for value in point) for point in points]
        for point in points:
            expected = expected_before(point, points)
            if ties:  # equally far points: rounding may take another than here, and neither is wrong
                before = sum(map(points.count, itertools.chain(*fronts_before(point, points))))
                ours = num_ranked_before(point, points)
                assert before <= ours < before + sum(map(points.count, front_of(point, points)))
            else:
                assert num_ranked_before(point, points) == expected


def front_of(point: Scores, points: list[Scores]) -> set[Scores]:
    return next(front for front in fronts(points) if point in front)


def fronts_before(point: Scores, points: list[Scores]) -> list[set[Scores]]:
    return list(itertools.takewhile(lambda front: point not in front, fronts(points)))


def test_by_hand() -> None:
    """Two fronts. In the first: the best first score, the farthest from it, then what is in the middle."""
    points = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.75), (0.75, 0.5), (0.5, 0.5), (0.0, 0.0)]
    ranks = {point: num_ranked_before(point, points) for point in points}
    assert ranks == {
        (1.0, 0.0): 0,
        (0.0, 1.0): 1,  # 1.41 from the first
        (0.75, 0.5): 2,  # 0.56 from the first, as far as the other is from the second: the greater first score
        (0.5, 0.75): 3,
        (0.5, 0.5): 4,  # dominated by two of the front
        (0.0, 0.0): 5,
    }


def test_scores_of_different_size_weigh_the_same() -> None:
    points = [(1000.0, 0.0), (0.0, 1.0), (500.0, 0.75), (750.0, 0.5)]
    assert [num_ranked_before(point, points) for point in points] == [0, 1, 3, 2]


def test_equal_scores_share_a_rank() -> None:
    points = [(0.5, 0.5)] * 4 + [(0.25, 0.75)] * 2 + [(0.1, 0.1)]
    assert num_ranked_before((0.5, 0.5), points) == 0
    assert num_ranked_before((0.25, 0.75), points) == 4
    assert num_ranked_before((0.1, 0.1), points) == 6


def test_the_order_of_arrival_changes_no_rank() -> None:
    points = [score for scores in curves(1, 20, 1, num_scores=3, ties=True).values() for score in scores]
    ranks = {point: num_ranked_before(point, points) for point in points}
    for seed in range(5):
        random.Random(seed).shuffle(points)
        assert {point: num_ranked_before(point, points) for point in points} == ranks


class BestHalf:
    """The first half of a rung's ranking goes on, rounded up."""

    def __init__(self) -> None:
        self._at_rung: dict[int, list[Scores]] = {1: [], 2: [], 4: [], 8: []}

    def stops(self, trial_id: str, epoch: int, scores: Scores) -> bool:
        """Put the trial among those at the rung, and return whether it is in the second half."""
        if epoch not in self._at_rung:
            return False
        at_rung = self._at_rung[epoch]
        at_rung.append(scores)
        return expected_before(scores, at_rung) >= math.ceil(len(at_rung) / 2)


def test_a_trial_goes_on_if_it_is_among_the_best_share_of_its_rung() -> None:
    num_stopped = sum(
        num_stopped_alike(
            seed, curves(seed, 12, 9, num_scores=2, ties=False), ParetoAsha(rung_epochs(1, 2.0, 9), 2.0), BestHalf()
        )
        for seed in range(20)
    )
    assert 40 < num_stopped < 200


def test_one_trial_and_trials_that_are_all_alike_go_on() -> None:
    rule, history = ParetoAsha((1, 2), 4.0), History()
    for trial in "abcdefgh":
        for epoch in (1, 2):
            history.add(trial, epoch, (0.1, 0.2))
            assert not rule.stops(history, trial)
