"""Claims that something hardly changes: the margin, and both of its sides."""

import numpy as np
import pytest

from kd_sweep.analysis.claims.margins import MARGINS, margins_of, read_margins
from kd_sweep.analysis.claims.paper_claims import LOGITS_MATCHING
from kd_sweep.analysis.claims.verdicts import verdicts
from kd_sweep.analysis.sample import read_sample
from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.errors import QueryError
from kd_sweep.statistics.intervals import Bootstrap
from tests.analysis.tables import losses, write_study


def matched(tmp_path, made, margins=MARGINS):
    """The verdict on logits matching by `fidelity_val`."""
    found = verdicts(read_sample(write_study(tmp_path, made)), Bootstrap(resamples=500), margins)
    asked = (LOGITS_MATCHING, "fidelity_val")
    return next(v for v in found if (v.question.claim.name, v.question.outcome) == asked)


@pytest.mark.parametrize(
    ("rise", "equivalence"),
    [(0.0, "equivalent"), (-0.1, "not equivalent"), (0.1, "not equivalent"), (0.02, "undecided"), (-0.02, "undecided")],
)
def test_hardly_is_tested_on_both_sides_of_the_margin(tmp_path, rise, equivalence):
    """A fall is no rise, so the claim is supported, and no sameness either."""
    (row,) = [
        row
        for row in analyse(write_study(tmp_path, losses(rise)), resamples=500).verdicts.to_pylist()
        if row["outcome"] == "fidelity_val" and row["claim"] == LOGITS_MATCHING
    ]
    assert row["equivalence"] == equivalence
    assert (row["p_equivalence_corrected"] <= 0.05) == (equivalence != "undecided")
    words = {"equivalent": "It is surely within", "not equivalent": "It is surely not within"}
    assert f"{words.get(equivalence, 'Whether it is within')} 0.02 either way" in row["sentence"]


def test_both_sides_of_a_margin_are_tests_of_the_one_family(tmp_path):
    """Beside them, that of fidelity along strengths with each loss."""
    v = matched(tmp_path, losses(0.0))
    assert (v.num_tests, v.p.below.corrected) == (4, pytest.approx(4 * v.p.below.raw))


def test_normal_p_values_of_both_sides_are_those_of_statsmodels_two_one_sided_tests(tmp_path):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    made = losses(0.004, noise=0.01)
    v = matched(tmp_path, made)
    value = {(t["distillation_loss"], t["augmentation_strength"], t["seed"]): t["fidelity_val"] for t in made}
    kl, mse = ([(value[loss, 0.0, s] + value[loss, 0.5, s]) / 2 for s in range(5)] for loss in ("kl", "mse_logits"))
    _, above, below = weightstats.ttost_paired(np.array(mse), np.array(kl), -0.02, 0.02)
    # Two-sided, since beyond each border is an answer as well.
    assert v.p_if_normal.trend.raw == pytest.approx(2 * below[1], abs=1e-6)
    assert v.p_if_normal.below.raw == pytest.approx(2 * above[1], abs=1e-6)


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (2.0, "margin: 2 is not a fraction from 0 and below 1"),
        (float("nan"), "margin: nan is not a fraction"),
        ({"fidelity_val": -0.1}, r"margin: -0\.1 is not a fraction"),
        ({"fidelty_val": 0.1}, "margin: no claim says that 'fidelty_val' hardly changes; did you mean 'fidelity_val'"),
    ],
)
def test_margins_are_fractions_of_outcomes_that_hardly_change(margin, message):
    with pytest.raises(QueryError, match=f"^{message}"):
        margins_of(margin)


def test_margins_of_a_command_line():
    assert read_margins([]) == MARGINS
    assert read_margins(["0.05"]) == dict.fromkeys(MARGINS, 0.05)
    assert read_margins(["fidelity_val=0.01"]) == MARGINS | {"fidelity_val": 0.01}
    assert read_margins(["fidelity_val=0.01", "0.05"]) == dict.fromkeys(MARGINS, 0.05) | {"fidelity_val": 0.01}
    for texts, message in {
        ("much",): "margin: 'much' is not a number or METRIC=NUMBER, such as fidelity_val=0.01",
        ("0.1", "0.2"): "margin: that of all outcomes is given twice",
        ("fidelity_val=0.1", "fidelity_val=0.1"): "margin: fidelity_val is given twice",
        ("ece=0.1",): "margin: no claim says that 'ece' hardly changes; possible: ",
        ("2",): "margin: 2 is not a fraction from 0 and below 1",
    }.items():
        with pytest.raises(QueryError) as caught:
            read_margins(texts)
        assert str(caught.value).startswith(message)


def test_a_wider_margin_accepts_a_larger_rise(tmp_path):
    assert matched(tmp_path, losses(0.1), margins_of(0.2)).answer == "supported"
    assert matched(tmp_path, losses(0.1), margins_of({"fidelity_val": 0.2})).answer == "supported"
    assert matched(tmp_path, losses(0.1), margins_of({"fidelity_train": 0.2})).answer == "refuted"


def test_no_margin_is_no_equivalence(tmp_path):
    v = matched(tmp_path, losses(0.05), margins_of(0.0))
    assert (v.answer, v.equivalence, v.p.below, v.p_equivalence) == ("refuted", None, None, None)
