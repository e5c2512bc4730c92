"""Students of several streams in one process: who is answered, and what happens where memory does not suffice."""

from pathlib import Path
from typing import Any

import pytest

from kd_sweep.distill.students.student_groups import Answer, AskingTrial, FoundEpochs, StudentGroups
from kd_sweep.study.recipe import Distillation
from kd_sweep.study.trial import TrialConfig
from tests.distill.students import lock_step_entries
from tests.distill.trials import metrics_of, run, tiny_trial

EPOCHS = 2


@pytest.fixture(autouse=True)
def registered() -> None:
    lock_step_entries.register_all()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trials of this file find their teachers."""
    return tmp_path_factory.mktemp("root")


def trial(*, seed: int = 0, alpha: float = 0.0, model: str = "large") -> TrialConfig:
    student = {"model": f"tests:{model}", "width": None, "epochs": EPOCHS}
    distillation = Distillation(alpha=alpha)
    return tiny_trial(teacher={"epochs": 1}, student=student, seed=seed, distillation=distillation)


def groups_in(root: Path) -> StudentGroups:
    return StudentGroups(root=root, device="cpu", num_threads=1)


def row_of(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, dict), answer
    return answer


def test_one_without_memory_beside_another_stream_waits_until_that_is_done(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = trial(), trial(seed=1)
    expected = {config.trial_id: metrics_of(run(config, root)) for config in (one, other)}
    groups = groups_in(root)
    asking = {name: AskingTrial(config, tmp_path / name) for name, config in (("one", one), ("other", other))}
    first, second = ({name: asking[name]} for name in asking)
    rows: dict[str, list[Any]] = {"one": [], "other": []}
    rows["one"].append(row_of(groups.answers(first)["one"]))
    monkeypatch.setattr(lock_step_entries.Large, "most", 1)
    assert groups.answers(second) == {}  # it has left
    assert not groups.can_run(["other"])
    assert groups.can_run(["one"])
    rows["one"].append(row_of(groups.answers(first)["one"]))
    assert groups.can_run(["other"])
    rows["other"] += [row_of(groups.answers(second)["other"]) for _ in range(EPOCHS)]
    assert [metrics_of(each) for each in rows.values()] == list(expected.values())


def test_who_is_let_go_makes_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_step_entries.Large, "most", 1)
    groups = groups_in(root)
    asking = {name: AskingTrial(trial(alpha=alpha), None) for name, alpha in (("one", 0.1), ("other", 0.2))}
    while not (answers := groups.answers(asking)):
        pass  # with fewer each time
    (inside,) = answers
    (waits,) = asking.keys() - answers.keys()
    assert groups.answers(asking).keys() == {inside}
    groups.keep_only([waits])
    assert row_of(groups.answers({waits: asking[waits]})[waits])["epoch"] == 1


def test_what_a_checkpoint_has_and_the_asker_has_not_comes_first(root: Path, tmp_path: Path) -> None:
    config = trial(model="small")
    expected = metrics_of(run(config, root, tmp_path))
    for num_known, epochs in ((0, [1, 2]), (1, [2]), (2, [2])):
        found = groups_in(root).answers({"again": AskingTrial(config, tmp_path, num_known=num_known)})["again"]
        assert isinstance(found, FoundEpochs)
        assert metrics_of(found.rows) == [expected[epoch - 1] for epoch in epochs]
    assert groups_in(root).answers({"again": AskingTrial(config, tmp_path)}) == {"again": FoundEpochs([])}
