"""Starts Chromium, records the faults of its pages, and checks how they look."""

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
# Without Chromium's own network requests.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]
DESKTOP = {"width": 1280, "height": 800}
# By name: the size of the window and the preferred colour scheme.
MODES = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "phone": ({"width": 390, "height": 844}, "light"),
    "wide": ({"width": 1920, "height": 1080}, "light"),
}
# axe does not check the wide window, which has the same elements and colours as the light one.
EXAMINED = ["light", "dark", "phone"]
# WCAG 2.2, levels A and AA, and axe's best practices.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Chromium logs every error response on the console. _on_response reports those.
ERROR_RESPONSE = "Failed to load resource: the server responded with a status of"


def launch(playwright):
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def a_context(browser, url, **options):
    """A new user without cookies and cache. The time zone differs from UTC, so that wrong times are noticed."""
    settings = {"viewport": DESKTOP, "timezone_id": "Asia/Kolkata", "locale": "en-GB", "reduced_motion": "reduce", **options}
    context = browser.new_context(base_url=url, **settings)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    return context


def sign_in(context, admin_token):
    """Gets a session cookie without the form."""
    answer = context.request.post("/api/session", data={"admin_token": admin_token})
    assert answer.status == 204, answer.text()


@dataclass
class Faults:
    """What went wrong in a page: errors on its console (including violations of its security policy),
    requests that failed or went to another origin, error responses."""

    origin: str
    found: list = field(default_factory=list)
    allowed: list = field(default_factory=list)

    def allow(self, pattern):
        """Accepts faults that the test causes: a regular expression over their texts."""
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
        if message.type in ("error", "warning") and ERROR_RESPONSE not in message.text:
            self.found.append(f"console: {message.text}")

    def _on_request(self, request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and f"{address.scheme}://{address.netloc}" != self.origin:
            self.found.append(f"elsewhere: {request.method} {request.url}")

    def _on_failure(self, request):
        # The browser aborts a page's requests when the user leaves it.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"failed: {request.method} {request.url} {request.failure}")

    def _on_response(self, response):
        # A missing session is not a fault.
        if response.status >= 400 and response.status != 401:
            self.found.append(f"answer: {response.status} {response.request.method} {response.url}")


def until(page, function, argument=None, patience=10):
    """Waits until the function returns a true value. Playwright's own wait evaluates strings in
    the page, which its security policy forbids."""
    deadline = time.monotonic() + patience
    while not (result := page.evaluate(function, argument)):
        assert time.monotonic() < deadline, f"{function} of {argument!r} was not true within {patience} s at {page.url}"
        page.wait_for_timeout(50)
    return result


def set_mode(page, mode):
    size, colours = MODES[mode]
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=colours)


def examine(page, name):
    """Checks the current page in all modes: takes screenshots, and fails if the page scrolls
    sideways or if axe finds a violation."""
    for mode in MODES:
        set_mode(page, mode)
        take_screenshot(page, f"{name}-{mode}")
        check_width(page, mode)
        if mode in EXAMINED:
            check_barriers(page, mode)
    set_mode(page, "light")


def take_screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # Elements with a fixed position are drawn at the scroll position.
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")


def check_width(page, mode="light"):
    wide, seen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= seen, f"{page.url} in {mode} is {wide} pixels wide in a window of {seen}"


def check_barriers(page, mode="light"):
    # Runs through the debugger, so the page's security policy does not change.
    page.evaluate(AXE.read_text())
    result = page.evaluate("rules => axe.run(document, { runOnly: { type: 'tag', values: rules } })", RULES)
    assert result["passes"], "axe checked nothing"
    violations = [f"{violation['id']}: {violation['help']}\n    {node['html'][:200]}\n    {node['failureSummary']}"
                  for violation in result["violations"] for node in violation["nodes"]]
    assert not violations, f"{page.url} in {mode}:\n" + "\n".join(violations)
