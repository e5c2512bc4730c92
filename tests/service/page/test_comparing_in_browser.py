"""Trials and studies against each other on the page: brushes, columns, pins; against polars on the files."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import expect

from tests.service.page.browsing import CHROMIUM, WHY_NOT, Visit
from tests.service.page.seeds_study import SEEDS
from tests.trained_studies import train_study

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)]


@pytest.fixture(scope="module")
def root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study, and one of a single seed with more weight on labels."""
    folder = tmp_path_factory.mktemp("two") / "root"
    shutil.copytree(root, folder)
    softer = SEEDS.replace("name: seeds", "name: softer").replace("seeds: 3", "seeds: 1")
    train_study(folder, softer.replace("search:", "distillation: {alpha: 0.5}\nsearch:"))
    return folder


@pytest.fixture(scope="module")
def trials(root: Path) -> pl.DataFrame:
    """The trials as they are in the folder, the best first."""
    return pl.read_parquet(root / "seeds/trials/*.parquet").sort("best_objective", "trial_id")


def test_brushes_leave_out_lines_and_rows_and_are_in_the_address(tab: Visit, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds?parallel=1")
    page, rows = tab.page, tab.page.get_by_role("region", name="Trials").locator("tbody tr")
    axes = page.get_by_role("region", name="Parallel coordinates of 12 trials")
    names = ["Augmentationstrength", "Ensemble size", "Seed", "Val loss", "Fidelity val", "Val accuracy"]
    expect(axes.locator(".name")).to_have_text(names)  # words on two lines have nothing between them
    expect(rows).to_have_count(12)
    page.get_by_text("Ranges", exact=True).click()
    page.get_by_label("Seed, from").press("ArrowRight")  # by keyboard
    expect(rows).to_have_count(8)
    tab.settled()  # what fills above moves the axes
    seed = axes.locator(".grip").nth(2).bounding_box()
    assert seed is not None
    middle = seed["x"] + seed["width"] / 2
    page.mouse.move(middle, seed["y"] + seed["height"] * 0.3)  # by mouse: seeds from 0.3 to 1.4
    page.mouse.down()
    page.mouse.move(middle, seed["y"] + seed["height"] * 0.85, steps=4)
    page.mouse.up()
    expect(rows).to_have_count(4)
    one = trials.filter(pl.col("seed") == 1)["trial_id"].str.slice(0, 8).to_list()
    assert [row.locator("th").inner_text() for row in rows.all()] == one
    expect(page.get_by_text("4 of 12 trials let through.")).to_be_visible()
    page.wait_for_url("**where=seed%3E%3D1%3Bseed%3C%3D1**")
    assert tab.violations() == []
    tab.fit_a_phone()
    page.reload()
    expect(rows).to_have_count(4)
    page.get_by_role("button", name="Take away: Seed up to 1").click()
    expect(rows).to_have_count(8)
    page.get_by_role("button", name="All trials").click()
    expect(rows).to_have_count(12)


def test_columns_are_chosen_and_pinned_trials_are_compared(tab: Visit, root: Path, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds?columns=val_loss,ece&sort=-ece")
    page, table = tab.page, tab.page.get_by_role("region", name="Trials")
    expect(table.locator("thead th")).to_have_text(["Pin", "Trial", "Val loss", "ECE ▼"])
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("group", name="Settings").get_by_label("Seed").check()
    expect(table.locator("thead th")).to_have_text(["Pin", "Trial", "Val loss", "ECE ▼", "Seed"])
    first, second = (trials.filter(seed=0, ensemble_size=2, augmentation_strength=strength) for strength in (0.0, 0.5))
    for trial in (first, second):
        page.get_by_label(f"Pin trial {trial['trial_id'][0][:8]}").check()
    expect(table.locator("tr.pinned")).to_have_count(2)
    page.reload()
    ece = sorted((one["ece"][0] for one in (first, second)), reverse=True)
    expect(table.locator("tr.pinned td:nth-child(4)")).to_have_text([f"{value:.4g}" for value in ece])
    page.get_by_label("Contains").fill("no such thing")
    expect(table.locator("tbody tr")).to_have_count(2)
    page.get_by_role("combobox", name="Status").select_option("failed")
    expect(table.locator("tr.pinned")).to_have_count(2)
    page.get_by_role("link", name="Compare 2 pinned trials").click()
    settings = page.get_by_role("region", name="Configuration").locator("tbody tr")
    expect(settings).to_have_text(["teacher_strengths[0.0, 0.0][0.5, 0.5]", "student_strength0.00.5"])
    loss = page.get_by_role("region", name="Values", exact=True).locator("tr", has_text="Val loss").locator("td")
    values = [first["val_loss"][0], second["val_loss"][0]]
    expect(loss).to_have_text([f"{values[0]:.4g}", f"{values[1]:.4g} {values[1] - values[0]:+.3g}"])
    page.get_by_role("combobox", name="Metric").select_option("val_loss")
    page.get_by_label("As a table, too").check()
    curves = page.get_by_role("region", name="Val loss over epochs, by trial, as a table").locator("tbody tr")
    epochs = pl.read_parquet(root / "seeds/epochs/*.parquet").filter(pl.col("epoch") == 2)
    at_2 = [epochs.filter(trial_id=trial["trial_id"][0])["val_loss"][0] for trial in (first, second)]
    expect(curves.nth(1).locator("td")).to_have_text([f"{value:.4g}" for value in at_2])
    assert tab.violations() == []
    tab.fit_a_phone()


def test_neighbours_of_a_trial_differ_in_one_setting(tab: Visit, trials: pl.DataFrame) -> None:
    own = trials.row(0, named=True)
    tab.go(f"studies/seeds/trials/{own['trial_id']}")
    tab.page.get_by_role("heading", name="Neighbours").click()
    rows = tab.page.get_by_role("region", name="Neighbours").locator("tbody tr")
    fields = ["augmentation_strength", "ensemble_size", "seed"]
    others = [one for one in trials.to_dicts() if sum(one[name] != own[name] for name in fields) == 1]
    expect(rows).to_have_count(1 + len(others))
    shown = {row.locator("td").nth(2).inner_text(): row for row in rows.all()[1:]}
    assert set(shown) == {one["trial_id"][:8] for one in others}
    for one in others:
        text = f"{one['val_loss']:.4g} {one['val_loss'] - own['val_loss']:+.3g}"
        expect(shown[one["trial_id"][:8]].locator("td").nth(4)).to_have_text(text)
    tab.page.wait_for_url("**neighbours=1**")
    shown[others[0]["trial_id"][:8]].get_by_role("link", name="Compare").click()
    tab.page.get_by_role("heading", name="2 trials of seeds").wait_for()


def test_studies_are_compared_by_files_pairs_curves_and_verdicts(tab: Visit, root: Path, trials: pl.DataFrame) -> None:
    tab.go("studies/seeds")
    page = tab.page
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_role("combobox", name="Add").select_option("softer")
    files = page.get_by_role("region", name="Study files").locator("tbody tr")
    expect(files).to_have_text(["distillation.alpha0.10.5", "seeds[0, 1, 2][0]"])
    other = pl.read_parquet(root / "softer/trials/*.parquet")
    fields = ["augmentation_strength", "ensemble_size", "seed"]
    pairs = trials.join(other, on=fields)
    means = [pairs["val_loss"].mean(), pairs["val_loss_right"].mean()]
    values = (
        page.get_by_role("region", name="Values of seeds and softer").locator("tr", has_text="Val loss").locator("td")
    )
    expect(values).to_have_text([f"{means[0]:.4g}", f"{means[1]:.4g} {means[1] - means[0]:+.3g}"])
    expect(page.get_by_text("Means over 4 pairs")).to_contain_text(
        "8 trials of seeds and 0 of softer have no counterpart"
    )
    page.get_by_label("As a table, too").check()
    bands = page.get_by_role("region", name="Val loss over epochs, by study, as a table").locator("tbody tr").nth(2)
    expected = []
    for study in ("seeds", "softer"):
        last = pl.read_parquet(root / study / "epochs/*.parquet").filter(epoch=3)["val_loss"].to_numpy()
        low, middle, high = np.quantile(last, [0.1, 0.5, 0.9])
        expected.append(f"{middle:.4g} ({low:.4g} to {high:.4g})")
    expect(bands.locator("td")).to_have_text(expected)
    page.get_by_role("heading", name="Verdicts").click()
    verdicts = page.get_by_role("region", name="Verdicts").locator("tbody tr")
    expect(verdicts.first.locator("td")).to_have_count(2, timeout=90_000)
    expect(verdicts.filter(has_text="fidelity_val").first.locator(".state")).to_have_count(2)
    assert tab.violations() == []
    tab.fit_a_phone()
