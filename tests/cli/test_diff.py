"""`kd-sweep diff`: of two studies and of two trials, for people and for programs."""

import csv
import io
import json
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import Cli, assert_one_line
from tests.upkeep.stored_studies import store_study


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff") / "results"
    for name in ("one", "two"):
        store_study(folder, name)
    return folder


def test_two_trials_are_put_side_by_side(root: Path, cli: Cli) -> None:
    trials = open_results(root / "one").table("trials").to_pylist()
    first, second = (f"{root}/one/{trial['trial_id']}" for trial in trials)
    code, out, err = cli("diff", first, second)
    assert code == 0, err
    assert "settings:" in out
    assert "distillation.temperature" in out
    _, out, _ = cli("diff", first, second, "--format", "csv", "--part", "settings")
    (changed,) = csv.DictReader(io.StringIO(out))
    assert (changed["field"], float(changed["first"]), float(changed["second"])) == ("distillation.temperature", 1, 4)
    _, out, _ = cli("diff", first, second, "--format", "json")
    rows = {row["column"]: row for row in json.loads(out)}
    assert (rows["last_epoch"]["first"], rows["last_epoch"]["second"], rows["last_epoch"]["difference"]) == (2, 1, -1)


def test_two_studies_that_ask_for_the_same_differ_in_nothing(root: Path, cli: Cli) -> None:
    code, out, err = cli("diff", root / "one", root / "two")
    assert code == 0, err
    assert "\nsettings: none\n" in out
    assert "\nonly_first: none\n" in out
    _, out, _ = cli("diff", root / "one", root / "two", "--format", "json", "--part", "pairs")
    assert [row["first_trial_id"] == row["second_trial_id"] for row in json.loads(out)] == [True, True]


def test_a_mistake_is_one_line(root: Path, cli: Cli) -> None:
    trial = open_results(root / "one").table("trials")["trial_id"][0].as_py()
    assert_one_line(cli("diff", root / "one", f"{root}/one/{trial}"), "diff: compares two studies or two trials")
    assert_one_line(cli("diff", root / "one", root / "none"), "none: is not a study; possible: ROOT/STUDY")
    assert_one_line(cli("diff", root / "one", f"{root}/two/zz"), "trial: 'zz' is no trial")
    assert_one_line(cli("diff", root / "one", root / "two", "--part", "metric"), "--part: 'metric'", "'metrics'")
    both = [f"{root}/one/{trial}", f"{root}/two/{trial}", "--format", "csv", "--part", "pairs"]
    assert_one_line(cli("diff", *both), "--part: two trials have no pairs; possible: metrics, settings")
