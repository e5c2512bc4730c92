"""The images of the page in docs/images: ``python -m tests.service.page.take_screenshots`` takes them anew."""

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser

from kd_sweep.service.access.roles import Role
from kd_sweep.service.access.tokens import create_token
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import submit
from kd_sweep.tables.reader import open_results
from tests.project.pages import ROOT
from tests.service.page.browsing import Visit, browser, visit
from tests.service.running_service import RunningService, running
from tests.trained_studies import train_study

IMAGES = ROOT / "docs/images"
STUDY = """
name: digits
data: {image_size: 8, max_train_images: 600}
teacher: {model: resnet8, width: 8, epochs: 10}
student: {model: resnet8, width: 8, epochs: 20}
seeds: 3
search:
  augmentation_strength: {grid: [0.0, 0.4, 0.8]}
  ensemble_size: {grid: [1, 2]}
"""


def submitted(service: RunningService, name: str, by: str, state: str) -> None:
    """Put a study into the rows as one that has come so far by itself."""
    study = STUDY.replace("name: digits", f"name: {name}")
    with service.serving.rows.changing() as session:
        row, _ = submit(session, check(study, Policy()), by=by, policy=Policy())
        row.state, now = state, time.time()
        row.submitted_at, row.started_at = now - 60, None if state == "queued" else now - 60
        row.ended_at = now if state == "finished" else None


@contextmanager
def signed_in(chromium: Browser, service: RunningService, **options: object) -> Iterator[Visit]:
    """Yield a tab in which ada, an admin, looks at the studies."""
    with visit(chromium, service, **options) as tab:
        tab.sign_in()
        yield tab


def keep(shot: bytes, name: str) -> None:
    """Write an image with few colours, which takes a third of the bytes."""
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def show_trials(tab: Visit, root: Path) -> None:
    """Show parallel coordinates at the top, with a brush on the ensemble's size and its best two trials pinned."""
    best = "SELECT trial_id FROM trials WHERE ensemble_size = 2 ORDER BY objective DESC, trial_id LIMIT 2"
    pins = ",".join(open_results(root / "digits").sql(best)["trial_id"].to_pylist())
    tab.go(f"studies/digits?{urlencode({'parallel': 1, 'where': 'ensemble_size>=2', 'pins': pins})}")
    chart = tab.page.get_by_role("region", name="Parallel coordinates of")
    chart.wait_for()
    tab.settled()
    section = tab.page.locator("section", has=chart)
    for _ in range(3):  # sections that come into sight are read, and move those below
        section.evaluate("(element) => scrollTo(0, element.getBoundingClientRect().top + scrollY - 8)")
        tab.page.get_by_role("link", name="Compare 2 pinned trials").wait_for()
        tab.page.wait_for_timeout(500)
        tab.settled()


def take_all(root: Path, state: Path) -> None:
    """Take every image, of a study that is trained first."""
    train_study(root, STUDY)
    with running(root, state) as service, browser() as chromium:
        with service.serving.rows.changing() as session:
            service.tokens[Role.ADMIN] = create_token(session, "ada", Role.ADMIN, time.time(), None)[1]
        submitted(service, "digits", "ben", "finished")
        with signed_in(chromium, service, viewport={"width": 1280, "height": 960}) as tab:
            tab.go("studies/digits?metric=val_accuracy")
            tab.page.get_by_role("application", name="over epochs").wait_for()
            tab.settled()
            keep(tab.page.screenshot(), "page-study.png")
        with signed_in(chromium, service, viewport={"width": 1164, "height": 974}) as tab:
            show_trials(tab, root)
            keep(tab.page.screenshot(), "page-trials.png")
        submitted(service, "temperatures", "ben", "running")
        submitted(service, "wide-teachers", "ada", "queued")
        phone = {"viewport": {"width": 390, "height": 760}, "color_scheme": "dark"}
        with signed_in(chromium, service, **phone) as tab:
            tab.settled()
            keep(tab.page.screenshot(), "page-phone.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "state").mkdir()
        take_all(Path(folder) / "root", Path(folder) / "state")
