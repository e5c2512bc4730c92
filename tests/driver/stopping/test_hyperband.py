"""Hyperband's brackets: Ray's successive halving in each, the paper's numbers of trials."""

from collections import Counter
from itertools import pairwise

import pytest

from kd_sweep.driver.stopping.history import Scores
from kd_sweep.driver.stopping.rules.hyperband import Hyperband, bracket_shares
from kd_sweep.driver.stopping.study_rule import rule_of
from kd_sweep.study.file.load import parse_spec
from tests.driver.stopping.rays_asha import RaysAsha
from tests.driver.stopping.simulated import curves, num_stopped_alike


def hyperband(longest: int, **fields: object) -> Hyperband:
    scheduler = ", ".join(f"{name}: {value}" for name, value in fields.items())
    text = f"name: s\nstudent: {{epochs: {longest}}}\nscheduler: {{name: hyperband, {scheduler}}}\n"
    rule = rule_of(parse_spec(text, "s.yaml"))
    assert isinstance(rule, Hyperband)
    return rule


class AshaInBrackets:
    """Ray's successive halving once for each bracket."""

    def __init__(self, rule: Hyperband, grace_period: int, longest: int) -> None:
        self._rule = rule
        first = [
            min(grace_period * int(rule.reduction_factor) ** index, longest) for index in range(len(rule.brackets))
        ]
        self._brackets = [RaysAsha(rung, rule.reduction_factor, longest) for rung in first]
        self.stopped_in: Counter[int] = Counter()

    def stops(self, trial_id: str, epoch: int, scores: Scores) -> bool:
        """Report an epoch to the trial's bracket and return Ray's decision."""
        index = self._rule.bracket_of(trial_id)
        decision = self._brackets[index].stops(trial_id, epoch, scores)
        self.stopped_in[index] += decision
        return decision


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("grace_period", "factor", "longest"), [(1, 3, 27), (2, 2, 20)])
def test_each_bracket_decides_as_an_asha_that_begins_later(
    grace_period: int, factor: int, longest: int, ties: bool
) -> None:
    rule = hyperband(longest, grace_period=grace_period, reduction_factor=factor)
    stopped_in: Counter[int] = Counter()
    for seed in range(25):
        oracle = AshaInBrackets(rule, grace_period, longest)
        num_stopped_alike(seed, curves(seed, 30, longest, ties=ties), rule, oracle)
        stopped_in += oracle.stopped_in
    assert set(stopped_in) == {index for index, rungs in enumerate(rule.brackets) if rungs}


def test_the_brackets_and_their_shares_are_those_of_the_paper() -> None:
    """Table 1 of arXiv 1603.06560: R = 81, η = 3 starts 81, 34, 15, 8 and 5 configurations at 1, 3, 9, 27 and 81."""
    rule = hyperband(81)
    assert [rungs[:1] for rungs in rule.brackets] == [(1,), (3,), (9,), (27,), ()]  # 81 is the end: nobody stops
    numbers = [5 * share / rule.shares[-1] for share in rule.shares]
    assert [round(number + 0.49) for number in numbers] == [81, 34, 15, 8, 5]
    assert sum(rule.shares) == pytest.approx(1)


def test_trials_are_spread_by_the_shares_and_by_their_id_alone() -> None:
    rule = hyperband(81)
    counts = Counter(rule.bracket_of(f"{index:016x}") for index in range(20_000))
    for index, share in enumerate(rule.shares):
        assert counts[index] / 20_000 == pytest.approx(share, abs=0.01)
    assert [rule.bracket_of(name) for name in "abcdefgh"] == [hyperband(81).bracket_of(name) for name in "abcdefgh"]


def test_fewer_brackets_are_those_that_begin_earliest() -> None:
    rule = hyperband(81, brackets=2)
    assert rule.brackets == hyperband(81).brackets[:2]
    assert rule.shares == bracket_shares(2, 5, 3.0)
    assert rule.shares[0] / rule.shares[1] == pytest.approx(16.2 / 6.75)  # 3^4 / 5 to 3^3 / 4
    single = hyperband(81, brackets=1)
    assert single.shares == (1.0,)
    assert {single.bracket_of(str(index)) for index in range(100)} == {0}


def test_a_bracket_that_begins_later_has_later_rungs_of_the_same_steps() -> None:
    for rungs in hyperband(100, grace_period=2, reduction_factor=2.5).brackets:
        assert all(2.3 < later / earlier < 2.7 for earlier, later in pairwise(rungs))
