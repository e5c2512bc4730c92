"""The page in a real browser: read, steered, reached by keyboard, and by everybody."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from scipy import stats

import kd_sweep
from kd_sweep.service.access.roles import Role
from kd_sweep.service.http.routes import event_routes
from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.service.page.browsing import CHROMIUM, WHY_NOT, Visit, visit
from tests.service.running_service import RunningService, running
from tests.tables.rows import epoch_row, trial_id, trial_row, write_study
from tests.tiny_study import TINY
from tests.trained_studies import train_study

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)]

PAGES = (
    "studies",
    "studies/seeds?table=1&timeline=1&teachers=1&parallel=1&correlations=1&columns=ece&where=seed>=1&pins={trial}",
    "studies/queued",
    "studies/seeds/trials/{trial}?table=1&neighbours=1",
    "new?extend=queued",
    "cluster",
    "sql?query=SELECT study, count(*) AS trials FROM trials GROUP BY ALL",
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_keeps_the_rules_of_accessibility_and_fits_a_phone(
    chromium: Browser, service: RunningService, trial: str, theme: str
) -> None:
    """In the dark theme nothing but colours differs."""
    is_dark = theme == "dark"
    with visit(chromium, service, color_scheme=theme) as tab:
        tab.page.goto(service.url)
        tab.page.get_by_label("Token").wait_for()
        assert tab.violations(of_colour=is_dark) == []
        tab.sign_in()
        for path in PAGES:
            tab.go(path.format(trial=trial))
            tab.page.locator("h1").wait_for()
            tab.settled()
            assert tab.violations(of_colour=is_dark) == [], path
            assert tab.page.title().endswith(" · kd_sweep")
            if not is_dark:
                tab.fit_a_phone()
        ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(20, 23, 28)") == is_dark


def test_everything_that_can_be_used_is_reached_by_keyboard(tab: Visit, trial: str) -> None:
    usable = "a[href], button, input, select, textarea, summary, [tabindex='0']"
    for path in PAGES:
        tab.go(path.format(trial=trial))
        tab.page.locator("h1").wait_for()
        tab.settled()
        tab.page.evaluate("document.activeElement.blur()")
        there = tab.page.evaluate(
            f"""[...document.querySelectorAll("{usable}")].filter((one) => one.checkVisibility() && !one.disabled)
            .map((one, number) => (one.dataset.number = number))"""
        )
        reached = set()
        for _ in range(len(there) + 5):
            tab.page.keyboard.press("Tab")
            reached.add(tab.page.evaluate("Number(document.activeElement.dataset.number ?? -1)"))
        assert set(there) - reached == set(), path


def test_somebody_with_a_keyboard_signs_in_and_reads_a_curve(
    chromium: Browser, service: RunningService, root: Path
) -> None:
    with visit(chromium, service) as tab:
        page = tab.page
        page.goto(f"{service.url}/#/studies/seeds?metric=val_loss")
        page.get_by_label("Token").focus()
        page.keyboard.type(service.tokens[Role.VIEWER])
        page.keyboard.press("Enter")
        page.get_by_role("application", name="over epochs").focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        said = page.locator(".reading").first.inner_text()
    values = kd_sweep.open_results(root)["seeds"].sql(
        "SELECT augmentation_strength AS strength, ensemble_size AS size, val_loss FROM epochs WHERE epoch = 2"
    )
    medians = {}
    for row in values.to_pylist():
        medians.setdefault((row["strength"], row["size"]), []).append(row["val_loss"])
    expected = [
        f"augmentation strength {strength:g}, ensemble size {size} {np.median(values):.4g}"
        for (strength, size), values in sorted(medians.items())
    ]
    assert said == f"Epoch 2: {'; '.join(expected)}"


def test_curves_are_a_table_too_with_their_bands(tab: Visit, root: Path) -> None:
    tab.go("studies/seeds?table=1")
    table = tab.page.get_by_role("region", name="Val loss over epochs, by setting, as a table")
    table.wait_for()
    cells = table.locator("tbody tr").nth(2).locator("th, td").all_inner_texts()
    epochs = kd_sweep.open_results(root)["seeds"].sql(
        "SELECT val_loss FROM epochs WHERE epoch = 3 AND augmentation_strength = 0 AND ensemble_size = 1"
    )
    low, middle, high = np.quantile(epochs["val_loss"].to_numpy(), [0.1, 0.5, 0.9])
    assert cells[:2] == ["3", f"{middle:.4g} ({low:.4g} to {high:.4g})"]
    tab.page.get_by_label("As a table, too").uncheck()
    expect(table).to_have_count(0)
    tab.page.get_by_label("augmentation strength 0, ensemble size 1").uncheck()
    tab.page.wait_for_url("**settings=**")


def test_outcomes_by_strength_have_the_interval_of_students_t(tab: Visit, root: Path) -> None:
    tab.go("studies/seeds?table=1&metric=fidelity_val")
    table = tab.page.get_by_role("region", name="Fidelity val by augmentation strength, as a table")
    table.wait_for()
    cells = table.locator("tbody tr").nth(1).locator("th, td").all_inner_texts()
    outcomes = kd_sweep.open_results(root)["seeds"].sql(
        "SELECT fidelity_val FROM trials WHERE augmentation_strength = 0.5 AND ensemble_size = 2"
    )
    values = outcomes["fidelity_val"].to_numpy()
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert cells[0] == "0.5"
    assert cells[2] == f"{values.mean():.4g} ({low:.4g} to {high:.4g})"


def test_trials_are_sorted_and_filtered_by_the_address(tab: Visit, root: Path, trial: str) -> None:
    tab.go("studies/seeds")
    trials = tab.page.get_by_role("region", name="Trials")
    ids = trials.locator("tbody th")
    expect(ids).to_have_count(12)
    expect(ids.first).to_have_text(trial[:8])
    trials.get_by_role("button", name="Seed").click()
    expect(trials.locator("th[aria-sort=descending]")).to_have_text("Seed ▼")
    tab.page.get_by_label("Contains").fill(trial[:6])
    expect(ids).to_have_count(1)
    tab.page.reload()
    expect(ids).to_have_text([trial[:8]])
    expect(trials.locator("th[aria-sort=descending]")).to_have_text("Seed ▼")
    ids.first.get_by_role("link").click()
    tab.page.get_by_role("heading", name=f"Trial {trial[:8]}").wait_for()
    config = kd_sweep.open_results(root)["seeds"].trial(trial).config
    tab.page.get_by_text("Distillation", exact=True).click()
    alpha = tab.page.locator("dl > div", has=tab.page.get_by_text("Alpha", exact=True))
    expect(alpha.locator("dd")).to_have_text(str(config.distillation.alpha))
    tab.page.go_back()
    expect(ids).to_have_text([trial[:8]])


def test_a_study_is_written_planned_submitted_paused_and_resumed(tab: Visit, service: RunningService) -> None:
    page = tab.page
    page.get_by_role("link", name="New study").click()
    file = page.get_by_label("Study file (YAML)")
    file.fill("name: wrong\nsearch: {ensemble_size: {grid: [0]}}\n")
    with service.client() as client:
        refused = client.post("/api/v1/check", json={"yaml": file.input_value()}).json()["detail"]
    expect(page.locator("#message .problem")).to_have_text(refused)
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    file.fill(TINY.replace("name: tiny", "name: written"))
    expect(page.locator("pre")).to_contain_text("epochs: 8 of teachers, 12 of students", timeout=30_000)
    before = in_queue(service)  # other tests have submitted, too
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="written").wait_for()
    expect(page.locator("main")).to_contain_text(f": {before} stud{'y' if before == 1 else 'ies'} before it")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".state").first).to_contain_text("Paused")
    expect(page.locator("[aria-live=polite].hidden")).to_have_text("written: Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".state").first).to_contain_text("Queued")
    page.get_by_label("Priority").fill("1000")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("main")).to_contain_text("first: no study before it")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    with service.client() as client:
        rows = client.get("/api/v1/audit", params={"study": "written"}).json()["changes"]
    assert [row["action"] for row in rows] == ["study.change", "study.run", "study.pause", "study.submit"]


def in_queue(service: RunningService) -> int:
    """Return how many studies wait."""
    with service.client() as client:
        rows = client.get("/api/v1/studies", params={"state": "queued", "limit": 500}).json()["studies"]
    return sum(row["wanted"] == "run" for row in rows)


def test_what_changes_appears_by_itself(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "state").mkdir()
    with (
        running(tmp_path / "root", tmp_path / "state") as service,
        visit(chromium, service) as tab,
        service.client() as other,
    ):
        tab.sign_in(Role.VIEWER)
        expect(tab.page.get_by_text("No study yet.")).to_be_visible()
        other.post("/api/v1/studies", json={"yaml": TINY})
        row = tab.page.get_by_role("row", name="tiny")
        expect(row).to_contain_text("first: no study before it")
        other.patch("/api/v1/studies/tiny", json={"wanted": "pause"})
        expect(row).to_contain_text("Paused")
        train_study(tmp_path / "root", TINY)
        expect(row).to_contain_text("4 of 4 trials")
        assert tab.page.get_by_role("link", name="New study").count() == 0
        row.get_by_role("link").click()
        expect(tab.page.get_by_role("application", name="over epochs")).to_be_visible()
        assert tab.page.get_by_role("button", name="Resume").count() == 0


def test_what_has_come_of_a_study_comes_by_the_stream_and_is_not_asked_for(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    write_study(tmp_path / "root", num_trials=2)
    with running(tmp_path / "root", tmp_path / "state") as service, visit(chromium, service) as tab:
        tab.sign_in(Role.VIEWER)
        asked: list[str] = []
        tab.page.on("request", lambda request: asked.append(request.url.partition("/api/v1/")[2]))
        tab.go("studies/digits")
        standing = tab.page.get_by_role("region", name="How it stands")
        expect(standing).to_contain_text("Epochs done8")
        expect(tab.page.get_by_role("application", name="over epochs")).to_be_visible()
        with StudyWriter(Root.open(tmp_path / "root"), "digits") as writer:
            writer.add_epoch(epoch_row(0, 5))
            writer.upsert_trial(trial_row(0, "completed", last_epoch=5))
            writer.set_study(status="completed")
        expect(standing).to_contain_text("Epochs done9")
        assert asked.count("studies/digits") == 1


def test_a_trial_is_read_again_for_its_own_epochs_alone(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    root = tmp_path / "root"
    write_study(root, num_trials=2)
    with running(root, tmp_path / "state") as service, visit(chromium, service) as tab:
        tab.sign_in(Role.VIEWER)
        asked: list[str] = []
        tab.page.on("request", lambda request: asked.append(request.url.partition("/api/v1/")[2]))
        tab.go(f"studies/digits/trials/{trial_id(0)}")
        standing = tab.page.get_by_role("region", name="How it stands")
        expect(standing).to_contain_text("Epochs4 of")
        expect(tab.page.get_by_role("application", name="over epochs")).to_be_visible()
        with StudyWriter(Root.open(root), "digits") as writer, service.client() as client:
            events = client.stream("GET", "/api/v1/events")
            with events as answer:
                lines = answer.iter_lines()
                next(line for line in lines if line == "event: hello")
                asked.clear()
                writer.add_epoch(epoch_row(1, 5))
                writer.upsert_trial(trial_row(1, "completed", last_epoch=5))
                writer.flush()
                next(line for line in lines if line == "event: progress")
            tab.page.wait_for_timeout(2000)  # longer than the page waits until it reads again
            assert asked == []
            writer.add_epoch(epoch_row(0, 5))
            writer.upsert_trial(trial_row(0, "completed", last_epoch=5))
            writer.set_study(status="completed")
        expect(standing).to_contain_text("Epochs5 of")


def test_a_page_that_is_opened_asks_for_each_thing_once(tab: Visit, service: RunningService) -> None:
    asked: list[str] = []
    tab.page.goto("about:blank")  # so that none is of the page before
    tab.page.on("request", lambda request: asked.append(request.url.partition("/api/v1/")[2]))
    tab.page.goto(f"{service.url}/?again#/studies/seeds")
    expect(tab.page.get_by_role("application", name="over epochs")).to_be_visible()
    tab.settled()
    paths = [path for path in asked if path and not path.startswith("events")]
    assert len(paths) == len(set(paths)), paths
    assert {"session", "studies/seeds", "tables/studies?study=seeds"} <= set(paths)
    assert any(path.startswith("studies/seeds/queries/bands?") for path in paths)


def test_a_wrong_token_is_refused_and_a_revoked_one_ends_the_visit(
    chromium: Browser, service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routes, "HEARTBEAT_S", 0.2)
    with service.client() as admin, visit(chromium, service) as tab:
        secret = admin.post("/api/v1/tokens", json={"name": "guest", "role": "viewer"}).json()["token"]
        tab.page.goto(service.url)
        tab.page.get_by_label("Token").fill("wrong")
        tab.page.keyboard.press("Enter")
        expect(tab.page.get_by_role("alert")).to_contain_text("token")
        tab.page.get_by_label("Token").fill(secret)
        tab.page.keyboard.press("Enter")
        tab.page.get_by_role("heading", name="Studies").wait_for()
        tab.page.get_by_label("Name or person").fill("EED")
        expect(tab.page.locator("main tbody tr")).to_have_count(1)
        tab.page.get_by_role("row", name="seeds").wait_for()
        tab.page.wait_for_timeout(500)  # whatever the page has asked for has come: the stream alone is left
        admin.delete("/api/v1/tokens/guest")
        expect(tab.page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=30_000)
        expect(tab.page.get_by_text("Your session has ended.")).to_be_visible()
        tab.page.get_by_label("Token").fill(service.tokens[Role.VIEWER])
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("main tbody tr")).to_have_count(1)  # as it was searched before
        expect(tab.page.get_by_label("Name or person")).to_have_value("EED")


def test_a_service_that_may_only_read_is_signed_in_to_and_offers_no_change(
    chromium: Browser, root: Path, tmp_path: Path
) -> None:
    why = "another service runs the studies: this results root is held by pid 7"
    with running(root, tmp_path, read_only=lambda: why) as service, visit(chromium, service) as tab:
        tab.sign_in()
        expect(tab.page.get_by_text(why)).to_be_visible()
        expect(tab.page.get_by_role("row", name="seeds")).to_be_visible()
        assert tab.page.get_by_role("link", name="New study").count() == 0
        tab.go("studies/seeds")
        expect(tab.page.get_by_role("region", name="Trials").locator("tbody tr")).to_have_count(12)
        assert tab.page.get_by_role("button", name="Delete").count() == 0
        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.get_by_role("heading", name="Sign in").wait_for()


def test_sql_is_linked_answered_and_downloaded(tab: Visit, service: RunningService) -> None:
    tab.go("sql")
    query = "SELECT trial_id, seed FROM trials ORDER BY trial_id"
    tab.page.get_by_label("One statement that reads").fill(query)
    tab.page.get_by_role("button", name="Run").click()
    answer = tab.page.get_by_role("region", name="Answer")
    expect(answer.locator("tbody tr")).to_have_count(12)
    with tab.page.expect_download() as download:
        tab.page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["trial_id"] for row in rows] == answer.locator("tbody td:first-child").all_inner_texts()
    tab.page.get_by_label("One statement that reads").fill("SELECT nothing")
    tab.page.get_by_role("button", name="Run").click()
    expect(tab.page.get_by_role("alert")).to_contain_text("nothing")
    tab.page.wait_for_url("**SELECT+nothing**")


def test_colours_are_those_that_were_chosen(tab: Visit) -> None:
    def ground(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground(tab.page)
    for name in ("Auto", "Light"):
        tab.page.get_by_role("button", name=f"Colours: {name}").click()
    assert ground(tab.page) != light
    tab.page.reload()
    tab.page.get_by_role("button", name="Colours: Dark").wait_for()
    assert ground(tab.page) != light
