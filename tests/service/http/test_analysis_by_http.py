"""The analysis of a study by HTTP: effects against polars on the files, forms, refusals, how often it is computed."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kd_sweep.service.http import analysing
from kd_sweep.service.http.child_process import run_child
from tests.analysis.tables import trial, write_study
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY
from tests.trained_studies import train_study

PATH = "/api/v1/studies/tiny/analysis"
ONE_STRENGTH = TINY.replace("[0.0, 0.5]", "[0.0]").replace("[1, 2]", "[1]")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that were run in a process of their own, one after another."""
    run: list[str] = []

    def counted(module: str, arguments: Sequence[str | Path], timeout_s: float) -> None:
        run.append(module)
        run_child(module, arguments, timeout_s)

    monkeypatch.setattr(analysing, "run_child", counted)
    return run


def statuses_of_many(service: RunningService, path: str) -> list[int]:
    """Ask 50 times at once."""
    with service.client() as client, ThreadPoolExecutor(50) as pool:
        asked: Callable[[int], int] = lambda _: client.get(path).status_code  # noqa: E731
        return list(pool.map(asked, range(50)))


def test_verdicts_have_a_sentence_each_and_notes_say_which_trials_count(admin: httpx.Client) -> None:
    answer = admin.get(PATH).raise_for_status().json()
    assert answer["notes"][0].startswith("Study tiny: 4 completed trials (2 strengths, 2 ensemble sizes, 1 seed)")
    verdicts = {row["verdict"] for row in answer["rows"]}
    assert verdicts == {"undecided", "not tested"}  # of one seed nothing follows
    assert all(row["sentence"].startswith(row["verdict"].capitalize()) for row in answer["rows"])


def test_effects_are_differences_within_a_seed(admin: httpx.Client, trained_root: Path) -> None:
    rows = admin.get(PATH, params={"table": "effects"}).raise_for_status().json()["rows"]
    effect = {(row["outcome"], row["varied"]): row["estimate"] for row in rows}
    assert len(effect) == len(rows)
    trials = pl.read_parquet(trained_root / "tiny/trials/*.parquet")
    for varied, other in [("augmentation_strength", "ensemble_size"), ("ensemble_size", "augmentation_strength")]:
        means = trials.sort(varied).group_by(varied, maintain_order=True).agg(pl.col("fidelity_val").mean())
        assert trials.group_by(varied).agg(pl.col(other).n_unique())[other].to_list() == [2, 2]
        low, high = means["fidelity_val"]
        assert effect["fidelity_val", varied] == pytest.approx(high - low, abs=1e-12)


def test_arms_are_compared_within_a_seed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    accuracies = {("kl", seed): 0.8 + 0.01 * seed * seed for seed in range(3)}
    accuracies |= {("none", seed): 0.7 + 0.02 * seed for seed in range(3)}
    write_study(
        tmp_path / "root",
        [
            trial(
                0.5,
                1,
                seed,
                loss=loss,
                config={"distillation": {"loss": loss}},
                distillation_loss=loss,
                val_accuracy=value,
            )
            for (loss, seed), value in accuracies.items()
        ],
    )
    with running(tmp_path / "root", tmp_path / "state") as service, service.client() as client:
        path = "/api/v1/studies/planted/analysis"
        (row,) = client.get(path, params={"table": "arms"}).raise_for_status().json()["rows"]
        assert (row["outcome"], row["distillation_loss"], row["num_seeds"]) == ("val_accuracy", "none to kl", 3)
        differences = [accuracies["kl", seed] - accuracies["none", seed] for seed in range(3)]
        assert row["estimate"] == pytest.approx(sum(differences) / 3)
        assert client.get(path, params={"table": "components"}).json()["rows"] == []


def test_every_form_has_the_same_rows_and_an_unchanged_one_is_not_sent_again(admin: httpx.Client) -> None:
    asked = {"table": "effects", "complete": "true"}
    complete = admin.get(PATH, params=asked).json()["rows"]
    assert len(complete) > len(admin.get(PATH, params={"table": "effects"}).json()["rows"])
    answer = admin.get(PATH, params=asked | {"format": "parquet"})
    table = pl.read_parquet(io.BytesIO(answer.content))
    assert table.to_dicts() == complete
    csv = pl.read_csv(admin.get(PATH, params=asked | {"format": "csv"}).content, infer_schema_length=None)
    assert_frame_equal(csv.select("outcome", "estimate"), table.select("outcome", "estimate"))
    again = admin.get(PATH, params=asked | {"format": "parquet"}, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert admin.get(PATH, params=asked | {"table": "trials"}).status_code == 422


def test_fifty_who_ask_at_once_make_one_computation(trained_root: Path, tmp_path: Path, children: list[str]) -> None:
    with running(trained_root, tmp_path) as service:
        assert statuses_of_many(service, PATH) == [200] * 50
        assert statuses_of_many(service, f"{PATH}?table=effects") == [200] * 50
    assert children == ["kd_sweep.service.http.analysis_process"]


def test_a_study_of_one_strength_is_refused_in_one_line_until_it_has_more(tmp_path: Path, children: list[str]) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "state").mkdir()
    train_study(tmp_path / "root", ONE_STRENGTH)
    with running(tmp_path / "root", tmp_path / "state") as service:
        assert statuses_of_many(service, PATH) == [422] * 50
        with service.client() as client:
            detail = client.get(PATH).json()["detail"]
            assert client.get("/api/v1/studies/none/analysis").status_code == 404
        assert "effects need at least two strengths" in detail
        assert "\n" not in detail
        assert len(children) == 1
        train_study(tmp_path / "root", TINY)  # the same study with more strengths
        assert statuses_of_many(service, PATH) == [200] * 50
        assert len(children) == 2
