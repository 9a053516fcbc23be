"""A real Chromium, what may not happen in it, and how its pages look."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SCREENSHOTS = ROOT / "target" / "screenshots"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
# Nothing but the pages goes over the network.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]
DESKTOP = {"width": 1280, "height": 800}
# Name: size of the window, and the colours the reader prefers.
MODES = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "phone": ({"width": 390, "height": 844}, "light"),
    "wide": ({"width": 1920, "height": 1080}, "light"),
}
# The wide window has the same parts in the same colours.
EXAMINED = ["light", "dark", "phone"]
# WCAG 2.2, levels A and AA, and what axe's makers recommend beyond it.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Chromium says so of every answer that is an error; those are told one by one.
TOLD_ALREADY = "Failed to load resource: the server responded with a status of"


def launch(playwright):
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def a_context(browser, url, **options):
    """What a new reader has: no cookie, nothing cached; far from UTC, so that a time shown wrongly is noticed."""
    settings = {"viewport": DESKTOP, "timezone_id": "Asia/Kolkata", "locale": "en-GB", "reduced_motion": "reduce", **options}
    context = browser.new_context(base_url=url, **settings)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    return context


def sign_in(context, admin_token):
    """The cookie of a session, without the form."""
    answer = context.request.post("/api/session", data={"admin_token": admin_token})
    assert answer.status == 204, answer.text()


@dataclass
class Faults:
    """What went wrong in a page: errors on its console (breaches of its security policy
    are there as well), requests that failed or went elsewhere, answers that are errors."""

    origin: str
    found: list = field(default_factory=list)
    allowed: list = field(default_factory=list)

    def allow(self, pattern):
        """What this test provokes, as a regular expression over what is told."""
        self.allowed.append(pattern)

    def watch(self, page):
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error}"))
        page.on("request", self._on_request)
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

    def unexpected(self):
        return [fault for fault in self.found if not any(re.search(pattern, fault) for pattern in self.allowed)]

    def _on_console(self, message):
        if message.type in ("error", "warning") and TOLD_ALREADY not in message.text:
            self.found.append(f"console: {message.text}")

    def _on_request(self, request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and f"{address.scheme}://{address.netloc}" != self.origin:
            self.found.append(f"elsewhere: {request.method} {request.url}")

    def _on_failure(self, request):
        # Whoever leaves a page leaves what it was asking for.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"failed: {request.method} {request.url} {request.failure}")

    def _on_response(self, response):
        # Not being signed in is no fault.
        if response.status >= 400 and response.status != 401:
            self.found.append(f"answer: {response.status} {response.request.method} {response.url}")


def until(page, function, argument=None, patience=10):
    """Waits for what the function returns to be true. Playwright's own wait runs texts
    in the page, which its security policy forbids."""
    deadline = time.monotonic() + patience
    while not (found := page.evaluate(function, argument)):
        assert time.monotonic() < deadline, f"waited {patience} s in vain at {page.url} for {function} of {argument!r}"
        page.wait_for_timeout(50)
    return found


def set_mode(page, mode):
    size, colours = MODES[mode]
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=colours)


def examine(page, name):
    """Shows the page as it is now to every kind of reader: kept as pictures, nothing to
    scroll sideways, and no barrier that axe knows of."""
    for mode in MODES:
        set_mode(page, mode)
        take_screenshot(page, f"{name}-{mode}")
        check_width(page, mode)
        if mode in EXAMINED:
            check_barriers(page, mode)
    set_mode(page, "light")


def take_screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # What is fixed to the window is drawn where the page was scrolled to.
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")


def check_width(page, mode="light"):
    wide, seen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= seen, f"{page.url} in {mode} is {wide} pixels wide in a window of {seen}"


def check_barriers(page, mode="light"):
    # By the debugger, so the page's security policy stays as it is.
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run(document, { runOnly: { type: 'tag', values: rules } })", RULES)
    assert found["passes"], "axe found nothing to look at"
    told = [f"{violation['id']}: {violation['help']}\n    {node['html'][:200]}\n    {node['failureSummary']}"
            for violation in found["violations"] for node in violation["nodes"]]
    assert not told, f"{page.url} in {mode}:\n" + "\n".join(told)
