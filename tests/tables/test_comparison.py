"""How trials and studies differ, against tables that were written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.errors import QueryError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import frozen_yaml
from kd_sweep.study.file.load import parse_spec
from kd_sweep.tables.comparison import compare_studies, compare_trials, paired_trials
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.rendering.html_tables import MAX_ROWS
from kd_sweep.tables.writer import StudyWriter
from tests.shown_html import ShownHtml
from tests.tables.rows import trial_row

SPEC = """
name: {name}
distillation: {{loss: {loss}}}
search: {{seed: {{grid: [0, 1, 2]}}, student.learning_rate: {{grid: [0.1, 0.2]}}}}
"""


def write(root: Path, name: str, trials: list[dict[str, Any]], loss: str = "kl") -> Results:
    spec = parse_spec(SPEC.format(name=name, loss=loss), "s.yaml")
    extra = {column for trial in trials for column in trial if column.startswith("mykd_")}
    with StudyWriter(Root.open(root), name, metrics=sorted(extra)) as writer:
        writer.set_study(spec=frozen_yaml(spec, {}))
        for number, trial in enumerate(trials):
            point = {"augmentation_strength": 0.5, "ensemble_size": 1, "seed": 0}
            writer.upsert_trial(trial_row(number, **point | trial))
    return open_results(root / name)


def only(result: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in result.to_pylist()]


def test_trials_differ_in_these_settings_and_metrics():
    first = {
        "trial_id": "aa",
        "config": json.dumps({"seed": 0, "student": {"model": "a", "lr": 0.1}, "strengths": [0.5], "old": 1}),
        **{"val_accuracy": 0.75, "last_epoch": 4, "attention_iou_teachers": None, "val_loss": 1.0},
        **{"mykd_margin": 2.0, "student_width": 4.0, "distillation_loss_source": "1+ab"},
    }
    second = {
        "trial_id": "bb",
        "config": json.dumps({"seed": 0, "student": {"model": "b", "lr": 0.1}, "strengths": [0.5, 1.0], "old": None}),
        **{"val_accuracy": 0.5, "last_epoch": 3, "attention_iou_teachers": None, "val_loss": None},
        **{"mykd_margin": 0.5, "brier_score": 0.25, "student_width": 8.0},
    }
    comparison = compare_trials(first, second)
    assert (comparison.first, comparison.second) == ("aa", "bb")
    assert only(comparison.settings) == [
        ("student.model", "a", "b"),
        ("strengths", "[0.5]", "[0.5, 1.0]"),
        ("old", "1", None),
    ]
    assert only(comparison.metrics) == [
        ("last_epoch", 4.0, 3.0, -1.0),
        ("val_loss", 1.0, None, None),
        ("val_accuracy", 0.75, 0.5, -0.25),
        ("mykd_margin", 2.0, 0.5, -1.5),
        ("brier_score", None, 0.25, None),
    ]
    assert compare_trials(first, first).settings.num_rows == 0


def test_studies_of_other_losses_are_paired_by_their_points(tmp_path: Path):
    learning_rate = "student_learning_rate"
    first = write(
        tmp_path,
        "one",
        [
            {"trial_id": "a0", "seed": 0, learning_rate: 0.1, "val_accuracy": 0.5},
            {"trial_id": "a1", "seed": 1, learning_rate: 0.1, "val_accuracy": 0.75},
            {"trial_id": "a2", "seed": 2, learning_rate: 0.1, "val_accuracy": 1.0},
            {"trial_id": "both", "seed": 3, learning_rate: 0.1, "val_accuracy": 0.25},
        ],
    )
    second = write(
        tmp_path,
        "two",
        [
            {"trial_id": "b0", "seed": 0, learning_rate: 0.1, "val_accuracy": 1.0},
            {"trial_id": "b1", "seed": 1, learning_rate: 0.1, "val_accuracy": 0.5, "status": "failed"},
            {"trial_id": "b2", "seed": 2, learning_rate: 0.2, "val_accuracy": 0.0},
            {"trial_id": "both", "seed": 3, learning_rate: 0.1, "val_accuracy": 0.25},
        ],
        loss="mse_logits",
    )
    comparison = compare_studies(first, second)
    assert (comparison.first, comparison.second) == ("one", "two")
    assert ("distillation.loss", "kl", "mse_logits") in only(comparison.settings)
    assert "name" not in comparison.settings["field"].to_pylist()
    assert only(comparison.pairs) == [
        (0.5, 1, 0, 0.1, "a0", "b0"),
        (0.5, 1, 1, 0.1, "a1", "b1"),
        (0.5, 1, 3, 0.1, "both", "both"),
    ]
    (row,) = [row for row in comparison.metrics.to_pylist() if row["column"] == "val_accuracy"]
    assert row == {"column": "val_accuracy", "first": 0.375, "second": 0.625, "difference": 0.25, "num_pairs": 2}
    assert only(comparison.only_first) == [("a2", "completed", 0.5, 1, 2, 0.1)]
    assert only(comparison.only_second) == [("b2", "completed", 0.5, 1, 2, 0.2)]


def test_metrics_that_both_studies_added_are_compared(tmp_path: Path):
    values = [{"trial_id": "a0", "mykd_margin": 1.0}, {"trial_id": "b0", "mykd_margin": 4.0, "mykd_lead": 1.0}]
    first, second = (write(tmp_path, name, [trial]) for name, trial in zip(("one", "two"), values, strict=True))
    assert only(compare_studies(first, second).metrics) == [("mykd_margin", 1.0, 4.0, 3.0, 1)]


def test_points_that_a_study_has_twice_are_no_pair():
    def rows(*points: tuple[str, object]) -> list[dict[str, object]]:
        return [{"trial_id": trial_id, "x": value} for trial_id, value in points]

    pairs, alone = paired_trials(rows(("a", 1), ("b", 1), ("c", 2), ("d", 3)), rows(("e", 1.0), ("f", 2.0)), ["x"])
    assert [(one["trial_id"], other["trial_id"]) for one, other in pairs] == [("c", "f")]
    assert alone == ([0, 1, 3], [0])


def test_studies_are_opened_one_by_one_and_have_a_frozen_study(tmp_path: Path):
    one = write(tmp_path, "one", [])
    write(tmp_path, "two", [])
    with pytest.raises(QueryError, match="has 2 studies; open the folder of one"):
        compare_studies(one, open_results(tmp_path))
    with StudyWriter(Root.open(tmp_path), "three") as writer:
        writer.upsert_trial(trial_row(0))
    with pytest.raises(StorageError, match=r"three has no frozen study in its table"):
        compare_studies(one, open_results(tmp_path / "three"))


def test_notebooks_show_text_as_it_is_and_long_tables_in_part(tmp_path: Path):
    trials = [{"trial_id": f"{number:02}", "status": "<b>&", "seed": number} for number in range(MAX_ROWS + 5)]
    comparison = compare_studies(write(tmp_path, "one", trials), write(tmp_path, "two", []))

    shown = ShownHtml(comparison._repr_html_())
    assert shown.texts.count("<b>&") == MAX_ROWS
    assert "… and 5 more rows" in shown.texts
    assert set(shown.tags) == {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
