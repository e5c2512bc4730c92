"""What is said where an entry of a plug-in fails: one line with its name, before a launch writes or in a trial."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_sweep import Study, run_trial
from kd_sweep.errors import KdSweepError, NonFiniteError, TrialError
from tests.catalogue import failing_entries
from tests.catalogue_entries import own_entries

TINY = {"width": 2, "epochs": 1, "batch_size": 16}
STUDY: dict[str, Any] = {
    "name": "s",
    "data": {"image_size": 8, "max_train_images": 40, "max_val_images": 40},
    "teacher": TINY,
    "student": TINY,
    "search": {"augmentation_strength": {"grid": [0.5]}},
}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with own_entries():
        failing_entries.register_all()
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trials find the teachers of others."""
    return tmp_path_factory.mktemp("root")


def of_loss(name: str) -> dict[str, Any]:
    return {"distillation": {"loss": f"tests:{name}"}}


def of_network(role: str, name: str) -> dict[str, Any]:
    return {role: {"model": f"tests:{name}", "epochs": 1, "batch_size": 16}}


def of_map(name: str) -> dict[str, Any]:
    return {"metrics": {"attention": f"tests:{name}"}}


def of_metric(name: str) -> dict[str, Any]:
    return {"metrics": {"extra": [{"name": f"tests:{name}"}]}}


def of_pipeline(name: str) -> dict[str, Any]:
    return {"augmentation": {"pipeline": f"tests:{name}"}}


HERE = "(failing_entries.py, line "
NAN = "the training loss is nan in epoch 1, batch 1, with "
EXITS = f"'tests:exits' raised SystemExit: 3 {HERE}"
IN_A_TRIAL = [
    (of_loss("exits"), TrialError, f"distillation.loss: {EXITS}"),
    (of_network("student", "exits"), TrialError, f"model: {EXITS}"),
    (of_map("exits"), TrialError, f"metrics.attention: {EXITS}"),
    (of_metric("exits"), TrialError, f"metrics.extra: {EXITS}"),
    (of_pipeline("exits"), TrialError, f"augmentation.pipeline: {EXITS}"),
    (
        of_loss("of_torch"),
        TrialError,
        f"distillation.loss: 'tests:of_torch' raised ValueError: Expected input … {HERE}",
    ),
    (of_loss("backward"), TrialError, f"a step with distillation.loss 'tests:backward' raised KeyError: … {HERE}"),
    (of_loss("nan"), NonFiniteError, f"{NAN}distillation.loss 'tests:nan'"),
    (of_loss("number"), TrialError, "distillation.loss: 'tests:number' returned a float, not a scalar tensor"),
    (of_loss("complex"), TrialError, "distillation.loss: 'tests:complex' returned a scalar of complex64, not of float"),
    (of_network("student", "other_images"), TrialError, "model: 'tests:other_images' returned logits of shape (3, 10)"),
    (of_network("student", "list"), TrialError, "model: 'tests:list' returned a list for images, not logits"),
    (of_network("student", "nan"), NonFiniteError, f"{NAN}student.model 'tests:nan'"),
    (of_network("student", "raises"), TrialError, f"model: 'tests:raises' raised AttributeError: … {HERE}"),
    (
        of_network("teacher", "other_classes"),
        TrialError,
        "model: 'tests:other_classes' returned logits of shape (16, 3)",
    ),
    (of_network("teacher", "nan"), NonFiniteError, f"{NAN}teacher.model 'tests:nan'"),
    (
        of_map("other_classes"),
        TrialError,
        "metrics.attention: 'tests:other_classes' returned logits of 3 classes, not ",
    ),
    (of_map("trains"), TrialError, "metrics.attention: 'tests:trains' left the network in training mode"),
    (
        of_map("complex"),
        TrialError,
        "metrics.attention: 'tests:complex' returned maps that are not finite real numbers",
    ),
    (of_map("raises"), TrialError, f"metrics.attention: 'tests:raises' raised AttributeError: … {HERE}"),
    (
        of_metric("huge"),
        TrialError,
        "metrics.extra: 'tests:huge' raised OverflowError: int too large to convert to float",
    ),
    (of_metric("infinite"), NonFiniteError, "metrics.extra: 'tests:infinite' is inf in epoch 1"),
    (
        of_metric("pair"),
        TrialError,
        "metrics.extra: 'tests:pair' returned a Tensor of the shape (2,) in epoch 1, not a",
    ),
    (of_metric("raises"), TrialError, f"metrics.extra: 'tests:raises' raised AttributeError: … {HERE}"),
    (
        of_pipeline("fewer"),
        TrialError,
        "augmentation.pipeline: 'tests:fewer' returned the shape (1, 1, 8, 8), not (16, ",
    ),
    (of_pipeline("nan"), TrialError, "augmentation.pipeline: 'tests:nan' returned NaN or infinite values"),
    (of_pipeline("raises"), TrialError, f"augmentation.pipeline: 'tests:raises' raised AttributeError: … {HERE}"),
]
BEFORE = [
    ({"data": {"name": "tests:exits"}}, f"data.name: {EXITS}"),
    ({"scheduler": {"name": "tests:exits"}}, f"scheduler.name: {EXITS}"),
    ({"data": {"name": "tests:raises"}}, f"data.name: 'tests:raises' raised KeyError: 'pixels' {HERE}"),
    ({"data": {"name": "tests:nothing"}}, "data.name: 'tests:nothing' returned a NoneType, not Arrays"),
    (
        {"data": {"name": "tests:names"}},
        "data.name: 'tests:names' returned class_names that are a str, not a tuple of ",
    ),
    (of_network("student", "no_network"), "student.model: 'tests:no_network' raised TypeError: pixels() takes 1 "),
    ({"scheduler": {"name": "tests:raises"}}, f"scheduler.name: 'tests:raises' raised AttributeError: … {HERE}"),
    ({"scheduler": {"name": "tests:number"}}, "scheduler.name: 'tests:number' made a int, which has no method stops"),
    (
        {"distillation": {"loss": "tests:checked", "level": 2.0}},
        f"a check of a plug-in's parameters raised KeyError: 2.0 {HERE}",
    ),
]


def assert_says(error: BaseException, message: str) -> None:
    begin, _, inside = message.partition(" … ")
    assert str(error).startswith(begin)
    assert inside in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(("content", "kind", "message"), IN_A_TRIAL, ids=[one[2][:60] for one in IN_A_TRIAL])
def test_a_trial_that_fails_says_which_entry_it_was(
    root: Path, content: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(TrialError) as failed:
        run_trial(Study(**{**STUDY, **content}), 0, root=root)
    assert type(failed.value) is kind
    assert_says(failed.value, message)


@pytest.mark.parametrize(("content", "message"), BEFORE, ids=[one[1][:60] for one in BEFORE])
def test_what_fails_before_a_trial_is_refused_and_nothing_is_written(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdSweepError) as refused:
        Study(**{**STUDY, **content}).launch(root=tmp_path / "root")
    assert refused.value.exit_code == 2
    assert_says(refused.value, message)
    assert not (tmp_path / "root").exists()


def test_a_loss_may_be_negative(root: Path) -> None:
    (row,) = run_trial(Study(**{**STUDY, **of_loss("negative")}), 0, root=root)
    assert row["train_loss"] < 0
