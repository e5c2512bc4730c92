"""A real browser that looks at the page: Debian's Chromium, and a record of what it asks for and complains about."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from kd_sweep.service.access.roles import Role
from tests.project.pages import ROOT
from tests.service.running_service import RunningService

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""Without a window of its own where Debian's package of that name is installed: a third less CPU."""
WHY_NOT = "needs Chromium: apt-get install chromium-headless-shell"
AXE = ROOT / "tests/assets/axe/axe.min.js"
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
"""Those rules of axe that are about colour, of the rules that it has on."""
PATIENCE_MS = 30_000
"""Of each assertion that waits: Playwright itself has 5 s, which a machine with other tests may need."""
expect.set_options(timeout=PATIENCE_MS)
PHONE = {"width": 390, "height": 800}
DESKTOP = {"width": 1280, "height": 10_000}
"""So high that all sections are in sight, and read."""
_WAITING = re.compile("^(Reading|Checking|Being worked out) …$")


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Visit:
    """A tab that shows the page of a service."""

    page: Page
    service: RunningService
    complaints: list[str] = field(default_factory=list)
    """What the browser has written to its console, and errors of scripts, beside the first question for a session."""
    foreign: list[str] = field(default_factory=list)
    """Addresses of other hosts that were asked for."""

    def go(self, path: str) -> None:
        """Show what a path behind the `#` stands for."""
        self.page.goto(f"{self.service.url}/#/{path}")

    def sign_in(self, role: Role = Role.ADMIN) -> None:
        """Show the token of a role."""
        self.page.goto(self.service.url)
        self.page.get_by_label("Token").fill(self.service.tokens[role])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Studies").wait_for()

    def begin_anew(self) -> None:
        """Read the page anew, as a visitor who has changed nothing yet."""
        self.page.set_viewport_size(DESKTOP)
        self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.page.goto("about:blank")
        self.go("")
        self.page.get_by_role("heading", name="Studies").wait_for()

    def assert_quiet(self) -> None:
        """Hold what was seen against the page's promises: nothing foreign was asked for, nothing complained about."""
        assert self.complaints == []
        assert self.foreign == []

    def settled(self) -> None:
        """Wait until nothing is being read."""
        expect(self.page.get_by_text(_WAITING)).to_have_count(0, timeout=2 * PATIENCE_MS)

    def fit_a_phone(self) -> None:
        """Wait until nothing is wider than a phone, then show it on a desktop again."""
        self.page.set_viewport_size(PHONE)
        # A function: a bare expression would be evaluated anew as text, which the page's policy refuses.
        self.page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")
        self.page.set_viewport_size(DESKTOP)

    def violations(self, *, of_colour: bool = False) -> list[str]:
        """Return the rules of accessibility that what is shown breaks, of all rules or of those about colour."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        options = {"resultTypes": ["violations"]} | ({"runOnly": COLOUR_RULES} if of_colour else {})
        found = self.page.evaluate("(options) => axe.run(options)", options)["violations"]
        return [f"{rule['id']}: {json.dumps([node['html'][:200] for node in rule['nodes']])}" for rule in found]


@contextmanager
def visit(browser: Browser, service: RunningService, **options: Any) -> Iterator[Visit]:
    """Yield a tab of a new visitor; at its end `Visit.assert_quiet`."""
    context = browser.new_context(reduced_motion="reduce", **{"viewport": DESKTOP, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    shown = Visit(page, service)
    page.on("console", lambda message: _note(shown, message.type, message.text))
    page.on("pageerror", lambda error: shown.complaints.append(str(error)))
    page.on("request", lambda request: _check(shown, request.url))
    yield shown
    context.close()
    shown.assert_quiet()


def _note(shown: Visit, kind: str, text: str) -> None:
    is_refusal = text.startswith("Failed to load resource: the server responded with a status of 4")
    if kind in ("error", "warning") and not is_refusal:
        shown.complaints.append(text)


def _check(shown: Visit, url: str) -> None:
    if not url.startswith((f"{shown.service.url}/", "data:", "blob:")):
        shown.foreign.append(url)
