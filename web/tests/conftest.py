"""Fixtures: one server, one scripted model and one browser for all tests.

    api        creates and triggers agents, waits for tasks (product.py)
    model      the scripted responses of the agents' models (model.py)
    page       a page of a new user, at the URL of the product
    signed_in  the same page, signed in
    faults     what went wrong in those pages; a test fails with any fault that it does not allow
    browser.examine(page, "name")   screenshots in every mode, and axe
"""

import contextlib
import os

import pytest
from playwright.sync_api import Error, expect, sync_playwright

import browser as chromium
from model import Model
from product import Api, Deployed, Product

# Only a failing test waits this long. Two browsers on a busy machine can be slow.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def product(tmp_path_factory):
    """tests/emulator/test_console.py passes its stack in these variables."""
    if "CONSOLE_URL" in os.environ:
        product = Deployed(os.environ["CONSOLE_URL"], os.environ["CONSOLE_API_URL"], os.environ["CONSOLE_ADMIN_TOKEN"])
    else:
        product = Product(tmp_path_factory.mktemp("product"))
    yield product
    product.close()


@pytest.fixture(scope="session")
def api(product):
    return Api(product.api_url, product.admin_token)


@pytest.fixture(scope="session")
def model():
    model = Model()
    yield model
    model.close()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def context(browser, product):
    context = chromium.a_context(browser, product.url)
    yield context
    context.close()


@pytest.fixture
def faults(product):
    faults = chromium.Faults(product.url)
    yield faults
    assert faults.unexpected() == []


@pytest.fixture
def page(context, faults):
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    faults.watch(page)
    return page


@pytest.fixture
def signed_in(page, context, product):
    chromium.sign_in(context, product.admin_token)
    return page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Takes a screenshot of the page in which a test failed."""
    report = yield
    page = item.funcargs.get("page")
    if report.when == "call" and report.failed and page and not page.is_closed():
        report.sections.append(("page", page.url))
        # The failure is reported even if the page cannot be drawn.
        with contextlib.suppress(Error):
            chromium.take_screenshot(page, f"failed-{item.name}")
    return report


def pytest_terminal_summary(terminalreporter):
    """Prints the measurements of test_figures.py."""
    for report in terminalreporter.getreports("passed"):
        for figure in (value for name, value in report.user_properties if name == "figure"):
            if report.when == "call":
                terminalreporter.write_line(figure)
