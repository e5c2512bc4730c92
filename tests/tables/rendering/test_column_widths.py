"""Tables on terminals of every width: every cell is whole, and what is not shown is said."""

import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
from rich.cells import cell_len

from kd_sweep.analysis.study_analysis import analyse
from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.rendering.output_formats import Screen, render
from kd_sweep.tables.rendering.study_overview import overview
from kd_sweep.tables.rendering.value_text import cells
from kd_sweep.tables.writer import StudyWriter
from tests.analysis.tables import planted
from tests.analysis.tables import write_study as write_trials
from tests.tables.rows import trial_id, trial_row, write_study

WIDTHS = (*range(40, 100, 3), *range(101, 241, 14))
STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    root = tmp_path_factory.mktemp("root")
    write_study(root, "digits", num_trials=6, num_epochs=2)
    write_study(root, "数字のデータセット-weak-to-strong", num_trials=3, num_epochs=1)
    with StudyWriter(Root.open(root), "digits") as writer:
        teacher = {"augmentation_strength": 0.5, "seed": 0, "model": "resnet14", "val_accuracy": 0.9, "train_s": 1234.5}
        for member in (1, 2):
            writer.upsert_teacher(teacher | {"teacher_id": trial_id(member), "member": member, "num_parameters": 10**9})
    results = open_results(root)
    found = {name: answer(results, name) for name in NAMED_QUERIES if name != "density"}
    found["density"] = answer(results, "density", {"study": "digits"})  # the one that is of one study alone
    found["one study"] = answer(open_results(root / "digits"), "summary")
    found["gap"] = pa.table({f"generalization_gap_{n}": [-0.0736, 7.303e-04] for n in range(9)})
    found["trials"] = results.table("trials").slice(0, 1)
    found["studies"] = results.table("studies")
    found["status"] = overview(results.status())
    analysis = analyse(write_trials(tmp_path_factory.mktemp("planted"), planted(seeds=3)), resamples=100)
    found |= {name: table.slice(0, 3) for name, table in analysis.tables.items()}
    found["effects"] = found["effects"].drop_columns(["other_fields"])  # empty text, which `assert_whole` does not see
    return found


NAMES = [*NAMED_QUERIES, "one study", "gap", "trials", "studies", "status", "effects", "correlations", "verdicts"]


def on_terminal(table: pa.Table, width: int, monkeypatch: pytest.MonkeyPatch, *, wide: bool = False) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    render(table, "table", Screen(terminal, wide=wide))
    return STYLE.sub("", terminal.getvalue().decode()).splitlines()


def assert_whole(table: pa.Table, lines: list[str], width: int) -> None:
    assert max(map(cell_len, lines)) <= width
    if not table.num_rows:
        assert "(no rows)" in lines
        return
    columns = [cells(column.to_pylist()) for column in table.columns]
    rule = next((index for index, line in enumerate(lines) if line and set(line) == {"─"}), None)
    if rule is None:
        assert_blocks(table, columns, lines, width)
        return
    body = lines[rule + 1 : rule + 1 + table.num_rows]
    found = [re.split(r" {2,}", line.strip()) for line in body]
    num_shown = len(found[0])
    assert found == [list(row[:num_shown]) for row in zip(*columns, strict=True)]
    said = re.sub(r"\s", "", "".join(lines[rule + 1 + table.num_rows :]))
    assert all(name in said for name in table.column_names[num_shown:])
    assert ("--formatcsv" in said) == (num_shown < table.num_columns)


def assert_blocks(table: pa.Table, columns: list[list[str]], lines: list[str], width: int) -> None:
    """A value that is wider than the terminal itself goes on in the next line; every other one is in one line."""
    assert sum(line.startswith("─ ") for line in lines) == table.num_rows
    text, joined = "\n".join(lines), re.sub(r"\s", "", "".join(lines))
    for name, column in zip(table.column_names, columns, strict=True):
        assert joined.count(name) >= table.num_rows
        for value in column:
            assert value in text if cell_len(value) <= width - 2 else re.sub(r"\s", "", value) in joined, (name, value)
    assert "--format csv" in " ".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_whole_at_many_widths(
    name: str, tables: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in WIDTHS:
        assert_whole(tables[name], on_terminal(tables[name], width, monkeypatch), width)


def test_a_summary_shows_outcomes_in_80_columns(tables: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch) -> None:
    head = " ".join(on_terminal(tables["one study"], 80, monkeypatch)[:4])
    assert "num_" in head
    assert "accuracy" in head
    assert "fidelity_" in head


def test_wide_shows_every_column_in_one_line(tables: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(tables["leaderboard"], 80, monkeypatch, wide=True)
    assert all(name in lines[0] for name in tables["leaderboard"].column_names)
    assert len(lines) == 2 + tables["leaderboard"].num_rows


def test_sentences_on_a_terminal_are_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "Intervals hold for this split of the data, which all seeds share.\n- short\n"
    for wide in (False, True):
        terminal = Terminal()
        Screen(terminal, wide=wide).write(text.encode())
        lines = terminal.getvalue().decode().split("\n")
        assert (max(map(len, lines)) <= 40) != wide
        assert " ".join(lines) == text.replace("\n", " ")


def test_a_long_text_is_broken_between_words_and_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    error = "RuntimeError: " + "something went wrong " * 9
    row = trial_row(1, "failed", error=error)
    table = pa.table({name: [row[name]] for name in ("trial_id", "status", "seed", "error")})
    said = " ".join(" ".join(on_terminal(table, 60, monkeypatch)).split())
    assert error.strip() in said


def test_what_a_terminal_cannot_draw_is_replaced() -> None:
    for encoding in ("ascii", "latin-1"):
        terminal = Terminal()
        render(pa.table({"a": ["数"], "b": ["é"]}), "table", Screen(terminal, encoding))
        said = terminal.getvalue().decode(encoding)
        assert "--" in said
        assert "?" in said
        assert ("é" in said) == (encoding == "latin-1")


def test_a_piped_table_is_complete_whatever_the_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = pa.table({f"column_{number}": [number / 7] for number in range(30)})
    sink = io.BytesIO()
    render(table, "table", sink)
    assert all(name in sink.getvalue().decode() for name in table.column_names)
