"""The page of the API documentation: Swagger UI without network access and with the pages' security policy."""

import re

import pytest

import browser as chromium


@pytest.fixture
def docs(page):
    page.goto("/api/docs")
    page.locator(".opblock").first.wait_for()
    return page


def operation(page, method, path):
    """Opens an operation."""
    path = page.locator(f'[data-path="{path}"]')
    block = page.locator(f".opblock-{method}").filter(has=path)
    block.locator(".opblock-summary-control").click()
    return block


def execute(block):
    """Calls the operation, and returns the status, the body and the `curl` command."""
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    response = block.locator(".live-responses-table")
    response.wait_for()
    return response.locator("tbody .response-col_status").inner_text().strip(), response.inner_text(), block.locator(".curl").inner_text()


def test_the_api_documentation_is_accessible_in_every_mode(docs):
    assert docs.title() == "API – Agent Webhooks"
    chromium.examine(docs, "docs")


def test_an_operation_is_called_with_the_session_instead_of_a_token(docs, context, api):
    agent = api.create(name="tried-out")
    chromium.sign_in(context, api.admin_token)
    status, body, _ = execute(operation(docs, "get", "/api/agents"))
    assert status.startswith("200") and agent["agent_id"] in body
    chromium.examine(docs, "docs-operation")


def test_a_change_is_made_with_the_session(docs, context, api):
    chromium.sign_in(context, api.admin_token)
    before = len(api.manage("GET", "/api/agents")["agents"])
    status, _, command = execute(operation(docs, "post", "/api/agents"))
    assert status.startswith("201"), status
    assert len(api.manage("GET", "/api/agents")["agents"]) == before + 1
    assert "X-Console: 1" in command


def test_a_webhook_is_called_without_the_consoles_header(docs, api):
    agent = api.create(name="called-from-docs")
    block = operation(docs, "post", "/api/webhooks/agents/{token}")
    block.get_by_role("button", name="Try it out").click()
    block.get_by_placeholder("token").fill(agent["webhook_url"].rpartition("/")[2])
    block.get_by_role("button", name="Execute").click()
    block.locator(".live-responses-table").wait_for()
    assert "X-Console" not in block.locator(".curl").inner_text()


def test_a_token_is_accepted_and_not_stored_beyond_the_page(docs, api, faults):
    faults.allow("escaping deep link whitespace")
    docs.get_by_role("button", name="Authorize").click()
    dialog = docs.locator(".dialog-ux")
    bearer = dialog.locator(".auth-container").filter(has_text=re.compile("bearer", re.I))
    bearer.get_by_role("textbox").fill(api.admin_token)
    bearer.get_by_role("button", name="Authorize: apply credentials").click()
    chromium.check_barriers(docs)
    dialog.get_by_role("button", name="Close").first.click()
    status, _, command = execute(operation(docs, "get", "/api/agents"))
    assert status.startswith("200") and f"Bearer {api.admin_token}" in command

    stored = docs.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])")
    assert api.admin_token not in stored
    docs.reload()
    status, _, _ = execute(docs.locator(".opblock.is-open"))
    assert status.startswith("401"), status


def test_the_url_restores_the_open_operation(docs, faults):
    # Swagger UI logs this warning for its own URLs.
    faults.allow("escaping deep link whitespace")
    operation(docs, "get", "/api/task_status")
    assert docs.url.partition("#")[2]
    docs.reload()
    docs.locator(".opblock.is-open").wait_for()
    assert "/api/task_status" in docs.locator(".opblock.is-open").inner_text()


def test_the_page_links_to_the_document_and_the_console(docs):
    with docs.expect_download() as download:
        docs.get_by_role("link", name="Download openapi.json").click()
    assert download.value.suggested_filename == "openapi.json"
    docs.get_by_role("link", name="Console").click()
    docs.wait_for_url("**/console/")
