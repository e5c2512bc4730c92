"""A trial's neighbours against pandas: each differs from it in one searched field, or in the seed alone."""

from pathlib import Path

import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.queries.views import neighbouring_trials
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.queries.views.viewed_studies import SETTING, parquet
from tests.tables.rows import trial_row


@pytest.mark.parametrize("rank", [0, 17])
def test_neighbours_differ_in_one_field_and_have_their_outcomes(root: Path, rank: int):
    trials = parquet(root, "first", "trials").sort_values(["objective", "trial_id"], ascending=[False, True])
    own = trials.iloc[rank]
    given = {"outcomes": "ece,last_epoch"} | ({"trial": own["trial_id"][:14]} if rank else {})
    found = answer(open_results(root / "first"), "neighbours", given).to_pylist()
    assert (found[0]["trial_id"], found[0]["varied"], found[0]["value"]) == (own["trial_id"], None, None)
    fields = [*SETTING, "seed"]
    different = trials[fields].ne(own[fields]) & ~(trials[fields].isna() & own[fields].isna())
    expected = trials[different.sum(axis=1) == 1].set_index("trial_id")
    assert {row["trial_id"] for row in found[1:]} == set(expected.index)
    assert len(found) > 3
    for row in found[1:]:
        other = expected.loc[row["trial_id"]]
        assert [name for name in fields if other[name] != own[name]] == [row["varied"]]
        read = str if isinstance(own[row["varied"]], str) else float
        assert (read(row["own_value"]), read(row["value"])) == (own[row["varied"]], other[row["varied"]])
        assert (row["ece"], row["last_epoch"], row["status"]) == (other["ece"], other["last_epoch"], other["status"])
    places = [(fields.index(row["varied"]), row["value"]) for row in found[1:]]
    assert [place for place, _ in places] == sorted(place for place, _ in places)


def test_of_very_many_neighbours_the_first_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbouring_trials, "MAX_TRIALS", 4)
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for seed in range(6):
            same = {"augmentation_strength": 0.5, "ensemble_size": 1, "objective": 1 - seed / 8}
            writer.upsert_trial(trial_row(seed, seed=seed, **same))
    found = answer(open_results(tmp_path), "neighbours")
    assert [row["value"] for row in found.to_pylist()] == [None, "1", "2", "3"]
    assert remarks_of(found)[0].startswith("The first 3 of 5 neighbours of ")
