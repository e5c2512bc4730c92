"""What the page shows of a study as a whole, and of a trial's networks: against NumPy and SciPy on the tables."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, expect
from scipy import stats

from tests.service.page.browsing import CHROMIUM, WHY_NOT, Visit, visit
from tests.service.running_service import RunningService

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)]

DRAWN_MS = 90_000
"""For what a process of its own works out."""


@pytest.fixture(scope="module")
def trials(root: Path) -> pl.DataFrame:
    """The trials as they are in the folder."""
    return pl.read_parquet(root / "seeds/trials/*.parquet")


def test_verdicts_are_sentences_and_effects_have_the_interval_of_students_t(tab: Visit, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds")
    verdicts = tab.page.get_by_role("list", name="Verdicts").get_by_role("listitem")
    expect(verdicts.first).to_be_visible(timeout=DRAWN_MS)
    assert set(tab.page.locator("ul[aria-label=Verdicts] .state").all_inner_texts()) <= {
        "✓ Supported",
        "× Refuted",
        "~ Mixed",
        "? Undecided",
    }
    expect(tab.page.locator("#verdicts + p")).to_contain_text("Study seeds: 12 completed trials")
    expect(tab.page.locator("summary", has_text="Not tested")).to_be_visible()
    row = (
        tab.page.get_by_role("region", name="Effects")
        .locator("tr", has_text="strength 0 to 0.5")
        .filter(has=tab.page.get_by_role("rowheader", name="Val loss", exact=True))
    )
    means = trials.group_by("seed", "augmentation_strength").agg(pl.col("val_loss").mean())
    by_seed = means.pivot("augmentation_strength", index="seed", values="val_loss")
    changes = (by_seed["0.5"] - by_seed["0.0"]).to_numpy()
    low, high = stats.t.interval(0.95, 2, changes.mean(), stats.sem(changes))
    cells = row.locator("td").all_inner_texts()
    assert cells[1:3] == [f"{changes.mean():+.3g}", f"{low:+.3g} to {high:+.3g}"]
    assert cells[4:6] == ["6", "3"]


def test_what_is_out_of_sight_is_read_when_it_is_scrolled_to(chromium: Browser, service: RunningService) -> None:
    asked: list[str] = []
    with visit(chromium, service, viewport={"width": 1280, "height": 600}) as tab:
        tab.sign_in()
        tab.page.on("request", lambda request: asked.append(request.url.removeprefix(service.url).partition("?")[0]))
        tab.go("studies/seeds")
        tab.page.get_by_role("application", name="over epochs").wait_for()
        tab.settled()
        study = "/api/v1/studies/seeds"
        assert f"{study}/queries/bands" in asked
        assert {f"{study}/analysis", f"{study}/trials"} & set(asked) == set()
        tab.page.get_by_role("heading", name="Verdicts and effects").scroll_into_view_if_needed()
        expect(tab.page.get_by_role("list", name="Verdicts")).to_be_visible(timeout=DRAWN_MS)
        tab.page.get_by_role("heading", name="Trials").scroll_into_view_if_needed()
        tab.page.get_by_role("region", name="Trials").wait_for()


def test_the_trials_that_no_other_beats_are_squares_and_a_table(tab: Visit, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds")
    table = tab.page.get_by_role("region", name="Best trade-offs")
    table.wait_for()
    points = np.stack([trials["val_loss"].to_numpy(), -trials["fidelity_val"].to_numpy()], axis=1)
    is_beaten = [bool(((points <= point).all(1) & (points < point).any(1)).any()) for point in points]
    front = {trial[:8] for trial, beaten in zip(trials["trial_id"], is_beaten, strict=True) if not beaten}
    assert set(table.locator("tbody th").all_inner_texts()) == front
    chart = tab.page.get_by_role("application", name="Fidelity val against val loss")
    expect(chart.locator("rect.best")).to_have_count(len(front))
    expect(chart.locator("circle")).to_have_count(12 - len(front))
    x = {
        mark.locator("title").text_content().split(":")[0]: float(mark.get_attribute("cx"))
        for mark in chart.locator("circle").all()
    }
    others = trials.filter(pl.col("trial_id").str.slice(0, 8).is_in(list(x))).sort("val_loss")["trial_id"]
    across = [x[trial[:8]] for trial in others]
    assert across == sorted(across)
    chart.focus()
    tab.page.keyboard.press("Home")
    best = trials.sort("val_loss").row(0, named=True)
    spoken = (
        f"1 of 12: {best['trial_id'][:8]}: Val loss {best['val_loss']:.4g}, fidelity val {best['fidelity_val']:.4g}"
    )
    expect(tab.page.locator(".reading[aria-live=polite]", has_text="1 of 12")).to_have_text(spoken)
    expect(chart.locator(".ring")).to_have_count(1)
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("heading", name=f"Trial {best['trial_id'][:8]}").wait_for()


def test_the_dominated_area_is_a_number_that_grew(tab: Visit, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds")
    heading = tab.page.get_by_role("heading", name=re.compile("Dominated area: "))
    heading.wait_for()
    values = np.stack([-trials["val_loss"].to_numpy(), trials["fidelity_val"].to_numpy()], axis=1)
    shares = (values - values.min(0)) / (values.max(0) - values.min(0))
    edges = [np.unique([0.0, *shares[:, axis]]) for axis in (0, 1)]
    corners = np.stack(np.meshgrid(*(edge[1:] for edge in edges), indexing="ij"), axis=-1)
    is_dominated = (shares[:, None, None] >= corners).all(-1).any(0)
    area = float((is_dominated * np.outer(np.diff(edges[0]), np.diff(edges[1]))).sum())
    assert float(heading.inner_text().removeprefix("Dominated area: ")) == pytest.approx(area, rel=1e-3)
    tab.page.get_by_text("Dominated area over finished trials, as a table").click()
    table = tab.page.get_by_role("region", name="Dominated area over finished trials, as a table")
    shown = [float(text) for text in table.locator("tbody td").all_inner_texts()]
    assert shown == sorted(set(shown))
    assert shown[-1] == pytest.approx(area, rel=1e-3)


def test_slots_over_time_are_a_chart_and_a_table(tab: Visit, root: Path, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds")
    tab.page.get_by_text("Slots over time").click()
    table = tab.page.get_by_role("region", name="Slots over time, as a table")
    num_teachers = pl.read_parquet(root / "seeds/teachers/*.parquet").height
    expect(table.locator("tbody tr")).to_have_count(12 + num_teachers)
    count = 12 + num_teachers
    chart = tab.page.get_by_role("application", name="of teachers and trials in")
    expect(chart.locator("rect.span")).to_have_count(count)
    chart.focus()
    tab.page.keyboard.press("End")
    said = re.compile(
        f"^{count} of {count}: (Trial|Teacher) [0-9a-f]{{8}}, slot .*[0-9]+, completed, from .* s, for .* s$"
    )
    expect(tab.page.locator(".reading[aria-live=polite]", has_text=f"{count} of {count}")).to_have_text(said)
    tab.page.wait_for_url("**timeline=1**")
    shown = {text.removeprefix("Trial ") for text in table.locator("tbody th").all_inner_texts() if "Trial" in text}
    assert shown == {trial[:8] for trial in trials["trial_id"]}


def test_teachers_are_a_table(tab: Visit, root: Path) -> None:
    tab.go("studies/seeds?teachers=1")
    rows = tab.page.get_by_role("region", name="Teachers").locator("tbody tr")
    teachers = pl.read_parquet(root / "seeds/teachers/*.parquet")
    expect(rows).to_have_count(teachers.height)
    assert {row.locator("td").first.inner_text() for row in rows.all()} == {one[:8] for one in teachers["teacher_id"]}


def test_attention_is_drawn_when_it_is_asked_for(tab: Visit, trial: str) -> None:
    tab.go(f"studies/seeds/trials/{trial}")
    button = tab.page.get_by_role("button", name="Show attention")
    button.wait_for()
    assert tab.page.get_by_role("img").count() == 0
    button.click()
    image = tab.page.get_by_role("img", name=f"Attention of trial {trial[:8]}")
    expect(image).to_be_visible(timeout=DRAWN_MS)
    tab.page.wait_for_function("image => image.naturalWidth > 300", arg=image.element_handle())
    assert tab.violations() == []
