"""Parallel coordinates against pandas, and what a sample over ranks is."""

from pathlib import Path

import numpy as np
import pytest

from kd_sweep.errors import QueryError
from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.queries.views.ranked_trials import spread_over_ranks
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.queries.views.viewed_studies import MARGIN, STUDIES, parquet
from tests.tables.rows import trial_id, trial_row


@pytest.mark.parametrize("study", STUDIES)
def test_every_trial_has_its_rank_settings_and_outcomes(root: Path, study: str):
    found = answer(open_results(root), "parallel", {"study": study}).to_pandas()
    trials = parquet(root, study, "trials").sort_values("objective", ascending=False)
    assert found["trial_id"].to_list() == trials["trial_id"].to_list()
    assert found["rank"].to_list() == list(range(1, len(trials) + 1))
    for name in ("status", "seed", "augmentation_strength", "ensemble_size", "val_accuracy", "ece", "fidelity_val"):
        assert found[name].to_list() == trials[name].to_list()
    assert ("distillation_temperature" in found.columns) == (study == "first")


def test_outcomes_are_those_that_were_asked_for(root: Path):
    found = answer(open_results(root), "parallel", {"outcomes": f"train_s,{MARGIN},last_epoch"})
    assert found.column_names[-3:] == ["train_s", MARGIN, "last_epoch"]
    assert found["study"].to_pylist() == ["first"] * 60 + ["second"] * 60
    with pytest.raises(QueryError, match="outcomes: 'nothing' is no metric of these studies"):
        answer(open_results(root), "parallel", {"outcomes": "ece,nothing"})
    with pytest.raises(QueryError, match=r"parallel: outcomes: .* is longer than 12 values"):
        answer(open_results(root), "parallel", {"outcomes": ["ece"] * 13})


@pytest.mark.parametrize("number", [1, 2, 57])
def test_a_sample_has_the_first_and_the_last_rank_and_is_even(tmp_path: Path, number: int):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for index in range(number):
            writer.upsert_trial(trial_row(index, objective=index / 8))
    for most in (2, 3, 10, 56, 57, 58):
        ranks = spread_over_ranks(open_results(tmp_path), most, [])["rank"].to_pylist()
        assert len(ranks) == min(most, number)
        assert (ranks[0], ranks[-1]) == (1, number)
        steps = set(np.diff(ranks).tolist())
        assert not steps or max(steps) - min(steps) <= 1


def test_of_very_many_trials_2000_are_shown_and_those_without_a_value_none(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(2_500):
            writer.upsert_trial({"trial_id": trial_id(number), "status": "completed", "objective": number / 8})
        writer.upsert_trial({"trial_id": "new", "status": "running"})
    found = answer(open_results(tmp_path), "parallel", {"outcomes": "objective"})
    assert found.num_rows == 2_000
    assert set(found["num_trials"].to_pylist()) == {2_500}
    assert "new" not in found["trial_id"].to_pylist()
    assert remarks_of(found) == ["2000 of 2500 trials, evenly over their ranks."]
