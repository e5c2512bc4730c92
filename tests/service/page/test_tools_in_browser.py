"""The page's tools in a real browser: study files and SQL that are completed while they are written, named queries."""

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import kd_sweep
from kd_sweep.study.file.json_schema import json_schema
from tests.service.page.browsing import CHROMIUM, WHY_NOT, Visit

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)]


def suggested(page: Page, *first: str) -> None:
    """Wait until these are suggested first."""
    names = page.get_by_role("listbox", name="Suggestions").locator(".option")
    for at, name in enumerate(first):
        expect(names.nth(at)).to_have_text(name)


def test_a_study_file_is_completed_by_keyboard(tab: Visit) -> None:
    page = tab.page
    tab.go("new")
    file = page.get_by_label("Study file (YAML)")
    file.fill("name: typed\n")
    file.press("Control+End")
    page.keyboard.type("samp")
    suggested(page, "sampler")
    assert tab.violations() == []
    page.keyboard.press("Tab")
    page.keyboard.type("{name: tp")
    suggested(page, "tpe")
    page.keyboard.press("ArrowDown")
    expect(file).to_have_attribute("aria-activedescendant", "yaml-option-0")
    page.keyboard.press("Enter")
    page.keyboard.type(", num_st")
    suggested(page, "num_startup_trials")  # which TPE has and others have not
    page.keyboard.press("Tab")
    expect(page.locator(".field-help")).to_contain_text("Random trials before the first modelled one.")
    page.keyboard.type("4}\nsearch:\nensemble_size: ")  # a line begins below the one before
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.keyboard.type("{grid: [0]}")
    expect(file).to_have_value(
        "name: typed\nsampler: {name: tpe, num_startup_trials: 4}\nsearch:\n  ensemble_size: {grid: [0]}"
    )


PLACES: dict[str, list[str] | None] = {
    "": ["name: ", "plugins: "],
    "name: x\ndata: {name: digits, image_s": ["image_size: "],
    "data: {\n  name: digits, # its size is\n  image_s": ["image_size: "],
    "data:\n  name: dig": ["digits"],
    "data:\n  name: digits\nstud": ["student: "],
    "sampler:\n  name: tpe\n  num": ["num_trials: ", "num_startup_trials: "],
    "sampler:\n  num|\n  name: tpe": ["num_trials: ", "num_startup_trials: "],
    "sampler:\n  num|\n  name: random": ["num_trials: "],
    "search: {ensemble_size: {grid: [1]}, augmentation_st": ["augmentation_strength: "],
    "search:\n  student.lea": ["student.learning_rate: "],
    "search:\n  ensemble_size: {gr": ["grid: "],
    "objectives:\n- {metric: val_loss, mode: min}\n- metric: val_l": ["val_loss"],
    "teachers:\n  - model: resnet8\n    weight_d": ["weight_decay: "],
    "metrics:\n  extra:\n    - {name: br": ["brier_score"],
    "checkpoints: {best: tr": ["true"],
    "# nam": None,
    "name: 'nam": None,
}
"""Beginnings of study files, up to the cursor (its place is the `|` where more follows): what is suggested first."""


def test_fields_are_suggested_wherever_the_cursor_is(tab: Visit) -> None:
    cases = [(text.partition("|")[0], text.replace("|", "")) for text in PLACES]
    found = tab.page.evaluate(
        """async ([schema, cases]) => {
          const main = document.querySelector("script[type=module]").src;
          const { suggestFields } = await import(new URL("editor/study_suggestions.js", main));
          return cases.map(([before, text]) =>
            suggestFields(schema, text, before.length, true)?.options.slice(0, 2).map(({ insert }) => insert) ?? null);
        }""",
        [json_schema(), cases],
    )
    for (text, expected), suggestions in zip(PLACES.items(), found, strict=True):
        assert (suggestions and suggestions[: len(expected or [])]) == expected, text


def test_a_study_file_begins_with_a_template_and_says_which_line_is_wrong(tab: Visit) -> None:
    page = tab.page
    tab.go("new")
    file, choices = page.get_by_label("Study file (YAML)"), page.get_by_label("Start from")
    expect(page.locator("#message")).to_contain_text("6 trials, no rule is broken")
    for at in range(1, choices.locator("option").count() - 1):
        choices.select_option(value=str(at))
        name = file.input_value().partition("name: ")[2].partition("\n")[0]
        expect(page.locator("#message .state-done")).to_contain_text(f"{name}:")  # it breaks no rule, either
    file.fill("name: wrong\nsearch:\n  ensemble_size: {grid: [0]}")
    expect(page.locator("#message")).to_contain_text(
        "search.ensemble_size.grid[0]: 0 is not at least 1 (study, line 3)"
    )
    expect(page.locator(".marked-line")).to_be_visible()
    file.press("Control+Home")
    page.get_by_role("button", name="Go to line 3").click()
    page.keyboard.type("# ")
    expect(file).to_have_value("name: wrong\nsearch:\n#   ensemble_size: {grid: [0]}")
    choices.select_option(value="0")
    page.get_by_role("button", name="Keep it").click()
    expect(choices).to_have_value("-1")


def test_sql_is_completed_remembered_and_says_which_line_is_wrong(tab: Visit) -> None:
    page = tab.page
    tab.go("sql")
    statement = page.get_by_label("One statement that reads")
    statement.fill("SELECT t.trial_id,\n  \nFROM trials t ORDER BY ALL")
    for key in ("Control+Home", "ArrowDown", "End"):
        statement.press(key)
    page.keyboard.type("t.best_ob")
    suggested(page, "best_objective")
    assert tab.violations() == []
    page.keyboard.press("Tab")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("region", name="Answer").locator("thead th")).to_have_text(["trial_id", "best_objective"])
    right = statement.input_value()
    statement.fill("SELECT trial_id,\n  nothing\nFROM trials")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text('"nothing" not found')
    top = page.locator(".marked-line").evaluate("(line) => line.style.top")
    assert top == "28px"  # the second one
    page.reload()
    page.get_by_text("History (2)").click()
    page.get_by_role("button", name="SELECT t.trial_id").click()
    expect(statement).to_have_value(right)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("History (")).to_have_count(0)
    page.get_by_text("Tables and columns", exact=True).click()
    page.get_by_label("Find").fill("expected calibration")
    expect(page.get_by_role("region", name="Columns of epochs")).to_contain_text("ece")
    assert tab.violations() == []
    page.get_by_label("Example").select_option(label="Failures")
    expect(statement).to_have_value("SELECT study, trial_id, error FROM trials WHERE error IS NOT NULL")


def test_a_named_query_has_a_form_and_its_answer_is_a_file(tab: Visit, root: Path) -> None:
    page = tab.page
    tab.go("sql?named=leaderboard")
    page.get_by_label("Query").select_option("dose_response")
    page.get_by_label("Outcome").fill("fidelity_val")
    page.get_by_label("By", exact=True).fill("ensemble_size")
    page.get_by_role("button", name="Ask").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator("tbody tr")).to_have_count(2)
    assert tab.violations() == []
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    means = kd_sweep.open_results(root)["seeds"].sql(
        "SELECT avg(fidelity_val) AS mean FROM trials GROUP BY ensemble_size ORDER BY ensemble_size"
    )
    assert [float(row["mean"]) for row in rows] == pytest.approx(means["mean"].to_pylist())
    page.reload()
    expect(page.get_by_label("Outcome")).to_have_value("fidelity_val")
    page.get_by_label("Outcome").fill("nothing")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing")
